"""Write real plans and invocations as seeds for the fuzzer: `make_seeds.py DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sandbox.plan.encode import encode_invocation, encode_plan
from support import plans


def main() -> int:
    """Write one file for each plan and invocation."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    every = {**plans.made_plans(), **plans.shipped_plans()}
    blobs = {f"plan-{name}": encode_plan(plan) for name, plan in every.items()}
    for name, run in plans.made_invocations().items():
        blobs[f"invocation-{name}"] = encode_invocation(run)
    for name, blob in blobs.items():
        (directory / name).write_bytes(blob)
    return 0


if __name__ == "__main__":
    sys.exit(main())
