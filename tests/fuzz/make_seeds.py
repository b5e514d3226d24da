"""Write seeds for the fuzzers: `make_seeds.py DIRECTORY`.

Real plans, invocations and cache entries go there; calls with real filters into DIRECTORY-bpf.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sandbox.plan.encode import encode_invocation, encode_plan
from sandbox.plan.entry import Entry, Fact, FactKind, encode_entry, template_of
from support import plans

_CALL = struct.Struct("=iIQ6Q")  # struct seccomp_data


def main() -> int:
    """Write one file for each plan, invocation and entry."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    every = {**plans.made_plans(), **plans.shipped_plans()}
    blobs = {f"plan-{name}": encode_plan(plan) for name, plan in every.items()}
    for name, run in plans.made_invocations().items():
        blobs[f"invocation-{name}"] = encode_invocation(run)
        facts = (Fact(FactKind.ABSENT, b"/absent"), Fact(FactKind.KIND, b"/usr", (0o40000,)))
        kept, template = template_of(every["strict"], run)
        entry = Entry(b"1\0/", 0, 0, 0, "0", "strict", facts, kept, template, ("a note",))
        blobs[f"entry-{name}"] = encode_entry(entry)
    for name, blob in blobs.items():
        (directory / name).write_bytes(blob)
    programs = Path(f"{directory}-bpf")
    programs.mkdir(parents=True, exist_ok=True)
    for name, plan in every.items():
        for number in (0, 41, 1 << 30):
            call = _CALL.pack(number, 0xC000003E, 0, *(number,) * 6)
            code = b"".join(item.code for item in plan.filters)
            (programs / f"{name}-{number}").write_bytes(call + code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
