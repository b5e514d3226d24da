"""Calls of the Python API after the first: what was prepared is used again, while it holds."""

from __future__ import annotations

import pytest

from support.need import need_user_namespaces
from support.program import Program


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


CHANGES = """
import os
import pathlib
from sandbox.run import keep, reuse, supervisor_client

keep.SETTLED_NS = 0
starts = []
start = supervisor_client.start

def counted(job, fds):
    starts.append(1)
    return start(job, fds)

supervisor_client.start = counted
policy = pathlib.Path("own.toml")

def write(word):
    text = 'schema = 1\\nextends = ["strict"]\\n[env]\\nset = { WORD = "%s" }\\n'
    policy.write_text(text % word)

def run():
    starts.clear()
    result = sandbox.run(["sh", "-c", "echo $WORD"], policy="./own.toml", timeout=20)
    print(result.text.strip(), len(starts))

write("one")
run()
run()
is_late = all(kept.may_be_late for kept in reuse._kept.values())
write("another")
run()
run()
policy.write_text("schema = 1\\nno = 1\\n")
try:
    run()
except sandbox.PolicyError:
    print("refused", len(starts))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("nothing is left", is_late)
"""


def test_a_changed_policy_is_noticed_while_the_sandbox_is_made(program: Program) -> None:
    """What was started under the old text ran nothing: it is ended, and the new text counts."""
    lines = program(CHANGES).splitlines()
    # where control groups are delegated, a run changes them: it is looked at before
    is_late = lines[-1] == "nothing is left True"
    again = 2 if is_late else 1
    assert lines[:4] == ["one 1", "one 1", f"another {again}", "another 1"]
    assert lines[4] == f"refused {again - 1}"
    assert lines[5].startswith("nothing is left")


@pytest.mark.parametrize("script", ["exit 0", "exit 7", "kill -9 $$", "echo out; echo err >&2"])
def test_a_result_made_ahead_says_what_one_made_afterwards_says(
    script: str, program: Program
) -> None:
    """Also for a pool and a session; and it is equal to its copies."""
    lines = program(f"""
        import copy
        import pickle
        from sandbox.run import job, session

        def results():
            argv = ["sh", "-c", {script!r}]
            yield sandbox.run(argv, policy="strict", timeout=20)
            with sandbox.Pool("strict", size=1) as pool:
                yield pool.run(argv, timeout=20)
            with sandbox.Session("strict") as one:
                yield one.run(argv, timeout=20)
                yield one.run(argv, stdout=sandbox.DEVNULL, stderr=sandbox.DEVNULL)

        def content(result):
            assert copy.copy(result) == copy.deepcopy(result) == result
            assert pickle.loads(pickle.dumps(result)) == result
            data = result.to_data()
            for name in ("run_id", "started"):
                assert data.pop(name)
            for name in ("wall_ms", "user_ms", "sys_ms", "max_rss_bytes", "switches"):
                data["usage"].pop(name)
            data["usage"].pop("memory_peak_bytes")
            return data, result.stdout, result.stderr, result.args

        ahead = [content(result) for result in results()]
        job.completed = session.completed = lambda *_args: None
        print([content(result) for result in results()] == ahead)
    """)
    assert lines == "True\n"
