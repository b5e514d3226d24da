"""The call table against the kernel's own headers, and the numbers that must never move."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sandbox.policy import calltable

X86_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
GENERIC_HEADER = Path("/usr/include/asm-generic/unistd.h")
# What arch/arm64/include/uapi/asm/unistd.h asks of the generic table.
ARM64_WANTS = ("RENAMEAT", "NEW_STAT", "SET_GET_RLIMIT", "SYS_CLONE3", "MEMFD_SECRET")
LAST = ("file_setattr", 469)


def defined(text: str) -> dict[str, int]:
    """Return the calls that preprocessor lines define, by name."""
    return {name: int(number) for name, number in re.findall(r"define __NR_(\w+) (\d+)\b", text)}


def generic_calls() -> dict[str, int]:
    """Return the calls of the generic table as a 64-bit architecture sees them."""
    wants = [f"-D__ARCH_WANT_{name}" for name in ARM64_WANTS]
    argv = ["cc", "-E", "-dM", "-D__BITS_PER_LONG=64", *wants, "-x", "c", str(GENERIC_HEADER)]
    text = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
    numbers = {int(n): name for name, n in re.findall(r"define __NR3264_(\w+) (\d+)\b", text)}
    own_names = dict(re.findall(r"define __NR_(\w+) __NR3264_(\w+)", text))
    renamed = {alias: name for name, alias in own_names.items()}
    calls = defined(text) | {renamed.get(name, name): number for number, name in numbers.items()}
    not_calls = ("syscalls", "arch_specific_syscall")
    return {name: number for name, number in calls.items() if name not in not_calls}


def test_x86_64_table_agrees_with_the_kernel_headers() -> None:
    """Every call of the installed headers has the same number in the table."""
    if not X86_HEADER.exists():
        pytest.skip(f"needs linux-libc-dev for x86-64: no {X86_HEADER}")
    table = calltable.call_numbers("x86_64")
    installed = defined(X86_HEADER.read_text())
    assert len(installed) > 300
    assert installed.items() <= table.items()


def test_aarch64_table_agrees_with_the_generic_headers() -> None:
    """Every call of the generic table, as arm64 configures it, has the same number."""
    if not GENERIC_HEADER.exists():
        pytest.skip(f"needs linux-libc-dev: no {GENERIC_HEADER}")
    table = calltable.call_numbers("aarch64")
    installed = generic_calls()
    assert len(installed) > 290
    assert installed.items() <= table.items()


@pytest.mark.parametrize("arch", calltable.ARCHES)
def test_table_reaches_linux_6_18(arch: str) -> None:
    """The newest calls are there, and no number is given twice."""
    table = calltable.call_numbers(arch)
    newest = {name: number for name, number in table.items() if number >= 462}
    assert (table[LAST[0]], max(table.values())) == (LAST[1], LAST[1])
    assert newest == {
        "mseal": 462,
        "setxattrat": 463,
        "getxattrat": 464,
        "listxattrat": 465,
        "removexattrat": 466,
        "open_tree_attr": 467,
        "file_getattr": 468,
        "file_setattr": 469,
    }
    assert len(set(table.values())) == len(table)


def test_calls_from_424_on_are_common() -> None:
    """Since pidfd_send_signal all architectures number new calls alike."""
    x86, arm = (calltable.call_numbers(arch) for arch in calltable.ARCHES)
    assert {n for n, k in x86.items() if k >= 424} == {n for n, k in arm.items() if k >= 424}


def test_known_ranges_hold_exactly_the_known_numbers() -> None:
    """The runs are those that a filter tells unknown calls by."""
    assert calltable.known_ranges("x86_64") == ((0, 336), (424, 469))
    assert calltable.known_ranges("aarch64") == ((0, 243), (260, 294), (424, 469))


def test_call_name_of_one_architecture_is_a_name() -> None:
    """`open` exists on x86-64 only and is a name all the same; a misspelt one is not."""
    assert calltable.is_call_name("open")
    assert "open" not in calltable.call_numbers("aarch64")
    assert not calltable.is_call_name("opne")
