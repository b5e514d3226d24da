"""`sandbox policy explain` and `simulate`."""

from __future__ import annotations

import os

from sandbox.cli.policy import EXIT_NO, arch_of, show_json
from sandbox.cli.policy_load import found_in_tree, has_tree, imported_from, load, note_tree
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.cli.options import Parsed
    from sandbox.policy.denial import Explainer
    from sandbox.policy.judge import Call, Court, Judgement
    from sandbox.policy.model import Policy

_QUESTIONS = ("path", "host", "syscall")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def run_explain(parsed: Parsed) -> int:
    """Print a policy in words, or the answer to one question."""
    asked = [name for name in _QUESTIONS if parsed.has(name)]
    if len(asked) > 1:
        raise UsageError(
            "one question at a time: --path, --host or --syscall",
            hint="run it once for each",
            code="usage.option",
        )
    if asked == ["path"] and imported_from(parsed.rest[0])[0]:
        raise UsageError(
            f"{quote(parsed.rest[0])} says nothing of files",
            hint="--syscall asks about a profile of another tool",
            code="usage.option",
        )
    note_tree(parsed)
    policy = load(parsed.rest[0], parsed)
    if not asked:
        return _prose(parsed, policy)
    question = parsed.last(asked[0]) or ""
    if asked[0] == "path":
        return _path(parsed, question)
    if asked[0] == "host":
        return _host(parsed, policy, question)
    return _syscall(parsed, policy, question)


def _prose(parsed: Parsed, policy: Policy) -> int:
    from sandbox.cli.policy_show import policy_data
    from sandbox.policy.judge import open_court
    from sandbox.policy.prose import policy_prose

    sections = policy_prose(open_court(policy, arch_of(parsed)))
    if parsed.has("json"):
        sections_data = [{"about": head, "says": rows} for head, rows in sections]
        data = {"policy": policy_data(policy), "tree": found_in_tree(parsed)}
        show_json({**data, "sections": sections_data})
        return 0
    lines = [f"{escape(policy.name)}: {escape(policy.summary)}"]
    for head, rows in sections:
        lines += ["", f"{head}:", *(f"  {escape(row)}" for row in rows)]
    show("\n".join(lines) + "\n")
    return 0


def _path(parsed: Parsed, question: str) -> int:
    from sandbox.run.execute import Request, prepare
    from sandbox.run.look import look

    # As the shell does for a word of its own: `~` after an option is not expanded by every shell.
    path = os.path.abspath(os.path.expanduser(question))
    request = Request(
        argv=(),
        policy=parsed.rest[0],
        tighten=parsed.all("tighten"),
        has_tree=has_tree(parsed),
    )
    found = look(prepare(request), os.fsencode(path))
    exists = found.host is not None and os.path.lexists(found.host)
    if parsed.has("json"):
        show_json(
            {
                "path": path,
                "tree": found_in_tree(parsed),
                "inside": found.inside,
                "is": found.what,
                "rights": list(found.rights),
                "host": found.host,
                "exists": exists if found.host is not None else None,
                "origin": found.origin or None,
                "by_group": found.guard,
            }
        )
        return 0 if found.rights else EXIT_NO
    lines = [f"{escape(path)}: {escape(found.what)}"]
    if found.inside != path:
        lines.append(f"  inside it is {escape(found.inside)}")
    lines.append(f"  rights    {', '.join(found.rights) or 'none'}")
    if found.host is not None:
        state = "" if exists else " (absent on this host)"
        lines.append(f"  shows     {escape(found.host)}{state}")
    if found.origin:
        lines.append(f"  rule      {escape(found.origin)}")
    show("\n".join(lines) + "\n")
    return 0 if found.rights else EXIT_NO


