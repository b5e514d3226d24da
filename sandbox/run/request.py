"""What a caller asks for, and what it became: Request and Prepared."""

from __future__ import annotations

from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.facts import Host
    from sandbox.plan.model import Invocation, Plan
    from sandbox.policy.compose import Flag
    from sandbox.policy.model import Policy


@record
class Request:
    """One command to run.

    Shape: `argv` as bytes, at least one; `policy` a name or a path with a slash; `flags` the
    command line's layer, in order; `more_policies` are extended together with `policy`; `tighten`
    are layers that may only restrict, as those found in the working tree, which count unless
    `has_tree` is false (for questions alone: every run has them). `cwd` is the working directory,
    absolute and canonical (b"": the caller's own).
    """

    argv: tuple[bytes, ...]
    policy: str = "default"
    flags: tuple[Flag, ...] = ()
    more_policies: tuple[str, ...] = ()
    tighten: tuple[str, ...] = ()
    has_tree: bool = True
    cwd: bytes = b""


@record
class Prepared:
    """A request that is ready to run; nothing has been touched yet.

    Shape: `notes` are lines for the user; `placeholders` absent protected paths (inside, on the
    host) that the run covers; they are made when it starts.
    """

    request: Request
    policy: Policy
    host: Host
    plan: Plan
    invocation: Invocation
    notes: tuple[str, ...] = ()
    placeholders: tuple[tuple[bytes, bytes], ...] = ()
