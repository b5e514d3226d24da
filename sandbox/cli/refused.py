"""`python -I -P -m sandbox.cli.refused`: the words for the refused calls of a run.

The launcher starts it after a run that has some to tell, with the run's record
(csrc/abi_denials.h) on standard input.
"""

from __future__ import annotations

import os
import sys

from sandbox.cli.exec_options import FLAG_KEYS, OPTIONS
from sandbox.cli.options import parse
from sandbox.cli.streams import say
from sandbox.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.run.runlog import Run


def policy_of(run: Run) -> Policy | None:
    """Return the policy of a run as it is now; None where it cannot be made any more."""
    from sandbox.policy.compose import Flag, apply_flags
    from sandbox.policy.load import load_policy

    try:
        parsed = parse(run.options, OPTIONS, "sandbox exec")
        policies = parsed.all("policy") or ("default",)
        tree = os.fsdecode(run.cwd) or "/"
        policy = load_policy(*policies, tighten=parsed.all("tighten"), tree=tree)
        flags = tuple(
            Flag(given.name, given.value, given.text)
            for given in parsed.options
            if given.name in FLAG_KEYS
        )
        return apply_flags(policy, flags)
    except (SandboxError, OSError):
        return None  # it was removed, or does not hold any more


def main() -> None:
    """Read one record and write its lines to standard error."""
    from sandbox.run.denied import denial_data, denial_lines
    from sandbox.run.runlog import decode_run

    run = decode_run(sys.stdin.buffer.read())
    if run is None:
        return
    entries = denial_data(run.denials, policy_of(run), os.uname().machine)
    for line in denial_lines(entries, run.denials_lost):
        say(f"sandbox: {line}")


if __name__ == "__main__":
    main()
