"""What tests inside container engines share: a root that shows the host's /usr, and the rules."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.user import User

TIERS = ("full", "reduced", "confined")


def program_paths(python: Path) -> list[str]:
    """Return the directories that the program needs besides /usr."""
    done = subprocess.run(
        [python, "-I", "-c", "import sandbox; print(*sandbox.__path__)"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    package = (str(Path(path).parent) for path in done.stdout.split())
    return sorted({str(python.parent.parent), *package})


def make_base(base: Path, user: User) -> Path:
    """Make a root directory without content of its own: /usr is mounted by the engine."""
    base.mkdir()
    for name in ("usr", "etc", "dev", "proc", "sys", "tmp", "run", "var", "home"):
        (base / name).mkdir()
    os.chown(base / "home", user.uid, user.gid)
    for name in ("bin", "sbin", "lib", "lib64"):
        (base / name).symlink_to(f"usr/{name}")
    return base


def options(user: User, python: Path, work_dir: Path) -> list[str]:
    """Return the options of `run` that docker and podman share."""
    shown = [word for path in program_paths(python) for word in ("-v", f"{path}:{path}:ro")]
    return [
        *("--rm", "--network=none", f"--user={user.uid}:{user.gid}", "-v", "/usr:/usr:ro", *shown),
        *("-v", f"{work_dir}:{work_dir}", "-w", str(work_dir), "-e", "HOME=/home"),
    ]


def assert_declared(root: User, outer: Sequence[str], python: Path, work_dir: Path) -> None:
    """Under each policy a run in the container has a tier, or is refused with reason and remedy."""
    for policy in ("strict", "default", "confined"):
        result = work_dir / f"{policy}.json"
        words = [str(python), "-I", "-m", "sandbox", "exec", "--policy", policy]
        done = root.run([*outer, *words, "--result", str(result), "echo", "ran"], timeout=90)
        data = json.loads(result.read_text())
        if done.returncode == 0:
            assert data["tier"] in TIERS
            assert done.stdout.strip() == b"ran"
        else:
            assert done.returncode == 125, done.stderr
            assert data["setup"]["cause"]
            assert data["setup"]["remedy"]
        assert policy != "confined" or done.returncode == 0, done.stderr
