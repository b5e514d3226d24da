"""The installed program under test, in a place where the ordinary user can run it."""

from __future__ import annotations

import compileall
import importlib.metadata
import importlib.resources
import importlib.util
import shutil
import sys
from pathlib import Path

from support.user import User

RUNTIME_PACKAGES = ("cffi", "pyseccomp", "structlog")
_PROBE = "import sandbox._core, importlib.resources as r; r.files('sandbox.policies').iterdir()"


def python_for(user: User) -> Path:
    """Return a Python that `user` can execute and that imports the installed package.

    That is the running one where the user reaches it, else a copy of the package and of what it
    needs beside the distribution's interpreter (a checkout or a Python in root's 0700 home cannot
    be entered by anybody else).
    """
    running = Path(sys.executable)
    if _works(user, running):
        return running
    python = _copy_of_installation(user.base / "venv")
    if not _works(user, python):
        raise LookupError(f"neither {running} nor {python} can be run by uid {user.uid}")
    return python


def _works(user: User, python: Path) -> bool:
    try:
        return user.run([python, "-I", "-c", _PROBE]).returncode == 0
    except OSError:
        return False


def _base_python() -> Path:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (Path("/usr/bin") / name, Path(sys.base_prefix) / "bin" / name):
        if candidate.exists():
            return candidate
    raise LookupError(f"no {name} outside virtual environments")


def _copy_of_installation(venv: Path) -> Path:
    base = _base_python()
    python = venv / "bin" / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    site = venv / "lib" / f"python{version}" / "site-packages"
    python.parent.mkdir(parents=True)
    site.mkdir(parents=True)
    python.symlink_to(base)
    (venv / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {version}\n",
        encoding="utf-8",
    )
    for name in RUNTIME_PACKAGES:
        copy_distribution(name, site)
    _copy_package(site)
    compileall.compile_dir(site, quiet=2)  # the user cannot write the bytecode caches
    return python


def copy_distribution(name: str, site: Path) -> None:
    """Copy what the distribution `name` installed into the directory `site`."""
    for entry in importlib.metadata.distribution(name).files or ():
        if entry.parts[0] == ".." or entry.suffix == ".pyc":
            continue
        target = site / entry
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(entry.locate()), target)


def _copy_package(site: Path) -> None:
    """Copy the package from where it is imported: installed, editable or a source tree."""
    spec = importlib.util.find_spec("sandbox")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("the package is not installed for this Python")
    skip = shutil.ignore_patterns("__pycache__", "policies", "_core.c", "*.o")
    shutil.copytree(spec.submodule_search_locations[0], site / "sandbox", ignore=skip)
    policies = site / "sandbox" / "policies"
    policies.mkdir()
    for item in importlib.resources.files("sandbox.policies").iterdir():
        if item.is_file():
            (policies / item.name).write_bytes(item.read_bytes())
