"""The shape of a sandbox: what its root is, whose ids the command has, which rights it keeps."""

from __future__ import annotations

from sandbox.errors import HostError
from sandbox.plan.model import IdKind, IdMap, Namespace, RootKind
from sandbox.policy.files import Root, compile_view
from sandbox.policy.model import OFF
from sandbox.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.facts import Host
    from sandbox.policy.files import View
    from sandbox.policy.model import Policy

# capabilities(7), prctl(2): root gets no capabilities from exec or set*id, none are kept over a
# change of ids, none can be raised as ambient; all of it locked.
_NOROOT = 0x3
_NO_SETUID_FIXUP = 0xC
_KEEP_CAPS_LOCKED = 0x20
_NO_CAP_AMBIENT_RAISE = 0xC0
SECUREBITS = _NOROOT | _NO_SETUID_FIXUP | _KEEP_CAPS_LOCKED | _NO_CAP_AMBIENT_RAISE

# A read-only root holds directories, links and a handful of small files.
_ROOT_BYTES = 1 << 20
_ROOT_BYTES_WRITABLE = 64 << 20
_NO_ROOT = Root(RootKind.TMPFS)


def root_and_view(policy: Policy, host: Host) -> tuple[Root, View, Policy]:
    """Return the root, what is seen below it, and the policy with what the root decides."""
    basic = {policy.isolation.namespace(name) for name in ("user", "mount", "pid")}
    if policy.filesystem.root == "host" or OFF in basic:
        from sandbox.policy.confined import check_combination, grants  # few runs go without

        check_combination(policy)
        return _NO_ROOT, grants(policy, host), policy
    if policy.filesystem.root == "image":
        from sandbox.policy.image import compile_root, with_home  # as few have an image

        policy = with_home(policy)
        root = compile_root(policy, host)
        view = compile_view(policy, host)
        return root, replace(view, notes=root.notes + view.notes), policy
    size_bytes = _ROOT_BYTES if policy.filesystem.root == "tmpfs-ro" else _ROOT_BYTES_WRITABLE
    return replace(_NO_ROOT, size_bytes=size_bytes), compile_view(policy, host), policy


def command_ids(
    policy: Policy, host: Host, namespaces: Namespace
) -> tuple[int, int, tuple[IdMap, ...]]:
    """Return the command's ids and their maps; without a user namespace they are the caller's."""
    if not namespaces & Namespace.USER:
        return host.uid, host.gid, ()
    return policy.process.uid, policy.process.gid, _id_maps(policy, host)


def _id_maps(policy: Policy, host: Host) -> tuple[IdMap, ...]:
    """Return the command's own ids, and with `multi` the caller's subordinate ones beside them."""
    process = policy.process
    if process.id_map == "single":
        return (
            IdMap(IdKind.UID, process.uid, host.outside_uid),
            IdMap(IdKind.GID, process.gid, host.outside_gid),
        )
    from sandbox.host.idmap import lay_out  # few policies ask for it

    subids = host.subids
    if subids is None or not subids.uids or not subids.gids:
        gap = subids.gap if subids is not None else "/etc/subuid was not read"
        remedy = subids.remedy if subids is not None else "see subuid(5)"
        raise HostError(
            f"process.id_map is required ({policy.origin('process.id_map')}) and this host lacks "
            f"it: {gap}",
            hint=f'{remedy}; or process.id_map = "single"',
            protection="process.id_map",
            reason=gap,
        )
    return (
        *lay_out(IdKind.UID, process.uid, host.outside_uid, subids.uids),
        *lay_out(IdKind.GID, process.gid, host.outside_gid, subids.gids),
    )


def kept_capabilities(policy: Policy) -> int:
    """Return the capability set of the command."""
    if not policy.process.capabilities:
        return 0
    from sandbox.policy.image import capability_bits

    return capability_bits(policy.process.capabilities)


def securebits(policy: Policy, namespaces: Namespace) -> int:
    """Return the locks; a root that keeps capabilities has them by its id, as root has."""
    if not namespaces & Namespace.USER:
        return 0
    if policy.process.capabilities:
        return _KEEP_CAPS_LOCKED | (_NO_CAP_AMBIENT_RAISE if policy.process.uid == 0 else 0)
    return SECUREBITS
