"""Which prepared requests the launcher may run again, and their way into the plan cache.

Not every one is kept: an entry must hold all that its run needs, and every answer of the host that
it rests on must be a fact that the launcher can look at again.
"""

from __future__ import annotations

import os
import sys
import time

from sandbox.errors import SandboxError
from sandbox.host import observe, paths
from sandbox.plan import cache
from sandbox.plan.entry import (
    FACTS_MAX,
    TTY_RELAY,
    Entry,
    encode_entry,
    entry_key,
    entry_name,
    template_of,
)
from sandbox.plan.model import Slot
from sandbox.policy.find import is_source_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.host.observe import Facts
    from sandbox.plan.model import Plan
    from sandbox.run.request import Prepared

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# A file that is changed again within one tick of the clock keeps its times: what is this young
# does not yet stand for its content (the "racy" problem of git's index).
SETTLED_NS = 2_000_000_000
_SINGLE_MAPS = 2  # one extent for users, one for groups


def directory() -> str:
    """Return the directory of the entries.

    Errors: StateError where it cannot be made or another user owns it.
    """
    return paths.cache_dir("plans")


def is_settled(facts: Facts) -> bool:
    """Say whether every file that was read is old enough to be known by its times."""
    return time.time_ns() - facts.newest_ns >= SETTLED_NS


def obstacle(prepared: Prepared, facts: Facts) -> str:
    """Return why the launcher cannot run the request from an entry; "" if it can."""
    plan = prepared.plan
    if not plan.namespaces:
        return "it runs without namespaces"
    if (os.getuid(), os.getgid()) != (os.geteuid(), os.getegid()):
        return "the caller's real and effective ids differ"
    if len(plan.id_maps) > _SINGLE_MAPS and not prepared.host.is_privileged:
        return "its ids are mapped by newuidmap and newgidmap"
    if prepared.host.hierarchies:
        return "it runs in a control group of its own"
    if _needs_state(plan):
        return "it needs a directory of its own on disk"
    if any(flag.key == "env" and "=" in flag.value for flag in prepared.request.flags):
        return "its options hold a value of the environment, which may be a secret"
    if facts.gap:
        return facts.gap
    if not is_settled(facts):
        return "a file that it was made from has only just changed"
    return ""


def _needs_state(plan: Plan) -> bool:
    places = [plan.root_source, plan.root_upper, *(rule.value for rule in plan.env)]
    for op in plan.mounts:
        places += (op.target, op.source, op.upper)
    return Slot.STATE in {place.slot for place in places if place is not None}


def keep(prepared: Prepared, facts: Facts, words: Iterable[bytes]) -> bool:
    """Store the request of the command line's option `words`; say whether it is kept.

    Shape: nothing that goes wrong here is an error of the run.
    """
    if obstacle(prepared, facts):
        return False
    with observe.recording() as more:
        _see_program()
    listed = tuple(dict.fromkeys((*facts.listed(), *more.listed())))
    if more.gap or not is_settled(more) or len(listed) > FACTS_MAX:
        return False
    import sandbox

    try:
        key = entry_key(os.getcwdb(), os.environb, words)
        plan, template = template_of(prepared.plan, prepared.invocation)
        blob = encode_entry(
            Entry(
                key=key,
                uid=os.geteuid(),
                gid=os.getegid(),
                flags=TTY_RELAY if prepared.policy.process.tty == "relay" else 0,
                version=sandbox.__version__,
                policy=prepared.policy.name,
                facts=listed,
                plan=plan,
                invocation=template,
                notes=prepared.notes,
                placeholders=prepared.placeholders,
            )
        )
        return cache.store(directory(), entry_name(key), blob)
    except (SandboxError, OSError):
        return False


def _see_program() -> None:
    """Record what makes the same policy another plan: the kernel, and this program itself.

    An installation replaces the compiled module whenever it replaces anything. A source tree is
    edited file by file, so there every module that took part counts.
    """
    if observe.read_kernel_file(_BOOT_ID) is None:
        observe.miss("the kernel cannot be told from another one")
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = {os.path.join(package, "_core.abi3.so")}
    if is_source_tree():
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if path is not None and name.partition(".")[0] == "sandbox":
                files.add(path)
    for path in sorted(files):
        try:
            observe.saw_file(path, os.stat(path))
        except OSError:
            observe.miss(f"{path} cannot be looked at")
