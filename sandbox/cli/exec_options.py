"""The options of `sandbox exec`: one table for the parser, the help and the man page's test."""

from __future__ import annotations

from sandbox.cli.options import Option
from sandbox.log import LEVELS

_FLAGS = (
    "ro rw tmpfs bind overlay hide env net hostname chdir uid rootfs timeout limit"
    " allow-syscall deny-syscall"
)
FLAG_KEYS = frozenset(_FLAGS.split())


def _check_level(value: str) -> str | None:
    return None if value in LEVELS else f"levels are {', '.join(LEVELS)}"


def _check_net(value: str) -> str | None:
    return None if value in ("none", "host") else "modes are none and host"


def _check_pair(value: str) -> str | None:
    source, colon, target = value.partition(":")
    return None if colon and source and target else "the form is SRC:DST"


def _check_limit(value: str) -> str | None:
    name, equals, amount = value.partition("=")
    return None if equals and name and amount else "the form is NAME=VALUE"


def _check_env(value: str) -> str | None:
    return "the name is empty" if value.startswith("=") else None


def _check_uid(value: str) -> str | None:
    is_id = value.isascii() and value.isdigit() and len(value) <= 10 and int(value) < 2**32 - 1
    return None if is_id else "a user id is a number below 4294967295"


OPTIONS = (
    Option("policy", "policy by name, or path with a slash (default: default)", "P", is_list=True),
    Option("tighten", "restrict further by the layer in FILE", "FILE", is_list=True),
    Option("ro", "show PATH read-only", "PATH", is_list=True),
    Option("rw", "show PATH, writes reach it", "PATH", is_list=True),
    Option("tmpfs", "an empty PATH in memory", "PATH", is_list=True),
    Option("bind", "show SRC at DST, writes reach it", "SRC:DST", is_list=True, check=_check_pair),
    Option("overlay", "show PATH, writes are discarded", "PATH", is_list=True),
    Option("hide", "show nothing at PATH", "PATH", is_list=True),
    Option("env", "pass variable N from here, or set it to V", "N[=V]", True, check=_check_env),
    Option("net", "network: none or host", "MODE", check=_check_net),
    Option("hostname", "host name inside", "NAME"),
    Option("chdir", "start in DIR, a path inside", "DIR"),
    Option("uid", "user id inside", "N", check=_check_uid),
    Option("rootfs", "run on DIR as the root (policies image, image-build)", "DIR"),
    Option("timeout", "end the command after TIME, e.g. 10s, 2m", "TIME"),
    Option("limit", "set limit N to V, e.g. memory=1G, pids=64", "N=V", True, check=_check_limit),
    Option("allow-syscall", "allow a system call or @group", "NAME", is_list=True),
    Option("deny-syscall", "deny a system call or @group", "NAME", is_list=True),
    Option("explain", "say what would hold the command; run nothing"),
    Option("json", "capture the output; print the result as JSON"),
    Option("result", "write the result as JSON to FILE or fd:N", "FILE"),
    Option("quiet", "no notes on stderr", short="q"),
    Option("log-level", f"events on stderr: {', '.join(LEVELS)}", "LEVEL", check=_check_level),
    Option("log-json", "events as JSON, also on a terminal (level info)"),
    Option("help", "show this help", short="h"),
)

EXAMPLES = """\
usage: sandbox exec [OPTION]... [--] COMMAND [ARGUMENT]...

Run a command behind walls. Options stop at the command; what follows is its own.

  sandbox exec make test                    working directory writable, no network
  sandbox exec --policy strict ./unknown    writes discarded, no home, no network
  sandbox exec --ro ~/data ./report.py      one more directory, read-only
  sandbox exec --net host --env TOKEN curl https://example.org
  sandbox exec --limit memory=1G --timeout 2m ./job
  sandbox exec --explain --policy strict ls   what holds it; nothing runs
  sandbox exec --result run.json ./job      how it ended, as JSON

Exit status: the command's own; 128+N on signal N; 124 timed out; 125 the sandbox
failed; 126 not executable; 127 not found.

"""
