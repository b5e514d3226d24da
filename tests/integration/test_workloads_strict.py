"""Ordinary programs behave under `strict` as they do outside.

Each runs twice over the same input: plainly and behind the walls, both as the ordinary user with
the same declared environment. Output and exit code have to be equal, byte for byte; what differs
by design (ids and their names, the environment, the host name) is what no case asks for.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.need import need_program, need_user_namespaces
from support.user import User

TIMEOUT_S = 100
PYTHON = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
SET_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

TEXT = "".join(f"{n} line {n * n} {'odd' if n % 2 else 'even'}\n" for n in range(200))

# One script each; `%` never appears unquoted in a file name, so that the texts stay readable.
SHELL_CASES = {
    "sh-pipes": "printf 'b\\na\\nc\\n' | sort | { read first; echo got $first; } ; (exit 7)",
    "sh-here-document": "cat <<END\nvalue: $((6 * 7))\nEND",
    "sh-traps-and-jobs": "trap 'echo bye' EXIT; sleep 0.05 & wait $!; echo waited $?; kill -0 $$",
    "sh-signal-status": "sh -c 'kill -TERM $$'; echo status $?",
    "coreutils-text": "cut -d' ' -f2,3 data | uniq | head -n 20 | tail -n 5 | tr a-z A-Z"
    " | nl | fold -w 9",
    "coreutils-sums": "sha256sum data; md5sum data; cksum data; wc data; base64 data | head -n 3",
    "coreutils-files": "mkdir -p d/e && cp data d/e/x && mv d/e/x d/y && ln -s y d/l"
    " && readlink d/l && ln d/y d/h && stat -c '%h %s %F %a' d/y d/l && ls -1 d"
    " && rm -r d && test ! -e d",
    "coreutils-numbers": "seq 1 20 | shuf --random-source=data | sort -n | paste -sd+ ;"
    " factor 360360",
    "coreutils-time": "date -u -d '2001-02-03 04:05:06' +%s; touch -d '2001-02-03 04:05:06Z' t"
    " && stat -c %Y t",
    "coreutils-split": "split -l 50 data part. && ls part.* && cat part.* | cmp - data"
    " && comm data data | wc -l && join data data | wc -l",
    "coreutils-truncate": "truncate -s 4096 sparse && stat -c '%s' sparse && dd if=/dev/zero of=z"
    " bs=1k count=8 status=none && cmp sparse z; od -An -tx1 -N4 z",
    "findutils-find": "mkdir -p a/b/c && touch a/1 a/b/2 a/b/c/3 && find a -type f -name '[0-9]'"
    " | sort && find a -depth -delete && test ! -e a",
    "findutils-exec": "find . -name data -exec wc -l {} + ;"
    " find . -maxdepth 1 -type f -newer /usr | sort",
    "findutils-xargs": "seq 1 40 | xargs -n 5 -P 4 sh -c 'echo $#' sh | sort | uniq -c",
    "grep": "grep -c odd data; grep -nE '^1[0-9] ' data; grep -P '(\\d)\\1' data | tail -n 3;"
    " grep -rl even . | sort; grep -q absent data; echo $?",
    "sed": "sed -n '10,12p;$=' data; sed -E 's/([0-9]+) line ([0-9]+)/\\2 \\1/;20q' data;"
    " sed -i 's/line/LINE/' data && head -n 2 data",
    "awk": "awk '{s += $3; n[$4]++} END {print s; for (k in n) print k, n[k]}' data | sort;"
    ' awk \'BEGIN {"echo piped" | getline x; print x; system("exit 3")}\'',
    "tar-gzip": "tar -czf t.tgz --sort=name --mtime=@0 --owner=0 --group=0 data && tar -tzvf t.tgz"
    " | awk '{print $1, $3, $6}' && mkdir x && tar -xzf t.tgz -C x && cmp x/data data",
    "gzip": "gzip -k9n data && gzip -t data.gz && gzip -l data.gz && gzip -dc data.gz | cmp - data;"
    " gzip -d missing.gz 2>/dev/null; echo $?",
    "diff-patch": "sed 's/^5 .*/five/' data > new; diff -u --label a --label b data new; echo $?",
    "exit-codes": "true && false; echo $?; exit 42",
    "errors": "cat missing; mkdir d; cat d; cd missing; ls missing; rm missing; exit 4",
}


def outside(user: User, work_dir: Path, argv: list[str]) -> tuple[int, bytes, bytes]:
    """Return exit code, output and errors of `argv` without a sandbox."""
    done = user.run(argv, cwd=work_dir, env={**SET_ENV, "HOME": str(work_dir)}, timeout=TIMEOUT_S)
    return done.returncode, done.stdout, done.stderr


def inside(
    user: User, python: Path, work_dir: Path, argv: list[str], flags: tuple[str, ...] = ()
) -> tuple[int, bytes, bytes]:
    """Return exit code, output and errors of `argv` under `strict`."""
    flags = (*flags, "--env", f"HOME={work_dir}", "--env", f"LC_ALL={SET_ENV['LC_ALL']}")
    command: list[str | bytes | Path] = [
        python,
        "-I",
        "-m",
        "sandbox",
        "exec",
        "--policy",
        "strict",
        *flags,
        "--",
        *argv,
    ]
    done = user.run(command, cwd=work_dir, env=SET_ENV, timeout=TIMEOUT_S)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.fixture
def data(user: User, work_dir: Path) -> Path:
    """The working directory with the file `data` in it."""
    (work_dir / "data").write_text(TEXT, encoding="utf-8")
    user.own(work_dir)
    return work_dir


@pytest.mark.parametrize("case", SHELL_CASES)
def test_shell_tools_behave_as_outside(
    user: User, user_python: Path, data: Path, case: str
) -> None:
    """The shell and the tools of coreutils, findutils, grep, sed, awk, tar, gzip."""
    argv = ["/bin/sh", "-c", SHELL_CASES[case]]
    # First inside: its writes are discarded, so both start from the same files.
    found = inside(user, user_python, data, argv)
    assert outside(user, data, argv) == found


def test_writes_are_discarded(user: User, user_python: Path, data: Path) -> None:
    """What a command writes to its working directory is gone afterwards, and nothing else is."""
    script = "echo changed > data; mkdir new; rm -f other; cat data"
    found = inside(user, user_python, data, ["/bin/sh", "-c", script])
    assert (found, sorted(p.name for p in data.iterdir())) == ((0, b"changed\n", b""), ["data"])
    assert (data / "data").read_text(encoding="utf-8") == TEXT


PERL = """
use strict; use warnings; use List::Util qw(sum); use Digest::SHA qw(sha256_hex);
my @words = map { chr(97 + $_ % 26) x ($_ % 5 + 1) } 0 .. 99;
my %count; $count{length $_}++ for @words;
print join(",", map { "$_=$count{$_}" } sort keys %count), "\\n", sum(map { length } @words), "\\n";
open(my $in, "<", "data") or die $!; my @odd = grep { /odd$/ } <$in>; print scalar(@odd), "\\n";
my $pid = fork(); if (!$pid) { exit 5 } waitpid($pid, 0); print $? >> 8, "\\n";
print sha256_hex("sandbox"), "\\n"; print `echo from a shell`; exit 9;
"""


def test_perl_behaves_as_outside(user: User, user_python: Path, data: Path) -> None:
    """Modules, regular expressions, files, fork and backticks of Perl."""
    need_program("perl")
    argv = ["/usr/bin/perl", "-e", PERL]
    found = inside(user, user_python, data, argv)
    assert (found[0], found) == (9, outside(user, data, argv))


SQL = """
create table t(n integer primary key, v text); with recursive c(n) as (select 1 union all
select n + 1 from c where n < 2000) insert into t select n, hex(n * 7919 % 1009) from c;
create index i on t(v); select count(*), sum(n), max(v), group_concat(distinct length(v)) from t;
select v, count(*) from t group by v order by 2 desc, 1 limit 5; pragma integrity_check;
"""


def test_sqlite_in_memory_behaves_as_outside(user: User, user_python: Path, data: Path) -> None:
    """Tables, an index, aggregates and the integrity check of an in-memory database."""
    need_program("sqlite3")
    argv = ["/usr/bin/sqlite3", ":memory:", SQL]
    found = inside(user, user_python, data, argv)
    assert (found[0], found) == (0, outside(user, data, argv))


@pytest.mark.parametrize("digest", ["sha256", "sha512", "sha3-256", "blake2b512", "sha1"])
def test_openssl_digests_behave_as_outside(
    user: User, user_python: Path, data: Path, digest: str
) -> None:
    """openssl loads its providers and computes the same digest."""
    need_program("openssl")
    argv = ["/usr/bin/openssl", "dgst", f"-{digest}", "data"]
    found = inside(user, user_python, data, argv)
    assert (found[0], found) == (0, outside(user, data, argv))


# These ask for internet sockets, which `strict` does not have; the rest of the event loop's tests
# does not. test_workloads_default.py runs the whole module.
NEEDS_INET = (
    "test_connect_accepted_socket*",
    "test_create_connection*",
    "test_create_datagram_endpoint*",
    "test_create_server*",
    "test_create_ssl_connection",
    "test_create_unix_server_path_socket_error",
    "test_server_close",
    "test_ssl_connect_accepted_socket",
)


@pytest.mark.slow
@pytest.mark.time_limit(220)
@pytest.mark.parametrize(
    "module", ["test_json", "test_re", "test_zlib", "test_asyncio.test_events"]
)
def test_python_passes_its_own_tests(
    user: User, user_python: Path, work_dir: Path, module: str
) -> None:
    """The distribution's Python runs its own test modules with the result it has outside."""
    has_tests = user.run([PYTHON, "-I", "-c", f"import test.{module.partition('.')[0]}"])
    if has_tests.returncode != 0:
        pytest.skip(f"needs the test modules of {PYTHON}: libpython-testsuite is not installed")
    ignored = [word for name in NEEDS_INET for word in ("-i", name)] if "events" in module else []
    argv = [PYTHON, "-m", "test", "-q", "--tempdir", ".", *ignored, module]
    found = inside(user, user_python, work_dir, argv, ("--timeout", "90s"))
    expected = outside(user, work_dir, argv)
    assert (found[0], _verdict(found[1])) == (expected[0], _verdict(expected[1]))


def _verdict(output: bytes) -> list[str]:
    """Return the lines that say what happened, without times, seeds and counts of skips."""
    lines = output.decode(errors="replace").splitlines()
    kept = ("result:", "all ", "fail", "error", "test ")
    return [line for line in lines if line.lower().lstrip("= ").startswith(("tests ", *kept))]
