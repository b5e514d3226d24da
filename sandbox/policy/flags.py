"""Each flag of the command line, applied to a policy; imported only where there are flags."""

from __future__ import annotations

import os

from sandbox.errors import PolicyError, UsageError
from sandbox.host import observe
from sandbox.host.paths import home_dir
from sandbox.plan.model import Slot, SlotPath
from sandbox.policy import values
from sandbox.policy.image import refuse_other_roots
from sandbox.policy.model import COMMAND_LINE, LIMIT_FIELDS, HideRule, MountRule, Override
from sandbox.policy.read import HOSTNAME_FORM, MEASURES, is_hostname
from sandbox.policy.read_entries import refused_target
from sandbox.policy.resolve import check_consistent
from sandbox.policy.schema import LIMITS, SCHEMA
from sandbox.record import replace
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.policy.model import Flag, Policy

_ABSENT = "absent"
# What programs need to talk over the host's network: addresses of both kinds, and the list of
# interfaces that getaddrinfo(3) asks for.
_HOST_FAMILIES = frozenset({"inet", "inet6", "netlink"})


class Flags:
    """A policy while flags are applied to it."""

    def __init__(self, policy: Policy, cwd: str | None = None) -> None:
        self.policy = policy
        self.overrides: list[Override] = []
        self.origins = dict(policy.origins)
        self._named: dict[SlotPath, str] = {}
        self._cwd = cwd or os.getcwd()
        self._home = observe.realpath(home_dir())

    def finish(self) -> Policy:
        """Return the policy with its origins and overrides."""
        policy = replace(
            self.policy,
            origins=tuple(sorted(self.origins.items())),
            overrides=(*self.policy.overrides, *self.overrides),
        )
        check_consistent(policy)
        return policy

    def set_value(self, key: str, value: str, was: str) -> None:
        """Note that the flag gave `key` a value."""
        self.origins[key] = COMMAND_LINE
        if value != was:
            self.overrides.append(Override(key, value, was))

    def absolute(self, text: str, flag: Flag) -> str:
        """Return the path of a flag, made absolute but with its links left in place."""
        if not text or "\0" in text:
            raise UsageError(f"{escape(flag.text)}: a path is expected", code="usage.flag")
        return os.path.normpath(os.path.join(self._cwd, text))

    def located(self, path: str) -> SlotPath:
        """Return `path` as the plan names it: below the working directory or the home, if it is.

        So that one plan serves every directory, and mounts stay in the order of their depth. A
        working directory that is the home, above it or / stays as it is: naming it asks for it.
        """
        is_special = self._home == self._cwd or self._home.startswith(self._cwd.rstrip("/") + "/")
        for base, slot in ((self._cwd, Slot.CWD), (self._home, Slot.HOME)):
            if base == "/" or (slot is Slot.CWD and is_special):
                continue
            if path == base or path.startswith(base + "/"):
                return SlotPath(os.fsencode(path[len(base) :]), slot)
        return SlotPath(os.fsencode(path))

    def once(self, path: SlotPath, flag: Flag) -> None:
        """Refuse a second flag for one path: their order must not decide."""
        if path in self._named:
            raise UsageError(
                f"{escape(flag.text)} and {escape(self._named[path])} name the same path",
                hint="give one flag for each path",
                code="usage.flag",
            )
        self._named[path] = flag.text

    def mount(self, flag: Flag, mode: str, source: str | None, target: str, size: int = 0) -> None:
        """Add a mount; what stood at its exact path is replaced, and listed."""
        real = None
        if source is not None:
            real = observe.realpath(source)
            self._check_source(flag, real, source, mode)
        where = self.located(target)
        if where.slot is Slot.CWD and real is not None and source == target and real != target:
            # A link inside the working directory: what it leads to is mounted at its own place,
            # where the link finds it.
            where = self.located(real)
        refusal = refused_target(where)
        if refusal is not None:
            raise UsageError(f"{escape(flag.text)}: {refusal}", code="usage.flag")
        self.once(where, flag)
        origin = self.located(real) if real is not None else None
        rule = MountRule(
            path=where,
            mode=mode,
            source=None if origin == where else origin,
            size_bytes=size,
            origin=COMMAND_LINE,
        )
        self._replace_path(where, rule, mode)

    def _check_source(self, flag: Flag, real: str, source: str, mode: str) -> None:
        if not observe.exists(real):
            raise PolicyError(
                f"{escape(flag.text)}: {escape(source)} does not exist",
                hint="make it first, or leave the flag out",
                code="policy.path",
                path=source,
            )
        if mode == "overlay" and not observe.is_dir(real):
            raise PolicyError(
                f"{escape(flag.text)}: {escape(source)} is not a directory",
                hint="only directories can be overlaid; --ro shows a file",
                code="policy.path",
                path=source,
            )

    def _replace_path(self, where: SlotPath, rule: MountRule | HideRule, value: str) -> None:
        filesystem = self.policy.filesystem
        was = [mount.mode for mount in filesystem.mounts if self._is_same(mount.path, where)]
        was += ["hide" for hide in filesystem.hide if self._is_same(hide.path, where)]
        mounts = [item for item in filesystem.mounts if not self._is_same(item.path, where)]
        hides = [item for item in filesystem.hide if not self._is_same(item.path, where)]
        if isinstance(rule, HideRule):
            hides.append(rule)
        else:
            mounts.append(rule)
        key = f"filesystem.mounts[{where.text()}]"
        self.set_value(key, value, " and ".join(was) or _ABSENT)
        filesystem = replace(filesystem, mounts=tuple(mounts), hide=tuple(hides))
        self.policy = replace(self.policy, filesystem=filesystem)

    def _is_same(self, path: SlotPath, where: SlotPath) -> bool:
        """Compare as the caller sees the paths, so that `--rw .` replaces `${CWD}` everywhere."""
        return self._seen(path) == self._seen(where)

    def _seen(self, path: SlotPath) -> bytes | SlotPath:
        base = {Slot.NONE: "", Slot.CWD: self._cwd, Slot.HOME: self._home}.get(path.slot)
        return path if base is None else os.fsencode(base) + path.path

    def hide(self, flag: Flag) -> None:
        """Cover a path."""
        where = self.located(observe.realpath(self.absolute(flag.value, flag)))
        if where == SlotPath(b"/"):
            raise UsageError(f"{escape(flag.text)}: the root cannot be hidden", code="usage.flag")
        self.once(where, flag)
        self._replace_path(where, HideRule(where, COMMAND_LINE), "hide")


