"""Write real plans, invocations and cache entries as seeds: `make_seeds.py DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sandbox.plan.encode import encode_invocation, encode_plan
from sandbox.plan.entry import Entry, Fact, FactKind, encode_entry, template_of
from support import plans


def main() -> int:
    """Write one file for each plan, invocation and entry."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    every = {**plans.made_plans(), **plans.shipped_plans()}
    blobs = {f"plan-{name}": encode_plan(plan) for name, plan in every.items()}
    for name, run in plans.made_invocations().items():
        blobs[f"invocation-{name}"] = encode_invocation(run)
        facts = (Fact(FactKind.ABSENT, b"/absent"), Fact(FactKind.KIND, b"/usr", (0o40000,)))
        plan, template = template_of(every["strict"], run)
        entry = Entry(b"1\0/", 0, 0, 0, "0", "strict", facts, plan, template, ("a note",))
        blobs[f"entry-{name}"] = encode_entry(entry)
    for name, blob in blobs.items():
        (directory / name).write_bytes(blob)
    return 0


if __name__ == "__main__":
    sys.exit(main())
