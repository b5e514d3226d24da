"""Runs a command in a pool's or a session's sandbox, with options as `sandbox exec` has them.

`served.py pool|session --policy P [--ro PATH]… [-q] -- COMMAND…`, run as a program of its own.
"""

from __future__ import annotations

import sys

import sandbox


def main(words: list[str]) -> int:
    """Run it with our own streams; return the exit code."""
    kind, at, policy, mounts = words[0], 1, "default", {}
    while words[at] != "--":
        if words[at] == "--policy":
            policy = words[at + 1]
        elif words[at] == "--ro":
            mounts[words[at + 1]] = "ro"
        else:
            at -= 1  # a word without a value
        at += 2
    command = words[at + 1 :]
    if kind == "pool":
        with sandbox.Pool(policy, size=1, mounts=mounts) as pool:
            return pool.run(command, stdin=None, stdout=None, stderr=None).shell_exit_code()
    with sandbox.Session(policy, mounts=mounts) as session:
        # not the first command of it: what another leaves behind must not weaken a wall
        session.run(["true"])
        return session.run(command, stdin=None, stdout=None, stderr=None).shell_exit_code()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
