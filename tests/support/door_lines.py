"""Command lines that both doors have to answer alike: chosen ones, and a generator of more."""

from __future__ import annotations

import random

from support.doors import Line

_S = ("exec", "--policy", "strict")
_CLOSED = 'exec "$@" '
# the signal comes when the command is known to run
_SIGNALLED = (
    '"$@" >out & until [ -s out ] || ! kill -0 $!; do sleep 0.05; done 2>/dev/null;'
    " kill -{} $!; wait $!; exit $?"
)
# nobody reads standard error any more when there is something to say
_UNHEARD = '{ "$@"; echo $? >code; } 2>&1 >/dev/null | true; sleep 1; cat code'
_SLEEPS = (*_S, "sh", "-c", "echo up; exec sleep 20")
_NO_LOCALE = {"LC_X": "1", "TERM": "dumb"}

CHOSEN = (
    # how a command ends
    Line((*_S, "true")),
    Line((*_S, "false")),
    Line((*_S, "--", "sh", "-c", "exit 125")),
    Line((*_S, "sh", "-c", "exit 42")),
    Line((*_S, "sh", "-c", "kill -TERM $$")),
    Line((*_S, "sh", "-c", "kill -KILL $$")),
    Line((*_S, "sh", "-c", "kill -SEGV $$")),
    Line((*_S, "sh", "-c", "kill -SYS $$")),
    Line((*_S, "sh", "-c", "kill -XCPU $$")),
    Line((*_S, "sh", "-c", "kill -XFSZ $$")),
    Line((*_S, "--timeout", "300ms", "sleep", "20")),
    Line((*_S, "--timeout", "300ms", "-q", "sleep", "20")),
    Line((*_S, "--timeout=300ms", "sh", "-c", "trap 'exit 3' TERM; sleep 20 & wait")),
    Line((*_S, "--limit", "output=10K", "yes")),
    Line((*_S, "--limit", "file_size=4K", "sh", "-c", "yes | head -c 100000 >big; echo $?")),
    Line((*_S, "--limit", "memory=40M", "--", "tail", "-c", "300M", "/dev/zero")),
    Line(_SLEEPS, script=_SIGNALLED.format("TERM")),
    Line(_SLEEPS, script=_SIGNALLED.format("INT")),
    Line(_SLEEPS, script=_SIGNALLED.format("HUP")),
    # what the command gets
    Line((*_S, "cat"), stdin=b"input\n" * 1000),
    Line((*_S, "sh", "-c", "echo out; echo err >&2")),
    Line((*_S, "env")),
    Line((*_S, "env"), env=_NO_LOCALE),
    Line((*_S, "env"), env={"LANG": "C.UTF-8", "LC_ALL": "C", "TZ": "UTC"}),
    Line((*_S, "--env", "LC_CTYPE", "env")),
    Line((*_S, "--env", "A=1", "--env", "B", "--env", "C", "env"), env={"B": "two", "C": ""}),
    Line((*_S, "--env", "PATH=/usr/bin", "env")),
    Line((*_S, "--env", "HOME", "env"), env={"HOME": "/nonexistent"}),
    Line((*_S, "ls"), env={"PATH": "sub::/bin"}),
    Line((*_S, "ls"), env={"PATH": ""}),
    Line((*_S, "script"), env={"PATH": ".:/usr/bin"}),
    Line((*_S, "pwd")),
    Line((*_S, "sh", "-c", "umask; ulimit -n; id -u; hostname")),
    Line((*_S, "sh", "-c", "ls /proc/self/fd | wc -l")),
    Line((*_S, "echo", b"\xff\xfe", "é", "")),
    Line((*_S, "printf", "%s|", *("word" * 40 for _ in range(500)))),
    Line((*_S, "sh", "-c", "cat file; echo more >>file; cat file")),
    Line(("exec", "sh", "-c", "echo more >>file; cat file; ls -A")),
    Line(("exec", "--policy", "tiny", "/bin/true")),
    Line(("exec", "--policy", "default", "--", "./script", "a b", "")),
    # options
    Line((*_S, "--ro", "/etc/hostname", "--", "cat", "/etc/hostname")),
    Line((*_S, "--rw", ".", "sh", "-c", "echo x >new; ls")),
    Line((*_S, "--tmpfs", "/scratch", "ls", "-a", "/scratch")),
    Line((*_S, "--bind", "sub:/data", "ls", "-a", "/data")),
    Line((*_S, "--overlay", "/srv", "ls", "/srv")),
    Line((*_S, "--hide", "/usr/share", "ls", "-a", "/usr/share")),
    Line((*_S, "--hostname", "box", "hostname")),
    Line((*_S, "--chdir", "/", "pwd")),
    Line((*_S, "--uid", "7", "id", "-u")),
    Line((*_S, "--net", "host", "ls", "/sys/class/net")),
    Line((*_S, "--allow-syscall", "ptrace", "true")),
    Line((*_S, "--deny-syscall", "mkdirat,mkdir", "mkdir", "d")),
    Line((*_S, "--deny-syscall", "mkdir", "--deny-syscall", "mkdirat", "mkdir", "d")),
    Line((*_S, "--tighten", "tight.toml", "true")),
    Line(("exec", "--policy", "strict", "--policy", "offline", "true")),
    # refused calls
    Line((*_S, "unshare", "-U", "true")),
    Line((*_S, "-q", "unshare", "-U", "true")),
    Line((*_S, "sh", "-c", "unshare -U true; exit 0")),
    Line((*_S, "--deny-syscall=mkdir", "--deny-syscall", "mkdirat", "--", "mkdir", "d", "e")),
    Line((*_S, "--result", "result.json", "unshare", "-U", "true")),
    # what Python does
    Line((*_S, "--json", "echo", "hi")),
    Line((*_S, "--result", "result.json", "sh", "-c", "exit 3")),
    Line((*_S, "--result=result.json", "--timeout", "200ms", "sleep", "9")),
    Line((*_S, "--result", "result.json", "nonexistent")),
    Line((*_S, "--explain")),
    Line((*_S, "--explain", "--json")),
    Line(("exec", "--help")),
    Line(("exec", "-h")),
    Line(("--help",)),
    Line(("--version",)),
    Line(()),
    Line(("policy", "list")),
    Line(("completion", "bash")),
    # errors
    Line(("nonsense",)),
    Line(("exec",)),
    Line(("exec", "--")),
    Line(("exec", "--nonsense", "true")),
    Line(("exec", "--policy")),
    Line(("exec", "--policy", "nonsense", "true")),
    Line(("exec", "--policy=", "true")),
    Line(("exec", "--quiet=1", "true")),
    Line((*_S, "--timeout", "soon", "true")),
    Line((*_S, "--limit", "memory", "true")),
    Line((*_S, "--ro", "/nonexistent/path", "true")),
    Line((*_S, "nonexistent-command")),
    Line((*_S, "./nonexistent")),
    Line((*_S, "./plain")),
    Line((*_S, "/")),
    Line((*_S, "")),
    Line((*_S, "--", "-x")),
    # streams
    Line((*_S, "cat"), script=_CLOSED + "<&-"),
    Line((*_S, "echo", "lost"), script=_CLOSED + ">&-"),
    Line((*_S, "sh", "-c", "echo out; echo err >&2"), script=_CLOSED + "2>&-"),
    Line((*_S, "-q", "cat"), script=_CLOSED + "<&- 2>&-"),
    Line((*_S, "echo", "hi"), script=_CLOSED + ">/dev/full"),
    Line((*_S, "yes"), script='"$@" | head -n 2'),
    Line((*_S, "--timeout", "300ms", "sleep", "20"), script=_UNHEARD),
    Line((*_S, "sh", "-c", "ls /proc/self/fd"), script=_CLOSED + "5<file 7<file"),
)

