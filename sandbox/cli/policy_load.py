"""The policies that a command line of `sandbox policy` names, as a run here would have them."""

from __future__ import annotations

import os

from sandbox.cli.policy import arch_of
from sandbox.cli.streams import say
from sandbox.errors import UsageError
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.cli.options import Parsed
    from sandbox.policy.exchange.oci_read import Container
    from sandbox.policy.exchange.report import Loss
    from sandbox.policy.model import Policy

_NAMES = ("docker", "oci", "kubernetes", "systemd")  # convert.FORMATS, without its imports
_CALLS_SHOWN = 6


def load(name: str, parsed: Parsed, *, is_compared: bool = False) -> Policy:
    """Return the policy or layer that a word of the command line names.

    Shape:  within --tighten, and within the layers found in the working tree: of a policy that is
            compared with another only by --tree. `FORMAT:FILE` is a file of another tool.
    Errors: PolicyError as load_policy; UsageError for a format that there is no file for.
    """
    from sandbox.policy.load import load_policy

    form, path = imported_from(name)
    if form:
        if parsed.all("tighten"):
            raise UsageError(
                f"{quote(name)}: a file of another tool cannot be tightened here",
                hint=f"sandbox policy import --from {form} FILE makes a policy of it",
                code="usage.option",
            )
        from sandbox.policy.exchange.named import named_policy

        policy, losses = named_policy(form, path, container_of(parsed))
        if not parsed.has("json"):
            report(losses)
        return policy
    tree = os.getcwd() if has_tree(parsed, is_compared=is_compared) else None
    if _is_found(name):
        tree = None  # the layer itself is asked about
    return load_policy(name, tighten=parsed.all("tighten"), tree=tree, is_base=False)


def imported_from(name: str) -> tuple[str, str]:
    """Return format and file of `FORMAT:FILE`; two empty strings for the name of a policy."""
    form, colon, path = name.partition(":")
    return (form, path) if colon and path and form in _NAMES else ("", "")


def has_tree(parsed: Parsed, *, is_compared: bool = False) -> bool:
    """Say whether layers found in the working tree count.

    A comparison takes what was named, so that its answer does not depend on the directory.
    """
    return parsed.has("tree") if is_compared else not parsed.has("no-tree")


def found_in_tree(
    parsed: Parsed, names: tuple[str, ...] = (), *, is_compared: bool = False
) -> list[str]:
    """Return the paths of the found layers that the answer is within.

    Shape:  `names` are the policies asked about, by default the first argument; empty where all of
            them are files of other tools or such layers themselves.
    """
    from sandbox.policy.find import found_layers

    asked = names or parsed.rest[:1]
    named = [name for name in asked if not imported_from(name)[0] and not _is_found(name)]
    if not named or not has_tree(parsed, is_compared=is_compared):
        return []
    return [source.path for source in found_layers(os.getcwd())]


def note_tree(parsed: Parsed, names: tuple[str, ...] = (), *, is_compared: bool = False) -> None:
    """Say on stderr which found layers the answer is within."""
    for path in found_in_tree(parsed, names, is_compared=is_compared):
        shown = os.path.relpath(path)
        say(f"sandbox: note: with {escape(shown if '/' in shown else f'./{shown}')}")


def _is_found(name: str) -> bool:
    """Say whether the policy asked about is itself the layer of the working tree."""
    from sandbox.policy.groups import FOUND_LAYER

    return os.path.basename(name) == FOUND_LAYER


def container_of(parsed: Parsed) -> Container:
    """Return the container that a profile is read for: --arch, --caps and --kernel.

    Errors: UsageError for a capability or version that is none.
    """
    from sandbox.policy.exchange.convert import this_kernel
    from sandbox.policy.exchange.oci_check import kernel_version
    from sandbox.policy.exchange.oci_read import Container

    kernel = this_kernel()
    if (given := parsed.last("kernel")) is not None:
        found = kernel_version(given)
        if found is None:
            raise UsageError(
                f"--kernel {quote(given)}: not a version",
                hint="write it as 6.1",
                code="usage.option",
            )
        kernel = found
    return Container(arch_of(parsed), _capabilities(parsed), kernel)


def _capabilities(parsed: Parsed) -> frozenset[str]:
    from sandbox.policy.exchange.named import DOCKER_CAPABILITIES

    found: set[str] = set()
    for word in parsed.all("caps"):
        found |= DOCKER_CAPABILITIES if word == "docker" else {_capability(word)}
    return frozenset(found)


def _capability(word: str) -> str:
    from sandbox.policy.exchange.oci_names import CAPABILITIES

    name = word.upper().removeprefix("CAP_")
    if name in CAPABILITIES:
        return name
    from sandbox.policy.values import nearest

    near = nearest(name, list(CAPABILITIES))
    raise UsageError(
        f"--caps {quote(word)}: there is no such capability",
        hint=f"did you mean {near}?" if near else "capabilities(7) lists them; docker has a set",
        code="usage.option",
    )


def report(losses: tuple[Loss, ...]) -> None:
    """Print on stderr what an import or export could not carry over."""
    for loss in losses:
        calls = ""
        if loss.calls:
            more = len(loss.calls) - _CALLS_SHOWN
            calls = f" ({', '.join(loss.calls[:_CALLS_SHOWN])}" + (
                f" +{more})" if more > 0 else ")"
            )
        say(f"{loss.effect}: {escape(loss.what)}: {escape(loss.why)}{calls}")
