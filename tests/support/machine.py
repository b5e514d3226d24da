"""What a reader has to know about the machine to read a number."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def _first_line(path: str, start: str) -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(start):
                return line.partition(":")[2].strip() or line
    except OSError:
        return ""
    return ""


def _version(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not installed"
    return (done.stdout or done.stderr).strip().split("\n")[0]


def facts() -> dict[str, object]:
    """Return kernel, processor, memory, distribution, versions and load."""
    release = Path("/etc/os-release")
    pairs = release.read_text(encoding="utf-8").splitlines() if release.exists() else []
    names = dict(line.split("=", 1) for line in pairs if "=" in line)
    return {
        "kernel": platform.release(),
        "arch": platform.machine(),
        "processor": _first_line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_kib": _first_line("/proc/meminfo", "MemTotal").removesuffix(" kB"),
        "distribution": names.get("PRETTY_NAME", "").strip('"'),
        "python": platform.python_version(),
        "bubblewrap": _version(["bwrap", "--version"]),
        "load": [round(value, 2) for value in os.getloadavg()],
        "uid": os.getuid(),
    }
