"""Build the native launcher: all of csrc/ and csrc/launcher/ as one static program.

Read by setup.py, at build time only. The same bytes are installed twice: as the program `sandbox`,
and inside the package as `_native/sandbox-supervisor`, where Python finds them. Where no static C
library is installed only the speed is lost: `sandbox` is then a Python script.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools.command.build_ext import build_ext

# setuptools brings distutils along; its own name for this one is newer than 65
from distutils.command.build_scripts import build_scripts  # isort: skip


ROOT = Path(__file__).resolve().parent.parent
SUPERVISOR = Path("sandbox", "_native", "sandbox-supervisor")
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-fstack-protector-strong"]
LINK = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-s"]
HARDENING = ["-Wl,-z,relro,-z,now,-z,noexecstack"]
STRICT = ["-Werror"] if os.environ.get("SANDBOX_BUILD_STRICT") == "1" else []
_SCRIPT = """\
#!python
from sandbox.cli.main import entry

entry()
"""
_built: dict[str, Path | None] = {}


def compilers() -> list[list[str]]:
    """Return the compiler commands to try, the one with the smallest programs first."""
    usual = [*os.environ.get("CC", "cc").split(), "-D_FORTIFY_SOURCE=2"]  # musl has no such calls
    found = [[*usual, "-static-pie", "-fPIE"], [*usual, "-static"]]
    musl = shutil.which("musl-gcc")
    if musl:
        # The wrapper hides the kernel's headers; they come after its own. It links no static-pie.
        more = ("/usr/include", f"/usr/include/{os.uname().machine}-linux-gnu")
        headers = [word for folder in more for word in ("-idirafter", folder)]
        found.insert(0, [musl, *headers, "-static"])
    return found


def _links(command: list[str], folder: Path) -> bool:
    """Whether `command` makes a program that starts."""
    source, program = folder / "try.c", folder / "try"
    source.write_text("int main(void) { return 0; }\n", encoding="ascii")
    try:
        made = subprocess.run([*command, "-o", program, source], capture_output=True, check=False)
        return made.returncode == 0 and subprocess.run([program], check=False).returncode == 0
    except OSError:
        return False


def sources() -> list[Path]:
    """Return every C file of the launcher."""
    return sorted([*(ROOT / "csrc").glob("*.c"), *(ROOT / "csrc" / "launcher").glob("*.c")])


def build_launcher(version: str) -> Path | None:
    """Compile the launcher with `version` in it; return its path, or None without a static libc.

    Errors: SystemExit where a compiler is there, but not for these sources.
    """
    if version in _built:
        return _built[version]
    folder = Path(tempfile.mkdtemp(prefix="sandbox-launcher-"))
    command = next((entry for entry in compilers() if _links(entry, folder)), None)
    if command is None:
        shutil.rmtree(folder)
        sys.stderr.write(
            "sandbox: no static C library (musl-tools, or libc.a): the native launcher is left"
            " out, and every start takes Python's time\n"
        )
        _built[version] = None
        return None
    program = folder / "sandbox"
    define = f'-DSBX_VERSION="{version}"'
    names = [str(path) for path in sources()]
    argv = [
        *command,
        *FLAGS,
        *LINK,
        *HARDENING,
        *STRICT,
        define,
        f"-I{ROOT / 'csrc'}",
        "-o",
        str(program),
        *names,
    ]
    if subprocess.run(argv, check=False).returncode != 0:
        shutil.rmtree(folder)
        raise SystemExit("sandbox: the native launcher does not compile; see above")
    _built[version] = program
    return program


def _install(source: Path, target: Path) -> None:
    """Copy by rename: a program that is running is not written to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, draft)
    draft.chmod(0o755)
    draft.replace(target)


class BuildCore(build_ext):  # type: ignore[misc]  # untyped in older setuptools
    """Builds the extension, and puts the supervisor into the package."""

    def run(self) -> None:
        """Build both; into the source tree as well where the extension goes there."""
        super().run()
        program = build_launcher(self.distribution.get_version())
        places = [Path(self.build_lib)]
        if self.inplace or getattr(self, "editable_mode", False):
            places.append(ROOT)
        for place in places:
            if program is not None:
                _install(program, place / SUPERVISOR)
            else:
                (place / SUPERVISOR).unlink(missing_ok=True)


class BuildProgram(build_scripts):
    """Makes the program `sandbox`: the launcher, or a script in its place."""

    def run(self) -> None:
        """Write it into the directory of scripts."""
        program = build_launcher(self.distribution.get_version())
        target = Path(self.build_dir, "sandbox")
        if program is not None:
            _install(program, target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_SCRIPT.replace("#!python", f"#!{self.executable}"), encoding="ascii")
        target.chmod(0o755)

    def get_source_files(self) -> list[str]:
        """None that is a script."""
        return []


COMMANDS = {"build_ext": BuildCore, "build_scripts": BuildProgram}
