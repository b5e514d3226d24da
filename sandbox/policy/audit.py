"""What is recorded of a run: whether refused calls are put to the supervisor."""

from __future__ import annotations

from sandbox.errors import HostError
from sandbox.plan.model import Filter, FilterFlag
from sandbox.policy.model import OFF, REQUIRE
from sandbox.policy.notes import Effective

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.policy.syscalls import CompiledFilter

KEY = "audit.denials"


def load_as(
    policy: Policy, compiled: CompiledFilter | None, effective: list[Effective]
) -> tuple[Filter, ...]:
    """Return the filter as it is to be loaded, and report whether its refusals leave a record.

    Whether a listener is to be had shows only when the filter is loaded: the tree may have one.
    Errors: HostError(host.missing) where a record is required and there is no filter.
    """
    demand = policy.audit.denials
    if compiled is None:
        if demand == REQUIRE:
            raise HostError(
                f"{KEY} is required ({policy.origin(KEY)}), and without a filter nothing is seen",
                hint=f"isolation.seccomp must not be off for it"
                f" ({policy.origin('isolation.seccomp')})",
                protection=KEY,
                reason="there is no filter",
            )
        effective.append(Effective(KEY, demand, OFF, "", "there is no filter"))
        return ()
    if demand == OFF:
        effective.append(Effective(KEY, OFF, OFF, ""))
        return (Filter(compiled.code),)
    flags = FilterFlag.NOTIFY
    if demand == REQUIRE:
        flags |= FilterFlag.NOTIFY_REQUIRED
    effective.append(Effective(KEY, demand, "on", "seccomp notification"))
    return (Filter(compiled.recorded, flags),)
