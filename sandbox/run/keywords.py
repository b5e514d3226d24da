"""The keywords of the Python API, made into the Request that the command line would make.

Every keyword stands for an option of `sandbox exec`, so that both doors mean the same. What changes
from call to call (the command, values of variables, the time limit) stays out of the Request:
one that was prepared before serves them all.
"""

from __future__ import annotations

import os

from sandbox.errors import UsageError
from sandbox.policy.model import Flag
from sandbox.policy.values import is_env_name, parse_size
from sandbox.record import record
from sandbox.run.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Literal, TypedDict

    Word = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    Amount = int | float | str | None
    Mount = str | tuple[Word, str]  # a mode, or a source and its mode

    class Walls(TypedDict, total=False):
        """What may be said about a sandbox, but for its policy."""

        tighten: Word | Sequence[Word]
        timeout: float | None
        limits: Mapping[str, Amount]
        mounts: Mapping[Any, Mount]  # a Word; a mapping's keys are invariant, so Word fits none
        env: Mapping[str, str | bytes | None]
        cwd: Word | None
        network: Literal["none", "host"]
        hostname: str
        chdir: Word
        rootfs: Word
        allow_syscalls: Sequence[str]
        deny_syscalls: Sequence[str]

    class Options(Walls, total=False):
        """What may be said about a sandbox; docs/api.md has a paragraph on each."""

        policy: Word | Sequence[Word]


_NAMES = (
    *("policy", "tighten", "timeout", "limits", "mounts", "env", "cwd", "network", "hostname"),
    *("chdir", "rootfs", "allow_syscalls", "deny_syscalls"),
)
_TIMES = frozenset({"wall", "cpu"})
_SAME = frozenset({"ro", "rw", "overlay", "hide"})
_TIMEOUT_MAX_S = 10**9


@record
class Asked:
    """One call of the API: what is prepared once, and what belongs to this call alone.

    Shape: `request` has no argv; `env` are the values of the variables that it names.
    """

    request: Request
    argv: tuple[bytes, ...]
    env: tuple[tuple[bytes, bytes], ...]
    timeout_ms: int | None


def ask(argv: Sequence[Word], options: Options) -> Asked:
    """Return what a call with these arguments asks for.

    Errors: TypeError for an unknown keyword or an argument of the wrong type; UsageError for a
            value that cannot be meant.
    """
    unknown = [name for name in options if name not in _NAMES]
    if unknown:
        raise TypeError(_unknown(unknown[0]))
    given: dict[str, Any] = dict(options)
    policies = _several("policy", given.get("policy", "default"))
    if not policies:
        raise UsageError("no policy is named", hint='policy="default" is what is used without one')
    env = given.get("env") or {}
    request = Request(
        argv=(),
        policy=policies[0],
        flags=tuple(_flags(given, env)),
        more_policies=policies[1:],
        tighten=_several("tighten", given.get("tighten") or ()),
        cwd=_directory(given.get("cwd")),
    )
    return Asked(request, words(argv), variables(env), timeout_ms(given.get("timeout")))


def words(argv: Sequence[Word]) -> tuple[bytes, ...]:
    """Return the command as bytes.

    Errors: TypeError where it is no sequence of words; UsageError where it is empty or has a NUL.
    """
    if isinstance(argv, (str, bytes, os.PathLike)):
        raise TypeError(
            f"argv is a list of words, not {type(argv).__name__}: for a command without arguments"
            ' write ["true"], for a line of shell ["sh", "-c", "echo $HOME"]'
        )
    made = tuple(map(os.fsencode, argv))
    if not made:
        raise UsageError("no command was given", hint='for example: ["make", "test"]')
    if not made[0]:
        raise UsageError("the command's name is empty", hint='for example: ["make", "test"]')
    for word in made:
        if b"\0" in word:
            raise UsageError(
                f"a NUL byte stands in the argument {word!r}",
                hint="arguments cannot hold NUL on Linux; pass such data through input or a file",
                code="usage.nul",
            )
    return made


def _unknown(name: str) -> str:
    import difflib  # only on the way to an error

    near = difflib.get_close_matches(name, _NAMES, n=1)
    return f"unknown keyword {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _several(keyword: str, value: Word | Iterable[Word]) -> tuple[str, ...]:
    """Policies by name, or by path where there is a slash; a Path is always a path."""
    if isinstance(value, (str, bytes, os.PathLike)):
        value = (value,)
    made = []
    for item in value:
        text = os.fsdecode(item)
        if not text or "\0" in text:
            raise UsageError(f"{keyword}={text!r} is neither a name nor a path")
        is_path = isinstance(item, os.PathLike) and "/" not in text
        made.append(f"./{text}" if is_path else text)
    return tuple(made)