_POLICIES = ((), ("--policy", "strict"), ("--policy=strict",), ("--policy", "tiny"))
_OPTIONS = (
    ("-q",),
    ("--quiet",),
    ("--ro", "/etc/hostname"),
    ("--ro=/etc/os-release",),
    ("--tmpfs", "/scratch"),
    ("--hide", "/usr/share"),
    ("--env", "A"),
    ("--env", "A=x"),
    ("--env=LC_CTYPE",),
    ("--hostname", "box"),
    ("--chdir", "/"),
    ("--timeout", "20s"),
    ("--limit", "pids=40"),
    ("--limit", "output=1M"),
    ("--net", "none"),
    ("--deny-syscall", "ptrace"),
    ("--bind", "sub:/data"),
)
_ODD_OPTIONS = (
    ("--json",),
    ("--result", "result.json"),
    ("--net", "no"),
    ("--env", "=x"),
    ("--uid", "-1"),
    ("--chdir",),
    ("--unknown",),
    ("-x",),
    ("--limit", "pids"),
)
_COMMANDS: tuple[tuple[str | bytes, ...], ...] = (
    ("true",),
    ("false",),
    ("env",),
    ("pwd",),
    ("id",),
    ("cat",),
    ("cat", "file", "missing"),
    ("ls", "-A"),
    ("ls", "/"),
    ("echo", "a b", "", "$HOME"),
    ("echo", b"\x80\xff\n"),
    ("./script", "x"),
    ("sub/none",),
    ("nonexistent",),
    ("./plain",),
    ("printf", "%s\\n", "-q", "--json"),
    ("sh", "-c", "exit 9"),
    ("sh", "-c", "kill -9 $$"),
    ("sh", "-c", "kill -USR1 $$"),
    ("sh", "-c", "echo err >&2; exit 1"),
    ("sh", "-c", 'echo "$A" "$#" "$PATH"', "sh", "1"),
    ("sh", "-c", "echo x >written; cat written"),
    ("sh", "-c", "mount -t tmpfs x /mnt"),
    ("test", "-t", "0"),
    ("hostname",),
)
_VARIABLES: tuple[dict[str, str], ...] = (
    {},
    {"A": "one"},
    {"A": ""},
    {"LANG": "C.UTF-8"},
    {"LC_CTYPE": "C.UTF-8", "LANG": "de_DE.UTF-8"},
    {"PATH": ".:/usr/bin:/bin"},
    {"PATH": "/nonexistent"},
    {"TERM": "xterm", "TMPDIR": "/var/tmp"},
    {"XDG_CONFIG_HOME": "relative"},
)
_INPUTS = (b"", b"line\n", b"\0\xff" * 5000)


class Generator:
    """Makes lines from a source of randomness; the same source makes the same lines."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def line(self) -> Line:
        """Return the next line: mostly sound, sometimes with an error in it."""
        pick = self._source.choice
        words: list[str | bytes] = ["exec", *pick(_POLICIES)]
        for _ in range(self._source.randrange(3)):
            words += pick(_OPTIONS)
        if self._source.random() < 0.1:
            words += pick(_ODD_OPTIONS)
        if self._source.random() < 0.4:
            words.append("--")
        if self._source.random() < 0.97:
            words += pick(_COMMANDS)
        return Line(tuple(words), stdin=pick(_INPUTS), env=pick(_VARIABLES))
