"""Python programs that tests run as the ordinary user, with a few helpers in front of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from support.user import User

Program = Callable[..., str]

HELPERS = """
import os, signal, sandbox, threading, time

def children():
    found = []
    for task in os.listdir("/proc/self/task"):  # each thread has its own
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                found += file.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended, and its children are another's now
    return found

def until(check):
    for _ in range(500):
        if check():
            return True
        time.sleep(0.01)
    return False

def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__, getattr(error, "code", "")
    return "", ""

def init_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return int(file.read().split()[0])
"""


def make_program(user: User, user_python: Path, work_dir: Path) -> Program:
    """Return `program(text)`: run a Python program as the user; return what it printed."""

    def run(text: str, *words: str, timeout: float = 50.0) -> str:
        code = HELPERS + textwrap.dedent(text)
        argv: list[str | bytes | Path] = [
            user_python,
            "-I",
            "-X",
            "dev",
            "-W",
            "error",
            "-c",
            code,
            *words,
        ]
        done = user.run(argv, cwd=work_dir, timeout=timeout)
        told = done.stderr.decode()
        assert (done.returncode, told) == (0, ""), f"exit {done.returncode}: {told}"
        return done.stdout.decode()

    return run
