"""Which policy is tighter: the partial order of resolved policies, with a witness for each "no".

`other` is at most `base` where everything that `other` lets a command do, `base` lets it do as
well. Judged are effective sets (calls, paths, variables, network, bounds, protections), not text:
two files may differ in every line and still be equal here. The answer is safe on one side: what
cannot be shown to be tighter counts as a widening.

Not judged, because they grant nothing: host name, ids, values of variables, symbolic links, and
which errno a refused call gets.
"""

from __future__ import annotations

from sandbox.policy.lattice import CHOICES, DEMANDS, choice_rank, covers_env
from sandbox.policy.model import LIMIT_FIELDS, OFF, REQUIRE
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.policy.model import Policy

__all__ = ["Widening", "widenings"]


@record
class Widening:
    """One thing that `other` allows and `base` does not.

    Shape: `key` is the policy key it belongs to; `witness` the call, path, variable or value that
           shows it; `base` and `other` what each of the two says about the witness.
    """

    key: str
    witness: str
    base: str
    other: str


def widenings(base: Policy, other: Policy) -> tuple[Widening, ...]:
    """Return what `other` allows beyond `base`, sorted; nothing where it is at least as tight.

    Errors: PolicyError for a policy whose calls cannot be resolved.
    """
    found = [
        *_isolation(base, other),
        *_choices(base, other),
        *_env(base, other),
        *_network(base, other),
        *_limits(base, other),
    ]
    from sandbox.policy import order_calls, order_paths  # they need the call table, the groups

    found += [Widening(*item) for item in order_paths.path_widenings(base, other)]
    if OFF not in (base.isolation.seccomp, other.isolation.seccomp):
        found += [Widening(*item) for item in order_calls.call_widenings(base, other)]
    return tuple(sorted(found, key=lambda item: (item.key, item.witness)))


def _demand(key: str, base: str, other: str) -> Iterator[Widening]:
    if DEMANDS.index(other) > DEMANDS.index(base):
        yield Widening(key, other, base, other)


def _isolation(base: Policy, other: Policy) -> Iterator[Widening]:
    one, two = base.isolation, other.isolation
    for name, demand in one.namespaces:
        yield from _demand(f"isolation.namespaces.{name}", demand, two.namespace(name))
    for field in ("no_new_privs", "seccomp", "landlock_fs", "landlock_net", "landlock_scope"):
        key = "isolation." + field.replace("landlock_", "landlock.")
        yield from _demand(key, getattr(one, field), getattr(two, field))
    if two.nested_userns and not one.nested_userns:
        yield Widening("isolation.nested_userns", "true", "false", "true")
    if _is_abi_wider(one.landlock_fs, one.landlock_min_abi, two.landlock_fs, two.landlock_min_abi):
        low, high = str(one.landlock_min_abi), str(two.landlock_min_abi)
        yield Widening("isolation.landlock.min_abi", high, low, high)
    yield from _demand("audit.denials", base.audit.denials, other.audit.denials)


def _is_abi_wider(base: str, base_abi: int, other: str, other_abi: int) -> bool:
    """Say whether a kernel exists on which `other` goes without the wall that `base` has.

    A required wall of a lower ABI starts on kernels where the higher one refuses; a preferred wall
    of a higher ABI is left out where the lower one stands.
    """
    if OFF in (base, other):
        return False  # told by the demand itself
    return other_abi < base_abi if base == REQUIRE else other != REQUIRE and other_abi > base_abi


def _choices(base: Policy, other: Policy) -> Iterator[Widening]:
    for key, (section, field) in CHOICES.items():
        one = getattr(getattr(base, section), field)
        two = getattr(getattr(other, section), field)
        if choice_rank(key, two) > choice_rank(key, one):
            yield Widening(key, two, one, two)
    for key, had, has in (
        ("filesystem.dev", base.filesystem.dev, other.filesystem.dev),
        ("filesystem.groups", base.filesystem.groups, other.filesystem.groups),
    ):
        for name in has:
            # what @toolchains shows is judged path by path
            if name not in had and name != "@toolchains":
                yield Widening(key, name, "absent", name)


def _env(base: Policy, other: Policy) -> Iterator[Widening]:
    for name in other.env.allow:
        if not covers_env(base.env.allow, name):
            yield Widening("env.allow", name, "stays outside", "passes from the caller")


def _network(base: Policy, other: Policy) -> Iterator[Widening]:
    one, two = base.network, other.network
    if choice_rank("network.mode", two.mode) > choice_rank("network.mode", one.mode):
        yield Widening("network.mode", two.mode, one.mode, two.mode)
    if two.has_loopback and not one.has_loopback and one.mode == "none":
        yield Widening("network.loopback", "127.0.0.1", "down", "up")


def _limits(base: Policy, other: Policy) -> Iterator[Widening]:
    one, two = base.limits, other.limits
    for name, field in LIMIT_FIELDS.items():
        had, has = getattr(one, field), getattr(two, field)
        if had is None or one.demand(name) == OFF:
            continue
        if has is None or has > had:
            text = "none" if has is None else str(has)
            yield Widening(f"limits.{name}", text, str(had), text)
        yield from _demand(f"limits.enforce.{name}", one.demand(name), two.demand(name))
    if one.memory_bytes is not None or one.cpu_ms is not None:
        yield from _demand("limits.enforce.tree", one.demand("tree"), two.demand("tree"))
    grace = other.process.term_grace_ms
    if grace > base.process.term_grace_ms:
        was = str(base.process.term_grace_ms)
        yield Widening("process.term_grace", str(grace), was, str(grace))