def _bad(flag: Flag, form: str) -> UsageError:
    return UsageError(
        f"{escape(flag.text)}: expected {form}, got {quote(flag.value)}",
        hint=f"see --{flag.key} in `sandbox exec --help`",
        code="usage.flag",
    )


def _apply_same(state: Flags, flag: Flag) -> None:
    path = state.absolute(flag.value, flag)
    state.mount(flag, flag.key, path, path)


def _apply_tmpfs(state: Flags, flag: Flag) -> None:
    text, colon, size_text = flag.value.rpartition(":")
    size = values.parse_size(size_text) if colon else None
    if size is None:  # a colon may be part of the path
        text, size = flag.value, 0
    elif size == 0:
        raise _bad(flag, "PATH or PATH:SIZE with a size such as 64M")
    state.mount(flag, "tmpfs", None, state.absolute(text, flag), size)


def _apply_bind(state: Flags, flag: Flag) -> None:
    text, mode = flag.value, "rw"
    for suffix in (":ro", ":rw"):
        if text.endswith(suffix):
            text, mode = text.removesuffix(suffix), suffix[1:]
    source, colon, target = text.partition(":")
    if not colon or not source or not target.startswith("/"):
        raise _bad(flag, "SOURCE:TARGET, SOURCE:TARGET:ro or :rw, with an absolute target")
    state.mount(flag, mode, state.absolute(source, flag), state.absolute(target, flag))


def _apply_hide(state: Flags, flag: Flag) -> None:
    state.hide(flag)


def _apply_env(state: Flags, flag: Flag) -> None:
    """NAME=VALUE wins over everything; NAME alone lets the caller's value pass."""
    name, equals, text = flag.value.partition("=")
    if not values.is_env_name(name):
        raise _bad(flag, "NAME=VALUE, or NAME for the caller's own value")
    env = state.policy.env
    if equals:
        value = SlotPath(text.encode("utf-8", "surrogateescape"))
        forced = {**dict(env.forced), name: value}
        env = replace(
            env,
            allow=tuple(known for known in env.allow if known != name),
            forced=tuple(sorted(forced.items(), key=lambda pair: pair[0])),
        )
    else:
        env = replace(env, allow=tuple(sorted({*env.allow, name})))
    state.policy = replace(state.policy, env=env)
    # Values of variables may be secrets: they are not repeated in results.
    state.set_value(f"env.set[{name}]" if equals else f"env.allow[{name}]", "given", "policy's")


def _apply_net(state: Flags, flag: Flag) -> None:
    later = SCHEMA["network.mode"].later
    if flag.value in later:
        raise UsageError(
            f"{escape(flag.text)}: the mode {flag.value} is not available in this version",
            hint="possible now: none, host",
            code="usage.flag",
        )
    if flag.value not in SCHEMA["network.mode"].choices:
        raise _bad(flag, "none or host")
    policy = state.policy
    was = policy.network.mode
    state.policy = replace(policy, network=replace(policy.network, mode=flag.value))
    state.set_value("network.mode", flag.value, was)
    families = policy.syscalls.socket_families
    if flag.value == "host" and not families >= _HOST_FAMILIES:
        syscalls = replace(policy.syscalls, socket_families=families | _HOST_FAMILIES)
        state.policy = replace(state.policy, syscalls=syscalls)
        state.set_value(
            "syscalls.socket_families",
            " ".join(sorted(families | _HOST_FAMILIES)),
            " ".join(sorted(families)) or "none",
        )