def _directory(cwd: Word | None) -> bytes:
    """The working directory that is asked for, absolute; b"" for the caller's own."""
    if cwd is None:
        return b""
    path = os.fsencode(cwd)
    if b"\0" in path or not os.path.isdir(path):
        raise UsageError(
            f"cwd={os.fsdecode(path)!r} is not a directory",
            hint="cwd is a directory of the host, as for subprocess.run; chdir= names one inside",
            code="usage.no-cwd",
        )
    return os.path.realpath(path)


def timeout_ms(timeout: float | None) -> int | None:
    """Return a time limit in milliseconds; None is the policy's."""
    if timeout is None:
        return None
    if not 0 < timeout <= _TIMEOUT_MAX_S:
        raise UsageError(
            f"timeout={timeout!r} is not a number of seconds above 0",
            hint="None is the policy's own limit",
        )
    return max(1, round(timeout * 1000))


def variables(env: Mapping[str, str | bytes | None]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the variables that have a value."""
    return tuple(
        (os.fsencode(name), _value(name, value)) for name, value in env.items() if value is not None
    )


def _value(name: str, value: str | bytes) -> bytes:
    made = os.fsencode(value)
    if b"\0" in made:
        raise UsageError(f"env: the value of {name} has a NUL byte", code="usage.nul")
    return made


def _flags(given: dict[str, Any], env: Mapping[str, Any]) -> Iterable[Flag]:
    """The command line's layer, in the order of the keywords in `_NAMES`."""
    for name, amount in (given.get("limits") or {}).items():
        text = f"{name}={_amount(name, amount)}"
        yield Flag("limit", text, f"limits: {text}")
    for target, mount in (given.get("mounts") or {}).items():
        yield _mount(os.fsdecode(target), mount)
    for name, value in env.items():
        if not is_env_name(name):
            raise UsageError(
                f"env: {name!r} cannot be the name of a variable",
                hint="a name is not empty, and has neither = nor NUL",
                code="usage.env",
            )
        # the value comes later, and so it neither stands in a result nor needs a new plan
        yield Flag("env", name if value is None else f"{name}=", f"env: {name}")
    for keyword, key in (("network", "net"), ("hostname", "hostname")):
        if given.get(keyword) is not None:
            yield Flag(key, str(given[keyword]), f"{keyword}={given[keyword]!r}")
    for keyword in ("chdir", "rootfs"):
        if given.get(keyword) is not None:
            path = os.fsdecode(given[keyword])
            yield Flag(keyword, path, f"{keyword}={path!r}")
    for keyword in ("allow_syscalls", "deny_syscalls"):
        names = given.get(keyword) or ()
        for name in (names,) if isinstance(names, str) else names:
            key = keyword.removesuffix("s").replace("_", "-")
            yield Flag(key, name, f"{keyword}: {name}")


def _amount(name: str, amount: Amount) -> str:
    if amount is None:
        return "none"
    if isinstance(amount, str):
        return amount
    if name in _TIMES:
        return f"{round(amount * 1000)}ms"
    if isinstance(amount, float):
        raise TypeError(f"limits: {name} is a whole number, got {amount!r}")
    return str(amount)


def _mount(target: str, mount: Any) -> Flag:
    """One entry of `mounts`: the path inside, and what is to be seen there."""
    text = f"mounts: {target}"
    if isinstance(mount, str):
        kind, colon, size = mount.partition(":")
        if kind in _SAME and not colon:
            return Flag(kind, target, text)
        if kind == "tmpfs" and (not colon or parse_size(size)):
            return Flag("tmpfs", f"{target}:{size}" if colon else target, text)
        source, mode = "", mount
    elif isinstance(mount, tuple) and len(mount) == 2:
        source, mode = os.fsdecode(mount[0]), mount[1]
        if mode in ("ro", "rw") and source:
            _refuse_colon(source, target)
            return Flag("bind", f"{source}:{target}:{mode}", text)
    else:
        raise TypeError(f"{text}: expected a mode or a pair of source and mode, got {mount!r}")
    raise UsageError(
        f"{text}: there is no mode {mode!r}",
        hint='modes: "ro", "rw", "overlay", "tmpfs", "tmpfs:64M", "hide", and (source, "ro")'
        ' or (source, "rw")',
        code="usage.mount",
    )


def _refuse_colon(*paths: str) -> None:
    for path in paths:
        if ":" in path:
            raise UsageError(
                f"mounts: {path!r} has a colon, which separates the paths of --bind",
                hint="mount a directory above it, or a link to it",
                code="usage.mount",
            )
