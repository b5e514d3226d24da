"""Small programs that use the Python API, run as the ordinary user."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from support.user import User

Program = Callable[..., str]
# asyncio's development mode warns of slow steps, such as the first preparation
_HEAD = """
import logging
import sandbox
logging.getLogger("asyncio").setLevel(logging.ERROR)
def read(path):
    with open(path) as file:
        return file.read()
"""


def program_for(user: User, python: Path, work_dir: Path) -> Program:
    """Return `program(text, *words, timeout=…, stdin=…)`, which returns what the text printed.

    The interpreter's development mode makes what is left open or awaited an error.
    """

    def run(text: str, *words: str, timeout: float = 50.0, stdin: bytes = b"") -> str:
        code = _HEAD + textwrap.dedent(text)
        argv: list[str | bytes | Path] = [python, "-I", "-X", "dev", "-W", "error", "-c", code]
        done = user.run([*argv, *words], cwd=work_dir, timeout=timeout, stdin=stdin)
        if done.returncode != 0 or done.stderr:
            raise AssertionError(f"exit {done.returncode}\n{done.stdout!r}\n{done.stderr.decode()}")
        return done.stdout.decode()

    return run
