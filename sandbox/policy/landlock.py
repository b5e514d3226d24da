"""Landlock rights: what each kind of mount grants, cut to what the kernel's ABI knows.

ABI  Linux  adds
 1   5.13   the thirteen basic rights to files
 2   5.19   refer: rename and link between directories
 3   6.2    truncate
 4   6.7    TCP bind and connect
 5   6.10   ioctl on devices
 6   6.12   scopes: abstract Unix sockets, signals
 7   6.15   audit flags (no rights)
Source: landlock(7). Landlock can only take away: a right that is not handled is not restricted.
"""

from __future__ import annotations

ABI_KNOWN = 7

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
_REMOVE_AND_MAKE = 0x1FF << 4  # remove_dir, remove_file, make_char … make_sym
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

NET_BIND_TCP = 1 << 0
NET_CONNECT_TCP = 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
SCOPE_SIGNAL = 1 << 1

ABI_REFER = 2
ABI_TRUNCATE = 3
ABI_NET = 4
ABI_SCOPE = 6

_BASIC = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | _REMOVE_AND_MAKE
_ADDED = ((ABI_REFER, REFER), (ABI_TRUNCATE, TRUNCATE), (5, IOCTL_DEV))

LIST = READ_DIR
READ = READ_FILE | READ_DIR
WRITE = WRITE_FILE | _REMOVE_AND_MAKE | REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
PROC = READ | WRITE_FILE


def handled_fs(abi: int) -> int:
    """Return every right to files that a kernel with this ABI can restrict."""
    rights = _BASIC if abi >= 1 else 0
    for since, right in _ADDED:
        rights |= right if abi >= since else 0
    return rights


def rights_of(mode: str, *, is_noexec: bool) -> int:
    """Return the rights that a mount of this mode (ro, rw, tmpfs, overlay) grants below it."""
    rights = READ if mode == "ro" else READ | WRITE
    return rights if is_noexec else rights | EXECUTE
