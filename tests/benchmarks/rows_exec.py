"""`sandbox exec` from the plan cache against bubblewrap with the same walls."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.bubblewrap import Bubblewrap
from benchmarks.measure import Bound, RunError, Series, read_text, spawn_ms
from benchmarks.place import Place
from sandbox.policy.compose import Flag

TIMEOUT_S = 60
WARM_TRIES = 20
NO_WAIT = ("tiny",)  # policies without wait4(2)
STRICT, QUIET = "strict", "strict, no recording"


class Exec:
    """Everything that is paired: policies × directories × programs."""

    def __init__(self, place: Place, env: Mapping[str, str], rng: random.Random) -> None:
        self.place, self.env, self.rng = place, dict(env), rng
        self.policies = {
            STRICT: "strict",
            QUIET: place.quiet,
            "default": "default",
            "tiny": "tiny",
        }
        self.flag = Flag("ro", str(place.bin), f"--ro {place.bin}")
        self._peers: dict[tuple[str, str], Bubblewrap] = {}
        self._choice: dict[str, list[str]] = {}

    def peer(self, policy: str, directory: str) -> Bubblewrap:
        """Return bubblewrap's side of a policy in a directory."""
        key = (policy, directory)
        if key not in self._peers:
            cwd = self.place.directories()[directory]
            self._peers[key] = Bubblewrap(
                self.policies[policy], (self.flag,), cwd, has_init=policy not in NO_WAIT
            )
        return self._peers[key]

    def ours(self, policy: str, argv: list[str], launcher: Path | None = None) -> list[str]:
        """Return our command line."""
        head = [str(launcher or self.place.sandbox), "exec", "--policy", self.policies[policy]]
        return [*head, "--ro", str(self.place.bin), "--", *argv]

    def warm(self) -> None:
        """Fill the plan cache, until the launcher runs from it without Python.

        A policy file has to be of some age before an entry rests on it.
        """
        for policy in self.policies:
            for cwd in self.place.directories().values():
                for attempt in range(WARM_TRIES):
                    self._try(self.ours(policy, ["/bin/true"]), cwd)
                    bare = self.ours(policy, ["/bin/true"], self.place.bare)
                    is_last = attempt == WARM_TRIES - 1
                    if not self._try(bare, cwd, must_run=is_last):
                        break
                    time.sleep(0.5)

    def _try(self, argv: list[str], cwd: str, *, must_run: bool = True) -> bool:
        """Run; return whether it failed. Errors: RunError where it must not fail."""
        done = subprocess.run(
            argv, cwd=cwd, env=self.env, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode and must_run:
            text = done.stderr.decode(errors="replace")
            raise RunError(f"{' '.join(argv)} in {cwd}: exit {done.returncode}\n{text}")
        return done.returncode != 0

    def choice(self, policy: str) -> list[str]:
        """Return the programs that run under `policy` on both sides."""
        if policy not in self._choice:
            os.chdir(self.place.directories()["empty"])
            self._choice[policy] = [
                name
                for name, argv in sorted(self.place.programs().items())
                if self._runs(policy, argv)
            ]
        return self._choice[policy]

    def _runs(self, policy: str, argv: list[str]) -> bool:
        peer = self.peer(policy, "empty")
        peer.rewind()
        try:
            spawn_ms(self.ours(policy, argv), self.env, self.place.log)
            spawn_ms(peer.command(argv), self.env, self.place.log, peer.fds)
        except RunError:
            return False
        return True

    def pair(self, series: Series, policy: str) -> None:
        """Run one program in one directory on both sides, in either order."""
        directory, cwd = self.rng.choice(sorted(self.place.directories().items()))
        argv = self.place.programs()[self.rng.choice(self.choice(policy))]
        peer = self.peer(policy, directory)
        os.chdir(cwd)
        times = {}
        for side in self.rng.sample(("ours", "peer"), 2):
            peer.rewind()
            if side == "ours":
                times[side] = spawn_ms(self.ours(policy, argv), self.env, self.place.log)
            else:
                times[side] = spawn_ms(peer.command(argv), self.env, self.place.log, peer.fds)
        series.add(times["ours"], times["peer"])


def measure_exec(ctx: Exec, rounds: int) -> list[Series]:
    """Return a series for each policy."""
    bounds = {STRICT: Bound("ratio", 0.65), QUIET: Bound("ratio", 0.55)}
    found = {
        policy: Series(
            f"sandbox exec, {policy}",
            "bubblewrap, same walls",
            bound=bounds.get(policy),
            note="from the plan cache; whole process",
        )
        for policy in ctx.policies
    }
    for policy, series in found.items():  # once, not counted: files come into the page cache
        ctx.pair(Series("warm", ""), policy)
        left_out = sorted(set(ctx.place.programs()) - set(ctx.choice(policy)))
        series.note += "; random program and directory"
        if left_out:
            series.note += f"; does not run there: {', '.join(left_out)}"
    for _round in range(rounds):
        for policy in ctx.rng.sample(sorted(found), len(found)):
            ctx.pair(found[policy], policy)
    return list(found.values())


def measure_misses(ctx: Exec, rounds: int) -> list[Series]:
    """Return the cost of a run that has to be prepared: forgotten, or its policy changed."""
    os.chdir(ctx.place.directories()["empty"])
    plans = Path(ctx.env["XDG_CACHE_HOME"], "sandbox", "plans")
    policy = ctx.place.base / "changing.toml"
    head = 'schema = 1\nextends = ["strict"]\nsummary = "one that changes"\n'
    bound = Bound("median", 100.0)
    forgotten = Series("cache miss: the entry is gone", "", bound=bound)
    limit = Series("cache miss: a limit changed", "", bound=bound)
    calls = Series("cache miss: a filter to compile", "", note="first use of these calls ever")
    argv = [str(ctx.place.sandbox), "exec", "--policy"]
    for number in range(-1, rounds):
        shutil.rmtree(plans, ignore_errors=True)
        times = [spawn_ms([*argv, "strict", "/bin/true"], ctx.env, ctx.place.log)]
        policy.write_text(f"{head}[limits]\nopen_files = {200 + number}\n", encoding="utf-8")
        times.append(spawn_ms([*argv, str(policy), "/bin/true"], ctx.env, ctx.place.log))
        rule = f'[syscalls.rules.bench]\nnames = ["kcmp"]\nwhen = "arg0 == {0x100 + number}"\n'
        policy.write_text(f'{head}{rule}action = "errno:EPERM"\nwhy = "x"\n', encoding="utf-8")
        try:
            times.append(spawn_ms([*argv, str(policy), "/bin/true"], ctx.env, ctx.place.log))
        except RunError:
            calls.note = read_text(ctx.place.log)
        for series, value in zip((forgotten, limit, calls), times, strict=False):
            if number >= 0:
                series.ours.append(value)
    return [forgotten, limit, calls]
