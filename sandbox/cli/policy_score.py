"""`sandbox policy score`."""

from __future__ import annotations

from sandbox.cli.policy import EXIT_NO, arch_of, show_json
from sandbox.cli.policy_load import found_in_tree, load, note_tree
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.cli.options import Parsed
    from sandbox.policy.score import Score

_CAVEAT = "by what each record declares; no proof, and nothing about bugs in no list"


def run_score(parsed: Parsed) -> int:
    """Print how many known kernel bugs are out of reach; 1 if fewer than --at-least asks for."""
    from sandbox.policy.score import LAYERS, score, score_without
    from sandbox.policy.score_data import read_bug_lists

    path = parsed.last("data")
    if path is None:
        raise UsageError(
            "score needs the list of bugs: --data FILE",
            hint="sandbox-policy(1) has the form of the file",
            code="usage.option",
        )
    lists = read_bug_lists(path)
    least = _least(parsed, tuple(one.name for one in lists))
    note_tree(parsed)
    policy = load(parsed.rest[0], parsed)
    arch = arch_of(parsed)
    scores = score(policy, lists, arch)
    layers = {layer: score_without(layer, policy, lists, arch) for layer in LAYERS}
    is_enough = all(one.out_of_reach >= least.get(one.name, 0) for one in scores)
    if parsed.has("json"):
        tree = found_in_tree(parsed)
        _show_json(policy.name, scores, layers, is_enough=is_enough, tree=tree)
    else:
        _show_text(policy.name, scores, layers, is_full=parsed.has("all"))
    return 0 if is_enough else EXIT_NO


def _least(parsed: Parsed, names: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for given in parsed.options:
        if given.name != "at-least":
            continue
        name, equals, number = given.value.partition("=")
        if name not in names or not equals or not (number.isascii() and number.isdigit()):
            raise UsageError(
                f"--at-least {quote(given.value)}: expected LIST=N",
                hint=f"lists of this file: {', '.join(map(escape, names))}",
                code="usage.option",
            )
        found[name] = int(number[:9])
    return found


def _show_json(
    name: str,
    scores: tuple[Score, ...],
    layers: dict[str, tuple[Score, ...]],
    *,
    is_enough: bool,
    tree: list[str],
) -> None:
    lists = {}
    for index, one in enumerate(scores):
        lists[one.name] = {
            "bugs": len(one.verdicts),
            "out_of_reach": one.out_of_reach,
            "declared": one.count("declared"),
            "conditional": one.count("conditional"),
            "reachable": one.count("reachable"),
            "without": {layer: found[index].out_of_reach for layer, found in layers.items()},
            "verdicts": [
                {"cve": row.cve, "state": row.state, "by": row.by} for row in one.verdicts
            ],
        }
    head = {"policy": name, "tree": tree, "enough": is_enough, "means": _CAVEAT}
    show_json({**head, "lists": lists})


def _show_text(
    name: str,
    scores: tuple[Score, ...],
    layers: dict[str, tuple[Score, ...]],
    *,
    is_full: bool,
) -> None:
    lines = [f"{escape(name)}: known kernel bugs out of reach, {_CAVEAT}", ""]
    width = max(len(one.name) for one in scores)
    for one in scores:
        parts = f"{one.count('declared')} declared, {one.count('conditional')} conditional"
        total = f"{one.out_of_reach} of {len(one.verdicts)}"
        lines.append(f"  {escape(one.name):<{width}}  {total:<9} ({parts})")
    lines += ["", "  with one layer off" + "".join(f"  {escape(one.name):>16}" for one in scores)]
    for layer, found in layers.items():
        row = "".join(f"  {one.out_of_reach:>16}" for one in found)
        lines.append(f"    {layer:<18}{row[2:]}")
    for one in scores:
        rows = [row for row in one.verdicts if is_full or row.state == "reachable"]
        if rows:
            lines += ["", f"  {escape(one.name)}:"]
        lines += [f"    {escape(row.cve):<15} {row.state:<12} {escape(row.by)}" for row in rows]
    show("\n".join(lines) + "\n")
