"""Prepares a request under recording and prints its facts; run under strace by a test.

The two absent paths mark where preparing begins and ends in the trace.
"""

import json
import os
import sys

import sandbox._core  # noqa: F401  # what every run imports is not part of preparing
from sandbox.cli.exec import _request
from sandbox.cli.exec_options import OPTIONS
from sandbox.cli.options import parse
from sandbox.host.observe import recording
from sandbox.run.execute import prepare
from sandbox.run.keep import obstacle

BEGIN, END = "/marks/begin", "/marks/end"

if __name__ == "__main__":
    request = _request(parse(tuple(sys.argv[1:]), OPTIONS, "exec"))
    os.path.lexists(BEGIN)
    with recording() as facts:
        prepared = prepare(request)
    os.path.lexists(END)
    rows = [[fact.kind.name, os.fsdecode(fact.path), fact.value] for fact in facts.listed()]
    sys.stdout.write(json.dumps({"obstacle": obstacle(prepared, facts), "facts": rows}))
