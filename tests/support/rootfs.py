"""A root directory made of busybox alone, for tests of image roots."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.need import need_program

DIRECTORIES = ("bin", "etc", "dev", "proc", "sys", "tmp", "root")


def make_rootfs(path: Path) -> Path:
    """Make a root at `path`: a static busybox, a link for each applet, names; return it."""
    busybox = need_program("busybox")
    for name in DIRECTORIES:
        (path / name).mkdir(parents=True)
    shutil.copyfile(busybox, path / "bin" / "busybox")
    (path / "bin" / "busybox").chmod(0o755)
    listed = subprocess.run(
        [busybox, "--list"], capture_output=True, text=True, timeout=20, check=True
    )
    for applet in listed.stdout.split():
        if applet != "busybox":
            (path / "bin" / applet).symlink_to("busybox")
    (path / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nweb:x:7:7::/srv:/bin/sh\n", encoding="utf-8"
    )
    (path / "etc" / "group").write_text("root:x:0:\n", encoding="utf-8")
    (path / "etc" / "os-release").write_text("NAME=tiny\n", encoding="utf-8")
    return path
