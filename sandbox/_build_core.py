"""Build `sandbox._core`: csrc/ compiled in cffi's API mode, abi3; used at build time only.

The parts of the boundary, `csrc/abi*.h`, are passed verbatim to `cdef()`, so that C and Python read
the same declarations.
"""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "bpf_run checksum child confine content entry facts idmaps init landlock listener mounts "
    "notify notify_text overlay pass plan request root seccomp serve sources spawn targets "
    "terminal text tree userns view"
)
ABI = ("abi", "abi_job", "abi_entry", "abi_serve", "abi_denials")
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-fstack-protector-strong"]
HARDENING = ["-D_FORTIFY_SOURCE=2", "-fvisibility=hidden", "-fno-plt"]
# Development builds stop at a warning; a user's newer compiler must not.
STRICT = ["-Werror"] if os.environ.get("SANDBOX_BUILD_STRICT") == "1" else []

ffibuilder = FFI()
for name in ABI:
    ffibuilder.cdef((ROOT / "csrc" / f"{name}.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "sandbox._core",
    '#include "core.h"\n',
    sources=[f"csrc/{name}.c" for name in SOURCES.split()] + ["csrc/launcher/log.c"],
    include_dirs=["csrc"],
    depends=[f"csrc/{name}.h" for name in (*ABI, "core", "sys", "mounts", "notify")],
    extra_compile_args=FLAGS + HARDENING + STRICT,
    extra_link_args=["-Wl,-z,relro,-z,now"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
