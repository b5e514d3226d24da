"""TOML → Policy: names and files are found, keys checked against the schema, origins kept.

Errors carry file, line and key. Nothing is ignored: a key that this version cannot enforce is
refused, because a policy that is half understood is weaker than it reads.
"""

from __future__ import annotations

import os

from sandbox.errors import PolicyError
from sandbox.policy.compose import merge
from sandbox.policy.find import Source, find_policy, parse, read_policy_file
from sandbox.policy.read import read_layer
from sandbox.policy.resolve import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.policy.reader import Layer

_DEPTH_MAX = 8


def load_policy(name_or_path: str) -> Policy:
    """Return the resolved policy of that name, or of the file if there is a slash in it.

    Shape:  names are looked up among the shipped policies, /etc/sandbox/policies and
            $XDG_CONFIG_HOME/sandbox/policies; a name in two of them is an error, not a shadow.
    Errors: PolicyError .not-found .untrusted .syntax .unknown-key .value .conflict, with the place.
    """
    source = find_policy(name_or_path)
    parsed = read_policy_file(source)
    layer = read_layer(source.label, parsed)
    return _with_parents(source, layer, parsed.sha256)


def parse_policy(body: bytes, name: str, *, path: str = "") -> Policy:
    """Return the resolved policy that the TOML text `body` states; places read `name.toml:line`.

    Errors: as `load_policy`.
    """
    label = path or f"{name}.toml"
    parsed = parse(body, label)
    source = Source(name, path or label, label, "named")
    return _with_parents(source, read_layer(label, parsed), parsed.sha256)


def _with_parents(source: Source, layer: Layer, sha256: str) -> Policy:
    """Merge `layer` over the chain of policies that it extends."""
    files = [(source.path, sha256)]
    chain = [source]
    layers = [layer]
    while (extends := layers[-1].pop("extends", None)) is not None and extends[0]:
        parent_name, place = extends[0], extends[1]
        parent = find_policy(
            parent_name, beside=os.path.dirname(chain[-1].path), asked=f"{place}: "
        )
        _check_chain([*chain, parent], place)
        parsed = read_policy_file(parent)
        chain.append(parent)
        files.append((parent.path, parsed.sha256))
        layers.append(read_layer(parent.label, parsed))
    merged = layers.pop()
    merged.pop("extends", None)
    while layers:
        merged.pop("summary", None)  # it describes the parent alone
        merged = merge(merged, layers.pop())
    return resolve(merged, source, tuple(files))


def _check_chain(chain: list[Source], place: str) -> None:
    real = [os.path.realpath(source.path) for source in chain]
    names = " → ".join(source.name for source in chain)
    if real[-1] in real[:-1]:
        raise PolicyError(
            f"{place}: extends goes in a circle: {names}",
            hint="a policy cannot be built on itself",
            code="policy.conflict",
        )
    if len(chain) > _DEPTH_MAX:
        raise PolicyError(
            f"{place}: extends is more than {_DEPTH_MAX} policies deep: {names}",
            hint="extend a policy nearer to the root of the chain",
            code="policy.conflict",
        )
