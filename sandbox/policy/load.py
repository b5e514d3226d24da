"""Names and files → Policy: read, compose, tighten, resolve.

Errors carry file, line and key. Nothing is ignored: a key that this version cannot enforce is
refused, because a policy that is half understood is weaker than it reads. The one exception is a
file that was merely found in the working tree and asks for more than the policy gives: that has no
effect, and is noted.
"""

from __future__ import annotations

import os

from sandbox.errors import PolicyError
from sandbox.host import observe
from sandbox.policy.compose import inherit
from sandbox.policy.find import (
    Source,
    find_policy,
    found_layers,
    parse,
    read_policy_file,
)
from sandbox.policy.read import read_layer
from sandbox.policy.resolve import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.policy.meet import Excess
    from sandbox.policy.model import Policy
    from sandbox.policy.reader import Layer

_DEPTH_MAX = 8
_NONE: tuple[tuple[tuple[str, str], ...], str] = ((), "")


def load_policy(
    *names: str, tighten: Sequence[str] = (), tree: str | None = None, is_base: bool = True
) -> Policy:
    """Return the resolved policy of that name, or of the file if there is a slash in it.

    Shape:  names are looked up among the shipped policies, /etc/sandbox/policies and
            $XDG_CONFIG_HOME/sandbox/policies; a name in two of them is an error, not a shadow.
            Several names act like an unnamed policy that extends them all. `tighten` names layers
            that may only restrict; those of the working tree from `tree` upwards come after them.
            Without `is_base` the policy need not be one that a command could run under.
    Errors: PolicyError .not-found .untrusted .syntax .unknown-key .value .conflict .widening, with
            the place.
    """
    loader = _Loader()
    sources = [find_policy(name) for name in names]
    layer = loader.compose(sources)
    source = sources[0]
    if len(sources) > 1:
        label = " + ".join(one.name for one in sources)
        source = Source(label, source.path, label, "named")
    asked = [(find_policy(name), "") for name in tighten]
    found = found_layers(tree) if tree is not None else ()
    layer = loader.tighten(layer, [*asked, *((one, "") for one in found)])
    return resolve(layer, source, loader.in_order(), loader.notes, is_base=is_base)


def parse_policy(body: bytes, name: str, *, path: str = "") -> Policy:
    """Return the resolved policy that the TOML text `body` states; places read `name.toml:line`.

    Errors: as `load_policy`.
    """
    label = path or f"{name}.toml"
    parsed = parse(body, label)
    source = Source(name, path or label, label, "named")
    loader = _Loader()
    loader.files[source.path] = parsed.sha256
    layer, _ = loader.over_parents(source, read_layer(label, parsed), (source,))
    return resolve(layer, source, loader.in_order(), loader.notes)


class _Loader:
    """One composition: each file is read once, and remembered with its hash."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.notes: list[str] = []
        self._known: dict[str, tuple[Layer, int]] = {}

    def in_order(self) -> tuple[tuple[str, str], ...]:
        """Return the files with their hashes, the named one first."""
        return tuple(self.files.items())

    def compose(self, sources: list[Source]) -> Layer:
        """Return the composed layer of `sources`, as if one policy extended them all."""
        layers = [self._load(source, (source,))[0] for source in sources]
        return layers[0] if len(layers) == 1 else inherit(layers, {})

    def _load(self, source: Source, chain: tuple[Source, ...]) -> tuple[Layer, int]:
        """Return the composed layer of `source`, and how deep the chain below it is."""
        real = source.path
        if "\0" not in real:  # else it is no path, as reading it will say
            real = observe.realpath(real)
        known = self._known.get(real)
        if known is None:
            parsed = read_policy_file(source)
            self.files.setdefault(source.path, parsed.sha256)
            known = self.over_parents(source, read_layer(source.label, parsed), chain)
            self._known[real] = known
        return known

    def over_parents(
        self, source: Source, layer: Layer, chain: tuple[Source, ...]
    ) -> tuple[Layer, int]:
        """Return `layer` over what it extends and within what tightens it, and its depth."""
        beside = os.path.dirname(source.path)
        parents, depth = [], 1
        # by name, so that the order in the file decides nothing, not even which error is seen
        for name, place in sorted(layer.get("extends", _NONE)[0]):
            parent = find_policy(name, beside=beside, asked=f"{place}: ")
            longer = (*chain, parent)
            _check_circle(longer, place)
            above, below = self._load(parent, longer)
            depth = max(depth, below + 1)
            if max(depth, len(longer)) > _DEPTH_MAX:
                raise _too_deep(longer, place)
            parents.append(above)
        asked = [
            (find_policy(name, beside=beside, asked=f"{place}: "), place)
            for name, place in layer.get("tighten", _NONE)[0]
        ]
        return self.tighten(inherit(parents, layer), asked), depth

    def tighten(self, base: Layer, sources: list[tuple[Source, str]]) -> Layer:
        """Return `base` within the layers of `sources`.

        Errors: PolicyError(policy.widening) with the place, unless the layer was merely found.
        """
        if not sources:
            return base
        from sandbox.policy.meet import tighten_all  # most policies have no layers

        layers = tuple(self._restriction(source, place) for source, place in sources)
        are_found = tuple(source.kind == "found" for source, _ in sources)
        result, excess = tighten_all(base, layers, are_found)
        for (source, _), beyond in zip(sources, excess, strict=True):
            if beyond and source.kind != "found":
                raise _widening(beyond)
            self.notes += [f"{item.text()}; what is more has no effect" for item in beyond]
        return result

    def _restriction(self, source: Source, asked: str) -> Layer:
        parsed = read_policy_file(source)
        self.files.setdefault(source.path, parsed.sha256)
        layer = read_layer(source.label, parsed)
        for key in ("extends", "tighten", "remove"):
            if key in layer:
                raise PolicyError(
                    f"{layer[key][-1]}: {key} stands in a layer that may only tighten"
                    + (f" (named at {asked})" if asked else ""),
                    hint=f"remove {key} from it, or name the file by --policy or extends",
                    code="policy.conflict",
                    key=key,
                )
        return layer


def _widening(beyond: tuple[Excess, ...]) -> PolicyError:
    first = beyond[0]
    more = f" (and {len(beyond) - 1} more)" if len(beyond) > 1 else ""
    return PolicyError(
        first.text() + more,
        hint="a layer that tightens may only restrict; what should give more belongs in a policy",
        code="policy.widening",
        key=first.key,
        places=[item.place for item in beyond],
    )


def _check_circle(chain: tuple[Source, ...], place: str) -> None:
    real = [observe.realpath(source.path) for source in chain]
    if real[-1] in real[:-1]:
        names = " → ".join(source.name for source in chain)
        raise PolicyError(
            f"{place}: extends goes in a circle: {names}",
            hint="a policy cannot be built on itself",
            code="policy.conflict",
        )


def _too_deep(chain: tuple[Source, ...], place: str) -> PolicyError:
    names = " → ".join(source.name for source in chain)
    return PolicyError(
        f"{place}: extends is more than {_DEPTH_MAX} policies deep: {names}",
        hint="extend a policy nearer to the root of the chain",
        code="policy.conflict",
    )