def _apply_hostname(state: Flags, flag: Flag) -> None:
    if not is_hostname(flag.value):
        raise _bad(flag, HOSTNAME_FORM)
    process = state.policy.process
    state.policy = replace(state.policy, process=replace(process, hostname=flag.value))
    state.set_value("process.hostname", flag.value, process.hostname)


def _apply_chdir(state: Flags, flag: Flag) -> None:
    path = state.absolute(flag.value, flag)
    process = replace(state.policy.process, chdir=os.fsencode(path))
    state.policy = replace(state.policy, process=process)
    state.set_value("process.chdir", path, "the caller's")


def _apply_uid(state: Flags, flag: Flag) -> None:
    key = SCHEMA["process.uid"]
    uid = int(flag.value) if flag.value.isascii() and flag.value.isdigit() else -1
    if not key.low <= uid <= key.high:
        raise _bad(flag, f"a number from {key.low} to {key.high}")
    process = state.policy.process
    state.policy = replace(state.policy, process=replace(process, uid=uid))
    state.set_value("process.uid", str(uid), str(process.uid))


def _apply_rootfs(state: Flags, flag: Flag) -> None:
    """Name the directory that an image policy has for its root."""
    real = observe.realpath(state.absolute(flag.value, flag))
    if not observe.is_dir(real):
        raise PolicyError(
            f"{escape(flag.text)}: {escape(flag.value)} is not a directory",
            hint="name the directory that holds the image's bin, etc and lib",
            code="policy.path",
            path=flag.value,
        )
    if real == "/":
        raise UsageError(
            f"{escape(flag.text)}: the root of the host is no image",
            hint="--policy default shows the host's programs",
            code="usage.flag",
        )
    filesystem = replace(state.policy.filesystem, rootfs=SlotPath(os.fsencode(real)))
    state.policy = replace(state.policy, filesystem=filesystem)
    refuse_other_roots(state.policy)
    state.set_value("filesystem.rootfs", real, _ABSENT)


def _apply_timeout(state: Flags, flag: Flag) -> None:
    _set_limit(state, flag, "wall", flag.value)


def _apply_limit(state: Flags, flag: Flag) -> None:
    name, equals, text = flag.value.partition("=")
    if not equals:
        raise _bad(flag, "NAME=VALUE such as memory=512M")
    if name not in LIMITS:
        near = values.nearest(name, list(LIMITS))
        raise UsageError(
            f"{escape(flag.text)}: there is no limit {quote(name)}"
            + (f"; did you mean {near}?" if near else ""),
            hint=f"limits: {', '.join(LIMITS)}",
            code="usage.flag",
        )
    _set_limit(state, flag, name, text)


def _set_limit(state: Flags, flag: Flag, name: str, text: str) -> None:
    key = SCHEMA[f"limits.{name}"]
    form, parse = MEASURES[key.kind]
    value = None if text == "none" else parse(text)
    if text != "none" and (value is None or value < key.low):
        least = f" of at least {key.low}" if key.low else ""
        raise _bad(flag, f"{form}{least} or none")
    limits = state.policy.limits
    field = LIMIT_FIELDS[name]
    was = getattr(limits, field)
    state.policy = replace(state.policy, limits=replace(limits, **{field: value}))
    state.set_value(f"limits.{name}", _shown(value), _shown(was))


def _shown(value: int | None) -> str:
    return "none" if value is None else str(value)


def _apply_allow_syscall(state: Flags, flag: Flag) -> None:
    from sandbox.policy.flags_calls import allow_calls  # few command lines have such flags

    allow_calls(state, flag)


def _apply_deny_syscall(state: Flags, flag: Flag) -> None:
    from sandbox.policy.flags_calls import deny_calls

    deny_calls(state, flag)


APPLY: dict[str, Callable[[Flags, Flag], None]] = {
    "ro": _apply_same,
    "rw": _apply_same,
    "overlay": _apply_same,
    "tmpfs": _apply_tmpfs,
    "bind": _apply_bind,
    "hide": _apply_hide,
    "env": _apply_env,
    "net": _apply_net,
    "hostname": _apply_hostname,
    "chdir": _apply_chdir,
    "uid": _apply_uid,
    "rootfs": _apply_rootfs,
    "timeout": _apply_timeout,
    "limit": _apply_limit,
    "allow-syscall": _apply_allow_syscall,
    "deny-syscall": _apply_deny_syscall,
}
