"""The door to libseccomp: import pyseccomp cheaply, take a program out of it as bytes."""

from __future__ import annotations

import errno
import os
import sys

from sandbox.errors import PolicyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import IO, Any

_SONAMES = {"c": "libc.so.6", "seccomp": "libseccomp.so.2"}


def import_pyseccomp() -> ModuleType:
    """Return the module pyseccomp.

    Errors: PolicyError(policy.filter) where it or libseccomp is missing.
    """
    module = sys.modules.get("pyseccomp") or _import_without_search()
    if module is not None:
        return module
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise PolicyError(
            f"the filter cannot be compiled: {error}",
            hint="install libseccomp (Debian: libseccomp2) and pyseccomp",
            code="policy.filter",
        ) from error
    plain: ModuleType = pyseccomp
    return plain


def _import_without_search() -> ModuleType | None:
    """Import pyseccomp with the names of its two libraries given, or return None.

    It asks ctypes.util for them, which loads subprocess and tempfile and starts ldconfig twice:
    11 of 18 ms. For this one import a stand-in answers. Only while no other thread could import
    ctypes.util meanwhile, and where nobody has before.
    """
    import _thread

    if "ctypes.util" in sys.modules or _thread._count() > 0:
        return None
    import ctypes

    stand_in = type(sys)("ctypes.util")
    vars(stand_in)["find_library"] = _SONAMES.get
    sys.modules["ctypes.util"] = stand_in
    vars(ctypes)["util"] = stand_in
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None  # other names, or none: the search will tell
    finally:
        del sys.modules["ctypes.util"], vars(ctypes)["util"]
    module: ModuleType = pyseccomp
    return module


def _scratch_file() -> IO[bytes]:
    try:
        return open(os.memfd_create("filter", os.MFD_CLOEXEC), "w+b")
    except OSError:
        import tempfile  # a filter that holds this process may refuse the call

        return tempfile.TemporaryFile()


def exported(library: ModuleType, program: Any) -> bytes:
    """Return the instructions of a pyseccomp.SyscallFilter."""
    try:
        program.set_attr(library.Attr.CTL_OPTIMIZE, 2)
    except OSError as error:
        # Before 2.5 it has no binary tree; its longer list of tests means the same.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    with _scratch_file() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()