def _host(parsed: Parsed, policy: Policy, question: str) -> int:
    from sandbox.policy.judge import answer, open_court
    from sandbox.policy.resolved import origin_below

    name = question.rpartition(":")[0] if question.count(":") == 1 else question.strip("[]")
    is_local = name in _LOCAL
    key = "network.loopback" if is_local and policy.network.mode != "host" else "network.mode"
    reason, origin = "", policy.origin(key)
    if policy.network.mode == "host":
        may, reason = True, "the network is the host's"
    elif is_local:
        may = policy.network.has_loopback
        reason = f"the sandbox's own loopback is {'up' if may else 'down'}"
    else:
        may, reason = False, "an own network without interfaces reaches nobody"
    court = open_court(policy, arch_of(parsed))
    families = [answer(court, "socket", (number, 1, 0, 0, 0, 0)) for number in (2, 10)]
    if may and all(action.kind != "allow" for action in families):
        may, key = False, "syscalls.socket_families"
        reason, origin = f"internet sockets answer {families[0]}", origin_below(policy, key)
    if parsed.has("json"):
        head = {"host": question, "tree": found_in_tree(parsed), "reached": may}
        show_json({**head, "why": reason, "key": key, "origin": origin})
    else:
        word = "can be reached" if may else "cannot be reached"
        show(f"{escape(question)} {word}: {reason}\n  rule      {key}   {escape(origin)}\n")
    return 0 if may else EXIT_NO


def _syscall(parsed: Parsed, policy: Policy, question: str) -> int:
    from sandbox.policy.denial import Explainer
    from sandbox.policy.judge import judge, open_court, parse_call

    court = open_court(policy, arch_of(parsed))
    call = parse_call(question, court.arch)
    judgement = judge(court, call)
    fix = _fix(Explainer(policy, court.arch), call, judgement)
    clauses = _clauses(court, call.name)
    if parsed.has("json"):
        data = {**_call_data(question, judgement, fix), "tree": found_in_tree(parsed)}
        show_json({**data, "conditions": clauses})
    else:
        show(_call_text(question, judgement, fix))
        for row in clauses:
            show(f"  if {row['rule']}: {row['action']}   {escape(row['when'])}\n")
    return 0 if judgement.action.kind == "allow" else EXIT_NO


def _clauses(court: Court, name: str) -> list[dict[str, str]]:
    """Return the conditional answers of a call, in the order in which they decide."""
    from sandbox.policy.call_sets import effective_rules

    verdict = court.verdicts.get(name)
    conditions = {rule.name: rule.when for rule in effective_rules(court.policy.syscalls)}
    families = ", ".join(sorted(court.policy.syscalls.socket_families)) or "no family"
    return [
        {
            "rule": clause.rule,
            "action": str(clause.action),
            "when": " ".join(conditions.get(clause.rule, f"the family is not {families}").split()),
        }
        for clause in (verdict.clauses if verdict else ())
    ]


def _fix(explainer: Explainer, call: Call, judgement: Judgement) -> tuple[str, str]:
    """Return what would let a refused call pass, and why it is refused; empty where it passes."""
    if judgement.action.kind == "allow":
        return "", judgement.why
    found = explainer.explain(call.number, call.arguments, judgement.action.errno)
    return found.fix or "none", found.why


def _call_data(text: str, judgement: Judgement, fix: tuple[str, str]) -> dict[str, Any]:
    return {
        "call": text,
        "verdict": str(judgement.action),
        "key": judgement.key,
        "origin": judgement.origin,
        "why": fix[1],
        "fix": None if fix[0] in ("", "none") else fix[0],
        "instructions": judgement.cost,
    }


def _call_text(text: str, judgement: Judgement, fix: tuple[str, str]) -> str:
    why = f"\n  why       {escape(' '.join(fix[1].split()))}" if fix[1] else ""
    if fix[0]:
        why += f"\n  fix       {escape(fix[0])}"
    return (
        f"{escape(text)}: {judgement.action}\n"
        f"  rule      {escape(judgement.key)}   {escape(judgement.origin)}{why}\n"
        f"  cost      {judgement.cost} instructions\n"
    )


def run_simulate(parsed: Parsed) -> int:
    """Print what the compiled filter answers to each call; 1 if one of them is refused."""
    from sandbox.policy.denial import Explainer
    from sandbox.policy.judge import judge, open_court, parse_call

    name, *texts = parsed.rest
    note_tree(parsed)
    policy = load(name, parsed)
    court = open_court(policy, arch_of(parsed))
    explainer = Explainer(policy, court.arch)
    found = []
    for text in texts:
        call = parse_call(text, court.arch)
        judgement = judge(court, call)
        found.append((text, judgement, _fix(explainer, call, judgement)))
    if parsed.has("json"):
        head = {"arch": court.arch, "tree": found_in_tree(parsed)}
        show_json({**head, "calls": [_call_data(*one) for one in found]})
    else:
        show("".join(_call_text(*one) for one in found))
    return 0 if all(one.action.kind == "allow" for _, one, _ in found) else EXIT_NO
