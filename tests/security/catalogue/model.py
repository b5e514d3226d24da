"""The shape of a row of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

POLICIES = ("strict", "default")

# What an attempt must answer under a policy: the name of the attempt, or "*" for the others, to
# one outcome or to several with "|" between them. Outcomes are errno names, signal names, "absent"
# (what was looked for is not there) and "OK" (the policy allows it). Keys "works:NAME" are about
# things that must work, where they do not have to under this policy.
Expected = Mapping[str, str]


@dataclass(frozen=True)
class Call:
    """A call for the simulated leg: the filter must not let it through with these arguments."""

    name: str
    args: tuple[int, ...] = ()
    errno: str = "EPERM"
    is_default_allowed: bool = False


@dataclass(frozen=True)
class Row:
    """One check.

    Shape: `layers` hold it, in the order in which the attempt meets them; `args` are templates
    over the names in security.places; `policy_args` replaces them for one policy;
    `controls` say as whom the attempt succeeds without a sandbox: the ordinary "user", root of an
    own user namespace ("userns"), or "root" where nothing is changed by it; `since_abi` gives the
    Landlock ABI from which an attempt is refused at all.
    """

    id: str
    title: str
    attempt: str
    layers: tuple[str, ...]
    severity: str
    source: str
    strict: Expected | None
    default: Expected | None
    args: tuple[str, ...] = ()
    policy_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    controls: tuple[str, ...] = ("user", "userns")
    calls: tuple[Call, ...] = ()
    since_abi: Mapping[str, int] = field(default_factory=dict)
    machines: tuple[str, ...] = ("x86_64", "aarch64")
    is_for_root_caller: bool = False

    def expected(self, policy: str) -> Expected | None:
        """Return what the policy states, or None where the check does not apply to it."""
        return {"strict": self.strict, "default": self.default}[policy]

    def args_for(self, policy: str) -> tuple[str, ...]:
        """Return the templates of the arguments under `policy`."""
        return self.policy_args.get(policy, self.args)


def every(outcome: str, **others: str) -> dict[str, str]:
    """Return: every attempt answers `outcome`, but for `others` (underscores stand for dashes)."""
    return {"*": outcome, **{name.replace("_", "-"): value for name, value in others.items()}}
