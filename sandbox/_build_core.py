"""Build `sandbox._core`: csrc/ compiled in cffi's API mode, abi3; used at build time only.

The parts of the ABI are passed verbatim to `cdef()`: C and Python read the same declarations.
"""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "bpf_run child confine content idmaps init landlock listener mounts notify notify_text overlay "
    "pass plan root seccomp sources spawn targets terminal text tree userns view"
)
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-fstack-protector-strong"]
HARDENING = ["-D_FORTIFY_SOURCE=2", "-fvisibility=hidden", "-fno-plt"]
# Development builds stop at a warning; a user's newer compiler must not.
STRICT = ["-Werror"] if os.environ.get("SANDBOX_BUILD_STRICT") == "1" else []

ffibuilder = FFI()
for part in ("abi.h", "abi_denials.h"):
    ffibuilder.cdef((ROOT / "csrc" / part).read_text(encoding="utf-8"))
ffibuilder.set_source(
    "sandbox._core",
    '#include "core.h"\n',
    sources=[f"csrc/{name}.c" for name in SOURCES.split()] + ["csrc/launcher/log.c"],
    include_dirs=["csrc"],
    depends=[
        "csrc/abi.h",
        "csrc/abi_denials.h",
        "csrc/core.h",
        "csrc/sys.h",
        "csrc/mounts.h",
        "csrc/notify.h",
    ],
    extra_compile_args=FLAGS + HARDENING + STRICT,
    extra_link_args=["-Wl,-z,relro,-z,now"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
