"""The play: start, show, kill, bring back, judge, clean up."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any, NoReturn

import click

from peercron import __version__
from peercron.cli.demo import printer
from peercron.cli.demo.lines import began, fire, time_of_day
from peercron.cli.demo.nodes import DemoNode, NodeEnded, ended_at_last, make_nodes
from peercron.cli.demo.verdict import Asked, Verdict
from peercron.cli.failures import FAILED, OK
from peercron.client import Connection
from peercron.clock import SystemClock
from peercron.core.limits import LEDGER_KEPT_PER_JOB
from peercron.times import format_instant, parse_instant_ms

START_S = 60.0
#: How long a killed leader stays away, at most.
AWAY_S = 8.0
#: How long runs that are under way at the end may take.
SETTLE_S = 20.0
TURN_S = 0.2
LOOK_S = 0.005
#: The single slot of the job with a fixed time lies this far ahead.
AT_AHEAD_MS = 6_000


@dataclass(frozen=True, slots=True)
class Takeover:
    """Who was killed, who leads since, and how long nobody did."""

    killed: str
    leader: str
    term: int
    after_ms: int


@dataclass(slots=True)
class Play:
    """One demo from start to end; `run` answers the exit code."""

    nodes: int
    for_s: float | None
    kill_at_s: float | None
    as_json: bool
    keep: bool
    clock: SystemClock = field(default_factory=SystemClock)
    cast: list[DemoNode] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)
    shown: set[tuple[str, int]] = field(default_factory=set)
    #: The killed leader, until it is started again.
    away: DemoNode | None = None
    line: Callable[..., None] = click.echo

    def run(self) -> int:
        self.line = printer(self.as_json)
        folder = Path(tempfile.mkdtemp(prefix="peercron-demo-"))
        self.cast = make_nodes(self.nodes, folder)
        try:
            with _term_is_ctrl_c(), ended_at_last(self.cast):
                return self._play(folder)
        except NodeEnded as error:
            self.line(f"peercron: {error}")
            return FAILED
        finally:
            if self.keep:
                self.line(f"data and logs are kept in {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)

    def _play(self, folder: Path) -> int:
        fate = f"kept in {folder}" if self.keep else f"in {folder}, deleted at the end"
        self.line(f"peercron {__version__} demo: {self.nodes} nodes on 127.0.0.1, data {fate}")
        began_s = self.clock.monotonic()
        for node in self.cast:
            node.start()
        self._wait(self._all_ready, START_S, "the nodes to be ready")
        self._introduce(self.clock.monotonic() - began_s)
        asked = self._sample_jobs()
        before = self._apply(asked)
        self._invite(asked)
        with contextlib.suppress(KeyboardInterrupt):
            self._show()
        self.line("ending: pausing the jobs, waiting for what still runs")
        verdict = self._judge(asked, before)
        return self._sum_up(verdict)

    # The opening.

    def _introduce(self, took_s: float) -> None:
        leader = self._status()["leader"]
        # Only the leader knows how the others are, right from the start.
        status = next(node for node in self.cast if node.name == leader).ask("/v1/status") or self._status()
        for member in sorted(status["members"], key=lambda member: str(member["name"])):
            self.line(f"  {member['name']}  peers {member['address']}  http http://{member['http']}  {member['state']}")
        self.line(f"{status['leader']} leads term {status['term']}, {took_s:.1f} s after the start")

    def _sample_jobs(self) -> list[Asked]:
        """One of each kind. What `fetch` calls is a node that will not be killed."""
        leader = self._status()["leader"]
        target = next((node for node in self.cast if node.name != leader), self.cast[0])
        at_ms = (self.clock.wall_ms() + AT_AHEAD_MS) // 1_000 * 1_000
        # Made up for one by one when nobody leads for a moment, and never in the way of each other.
        common = {"owner": "demo", "overlap": "allow", "misfire": {"policy": "all", "max": 100}, "timeout": "10s"}
        hello = {"name": "hello", "every": "1s", "shell": 'echo "hello from $PEERCRON_NODE"'}
        cron = {"name": "cron", "schedule": "*/2 * * * * *", "timezone": "Europe/Berlin", "command": ["date", "+%T"]}
        fetch = {"name": "fetch", "every": "2s", "http": {"url": f"{target.url}/readyz"}}
        report = {"name": "report", "every": "3s", "shell": "sleep 0.5; echo attempt $PEERCRON_ATTEMPT of a report"}
        once = {"name": "once", "at": format_instant(at_ms), "shell": "echo the one and only"}
        return [
            Asked(hello | common, every_ms=1_000),
            Asked(cron | common, every_ms=2_000),
            Asked(fetch | common, every_ms=2_000),
            Asked(report | common, every_ms=3_000),
            Asked(once | common, at_ms=at_ms),
        ]

    def _apply(self, asked: list[Asked]) -> dict[str, Any]:
        """Answers how they are now."""
        self._connection().request("POST", "/v1/apply", {"version": 1, "jobs": [each.table for each in asked]})
        return self._jobs()

    def _invite(self, asked: list[Asked]) -> None:
        self.line(f"jobs   {', '.join(each.name for each in asked)}")
        address = "" if self.cast[0].url.endswith(":8400") else f"--addr {self.cast[0].url} "
        program = Path(sys.executable).with_name("peercron")
        command = str(program) if program.exists() else f"{sys.executable} -m peercron"
        self.line(f"open {self.cast[0].url}/ in a browser, or try, in a second terminal:")
        for words in ("status", "job list", "job logs -f hello", "job add hi --every 3s --shell 'echo hi'"):
            self.line(f"  {command} {address}{words}")
        self.line(f"end with Ctrl-C{'' if self.for_s is None else f', or in {self.for_s:g} s'}")
        self.line()

    # The acts.

    def _show(self) -> None:
        began_s = self.clock.monotonic()
        back_s = 0.0
        while self.for_s is None or self.clock.monotonic() - began_s < self.for_s:
            self._show_fires()
            for node in (node for node in self.cast if node is not self.away):
                node.check()
            played_s = self.clock.monotonic() - began_s
            if self.kill_at_s is not None and played_s >= self.kill_at_s and not self.takeovers:
                self._kill_leader()
                left_s = AWAY_S if self.for_s is None else (self.for_s - played_s) / 2
                back_s = played_s + min(AWAY_S, left_s)
            if played_s >= back_s:
                self._bring_back()
            Event().wait(TURN_S)

    def _bring_back(self) -> None:
        if self.away is not None:
            self.away.start()
            self.line(f"{self._now()}  {self.away.name} is started again")
            self.away = None

    def _kill_leader(self) -> None:
        """Kill -9 the leader, and look until another one leads."""
        before = self._status()
        victim = next(node for node in self.cast if node.name == before["leader"])
        self.line(f"{self._now()}  killing {victim.name}, the leader of term {before['term']} (kill -9)")
        victim.kill()
        self.away = victim
        killed_s = self.clock.monotonic()
        others = [node for node in self.cast if node.alive]
        found: dict[str, Any] = {}

        def taken_over() -> bool:
            told = (node.ask("/v1/status") for node in others)
            found.update(next((s for s in told if s and s["leader"] and s["term"] > before["term"]), {}))
            return bool(found)

        self._wait(taken_over, START_S, "another leader", LOOK_S)
        after_ms = round((self.clock.monotonic() - killed_s) * 1_000)
        self.takeovers.append(Takeover(victim.name, found["leader"], found["term"], after_ms))
        self.line(f"{self._now()}  {found['leader']} leads term {found['term']}, {after_ms} ms after the kill")

    def _show_fires(self) -> None:
        """A line for every attempt that has ended since the last look."""
        for node in self.cast:
            answer = node.ask("/v1/runs?limit=200&consistency=stale") if node.alive else None
            if answer is not None:
                break
        else:
            return
        attempts = [(run, attempt) for run in answer["runs"] for attempt in run["attempts"]]
        for run, attempt in sorted(attempts, key=lambda pair: began(pair[1])):
            key = (run["id"], attempt["n"])
            if attempt["finished_at"] is not None and key not in self.shown:
                self.shown.add(key)
                self.line(fire(run, attempt))

    # The end.

    def _judge(self, asked: list[Asked], before: dict[str, Any]) -> Verdict:
        """Stop the jobs, wait until all has ended, and read the ledger. Who looks on may have done what he liked."""
        self._bring_back()
        self._wait(self._all_ready, START_S, "all nodes to be back")
        through_ms = self.clock.wall_ms() - 1_000
        verdict = Verdict()
        asked = verdict.look(asked, before, self._jobs())
        for each in asked:
            self._connection().request("POST", f"/v1/jobs/{each.name}:pause", {})
        if not self._until(lambda: not self._alive(asked), SETTLE_S):
            verdict.leave(self._alive(asked))
        self._show_fires()
        created_ms = max(parse_instant_ms(job["created_at"]) for job in before.values())
        for each in asked:
            rows = self._connection().request("GET", f"/v1/jobs/{each.name}/ledger").json["ledger"]
            verdict.judge(each, rows, after_ms=created_ms, through_ms=through_ms, kept=LEDGER_KEPT_PER_JOB)
        return verdict

    def _alive(self, asked: list[Asked]) -> list[dict[str, Any]]:
        jobs = self._jobs()
        if not any(jobs[each.key]["running"] or jobs[each.key]["queued"] for each in asked if each.key in jobs):
            return []
        paths = [f"/v1/jobs/{each.name}/runs" for each in asked if each.key in jobs]
        runs = [run for path in paths for run in self._connection().request("GET", path).json["runs"]]
        return [run for run in runs if run["finished_at"] is None]

    def _jobs(self) -> dict[str, Any]:
        jobs = self._connection().request("GET", "/v1/jobs").json["jobs"]
        return {f"{job['namespace']}/{job['name']}": job for job in jobs}

    def _sum_up(self, verdict: Verdict) -> int:
        well = verdict.well and (self.kill_at_s is None or bool(self.takeovers))
        self.line()
        for line in verdict.lines(sorted(node.name for node in self.cast)):
            self.line(line)
        self.line("every slot is in the ledger exactly once" if well else "the demo FAILED")
        if self.as_json:
            click.echo(json.dumps(self._summary(verdict, well=well)))
        return OK if well else FAILED

    def _summary(self, verdict: Verdict, *, well: bool) -> dict[str, Any]:
        return {
            "ok": well,
            **verdict.summary(),
            "nodes": [{"name": node.name, "runs": verdict.runs_of[node.name]} for node in self.cast],
            "takeovers": [
                {"killed": t.killed, "leader": t.leader, "term": t.term, "after_ms": t.after_ms} for t in self.takeovers
            ],
        }

    # Tools of the stage.

    def _connection(self) -> Connection:
        return Connection([node.url for node in self.cast if node.alive], timeout_s=15.0)

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._connection().request("GET", "/v1/status").json
        return status

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str, pause_s: float = 0.05) -> None:
        if not self._until(condition, timeout_s, pause_s):
            raise NodeEnded(f"waited {timeout_s:g} s for {what}")

    def _until(self, condition: Callable[[], bool], timeout_s: float, pause_s: float = 0.05) -> bool:
        """Whether it has come true in that time."""
        deadline_s = self.clock.monotonic() + timeout_s
        while not condition():
            if self.clock.monotonic() > deadline_s:
                return False
            Event().wait(pause_s)
        return True

    def _all_ready(self) -> bool:
        return all(node.ready() for node in self.cast)

    def _now(self) -> str:
        return time_of_day(self.clock.wall_ms())


@contextlib.contextmanager
def _term_is_ctrl_c() -> Iterator[None]:
    """SIGTERM ends the play as Ctrl-C does: with its verdict, and with every node ended."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
