"""Guardian: the process beside a node, and the attempts that it starts and ends, in virtual time.

It speaks the real guardian's lines (`peercron.execution.orders`) with the real supervisor, and keeps the same rules: no
lease, no start; TERM at `stop_at`, KILL at `kill_at`; when its node dies every attempt gets TERM at once and KILL after
its grace or at `kill_at`. It runs on its host's clock, also while the node stands still.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peercron.execution.keeper import Keeper
from peercron.execution.supervisor import Supervisor

if TYPE_CHECKING:
    from tests.sim.whole.host import Process

#: The way of a line between node and guardian, and how late a guardian keeps its time.
LINE_S = 0.000_3
LATE_S = 0.004
START_S = 0.05


@dataclass(slots=True)
class Ran:
    """One attempt as its host saw it: when a process of it was alive, in everybody's seconds."""

    run_id: str
    job_key: str
    n: int
    token: int
    host: str
    start_s: float
    end_s: float = math.inf
    #: It did all that it was to do, and said so.
    succeeded: bool = False
    keep: bool = False
    #: As it was told: its number among the shards of its run, and how many they are; 0: it is none.
    shard: int = 0
    shards: int = 0
    #: It failed by itself.
    failed: bool = False
    #: Its machine, its guardian or its node died under it.
    struck: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that stood prepared on its host, waiting for the word to start."""

    run_id: str
    token: int
    host: str
    at_s: float


class Attempt:
    """One living attempt: what it wants to do, and what was decided about it. Instants are its host's."""

    def __init__(self, order: dict[str, Any], ran: Ran, duration_s: float, code: int, term_s: float) -> None:
        self.order, self.ran, self.duration_s, self.code, self.term_s = order, ran, duration_s, code, term_s
        self.key = order["key"]
        self.held = bool(order["held"])
        self.kill_at = math.inf
        self.end_s = math.inf
        self.timeout_at = math.inf
        self.sentence: tuple[str, str] | None = None
        self.lease_ended = False
        self.started_ms: int | None = None


class Guardian:
    """One guardian of one boot of a node."""

    def __init__(self, process: Process) -> None:
        self._process, self._host, self._time = process, process.host, process.host.cluster.time
        self._stop_at = self._kill_at = -math.inf
        self.attempts: dict[str, Attempt] = {}
        self._leaving = self.dead = False
        self._watch_s = math.inf

    @property
    def now(self) -> float:
        return self._host.local_s(self._time.now_s)

    @property
    def gone(self) -> bool:
        """It was told to leave, and nothing is left that it has to end."""
        return self.dead or (self._leaving and not self.attempts)

    # Lines.

    def hear(self, order: dict[str, Any]) -> None:
        if self.dead:
            return
        match order["do"]:
            case "launch":
                self._launch(order["launch"])
            case "release":
                self._release(self.attempts.get(order["key"]))
            case "lease":
                self._stop_at, self._kill_at = order["stop_at"], max(order["stop_at"], order["kill_at"])
            case "stop":
                if order["key"] in self.attempts:
                    self._end(self.attempts[order["key"]], "cancelled", order["reason"])
            case "end_all":
                self._end_all(order["reason"], keep=True)
            case "close":
                self._leaving = True
                self._end_all(order["reason"], keep=False, grace_s=order["grace_s"])
        self._keep_time()

    def lose_node(self) -> None:
        if not self.dead:
            self._leaving = True
            self._strike()
            self._end_all("the node died", keep=False)
            self._keep_time()

    def die(self) -> None:
        """Killed, or without power: its attempts die with it, by their shepherds or by the same cause."""
        self.dead = True
        self._strike()
        for attempt in list(self.attempts.values()):
            self._bury(attempt, told=False)

    def _strike(self) -> None:
        for attempt in self.attempts.values():
            attempt.ran.struck = True

    def _say(self, line: dict[str, Any]) -> None:
        self._process.hear_guardian(self, line)

    # Attempts.

    def _launch(self, order: dict[str, Any]) -> None:
        if order["key"] in self.attempts:
            return
        until = order["until"]
        if self._leaving or self.now >= (until[0] if until else self._stop_at):
            why = "the node is stopping" if self._leaving else "its time was over" if until else "the node has no lease"
            reason = f"the command was not started: {why}"
            self._say_ended(order["key"], "lost", reason, None, None)
            return
        if self._host.cluster.refuses(order["argv"]):
            self._say_ended(order["key"], "failed", "there is no such program", 127, None)
            return
        variables = order["variables"]
        ran = Ran(
            variables["PEERCRON_RUN_ID"],
            variables["PEERCRON_JOB"],
            int(variables["PEERCRON_ATTEMPT"]),
            int(variables["PEERCRON_FENCING_TOKEN"]),
            self._host.name,
            self._time.now_s,
            keep=order["keep"] and not order["until"],
            shard=int(variables.get("PEERCRON_SHARD_INDEX", 0)),
            shards=int(variables.get("PEERCRON_SHARD_COUNT", 0)),
        )
        duration_s, code, term_s = self._host.cluster.task(order["argv"])
        attempt = Attempt(order, ran, duration_s, code, term_s)
        self.attempts[attempt.key] = attempt
        if attempt.held:
            self._host.cluster.prepared(Held(ran.run_id, ran.token, ran.host, self._time.now_s))
            self._say({"is": "held", "key": attempt.key})
        else:
            self._begin(attempt)

    def _release(self, attempt: Attempt | None) -> None:
        if attempt is not None and attempt.held and attempt.sentence is None:
            attempt.held = False
            self._begin(attempt)

    def _begin(self, attempt: Attempt) -> None:
        """Its time runs from now on."""
        attempt.ran.start_s = self._time.now_s
        attempt.end_s = self.now + attempt.duration_s
        attempt.started_ms = self._host.wall_ms()
        if attempt.order["timeout_s"]:
            attempt.timeout_at = self.now + attempt.order["timeout_s"]
        self._host.cluster.began(attempt.ran)
        self._say({"is": "started", "key": attempt.key, "started_ms": attempt.started_ms})

    def _end(self, attempt: Attempt, outcome: str, reason: str, kill_at: float = math.inf) -> None:
        """TERM now, KILL at `kill_at` or after its grace. Most end of TERM after a while; some never do."""
        now = self.now
        if attempt.sentence is None:
            attempt.sentence = (outcome, reason)
            attempt.end_s = now if attempt.held else now + attempt.term_s
        attempt.kill_at = min(attempt.kill_at, kill_at, now + attempt.order["grace_s"])

    def _end_all(self, reason: str, *, keep: bool, grace_s: float = math.inf) -> None:
        for attempt in self.attempts.values():
            if not (keep and attempt.order["keep"]):
                self._end(attempt, "lost", reason, kill_at=self.now + grace_s)

    def _keep_time(self) -> None:
        """Do what is due, and come back when the next thing is."""
        now, due = self.now, math.inf
        for attempt in list(self.attempts.values()):
            if attempt.timeout_at <= now and attempt.sentence is None:
                self._end(attempt, "timed_out", "timed out")
            may_live, must_die = self._lease(attempt)
            if may_live <= now and not attempt.lease_ended:
                attempt.lease_ended = True
                own = bool(attempt.order["until"])
                why = ("timed_out", "its time was over") if own else ("lost", "the node's lease ended")
                self._end(attempt, *why, kill_at=must_die)
            if min(attempt.end_s, attempt.kill_at) <= now:
                self._bury(attempt, told=True)
                continue
            lease_at = math.inf if attempt.lease_ended else may_live
            timeout_at = attempt.timeout_at if attempt.sentence is None else math.inf
            due = min(due, attempt.end_s, attempt.kill_at, lease_at, timeout_at)
        if due < math.inf:
            self._wake(self._host.world_s(due) + self._host.cluster.rng.uniform(0, LATE_S))

    def _lease(self, attempt: Attempt) -> tuple[float, float]:
        """Until when it may live: its own time, if it has one."""
        if attempt.order["until"]:
            stop_at, kill_at = attempt.order["until"]
            return stop_at, kill_at
        return (math.inf, math.inf) if attempt.order["keep"] else (self._stop_at, self._kill_at)

    def _wake(self, when_s: float) -> None:
        if when_s < self._watch_s or self._watch_s <= self._time.now_s:
            self._watch_s = when_s
            self._time.at(when_s, lambda: None if self.dead or self._watch_s != when_s else self._keep_time())

    def _bury(self, attempt: Attempt, *, told: bool) -> None:
        """None of its processes is left."""
        del self.attempts[attempt.key]
        by_itself = attempt.sentence is None and attempt.end_s <= self.now
        if not attempt.held:
            attempt.ran.end_s = self._time.now_s
            attempt.ran.succeeded = by_itself and attempt.code == 0
            attempt.ran.failed = by_itself and attempt.code != 0
            self._host.cluster.ended(attempt.ran)
        if not told:
            return
        if by_itself:
            outcome, reason = ("succeeded", "") if attempt.code == 0 else ("failed", f"exit code {attempt.code}")
            self._say_ended(attempt.key, outcome, reason, attempt.code, attempt.started_ms)
        else:
            assert attempt.sentence is not None
            self._say_ended(attempt.key, *attempt.sentence, None, attempt.started_ms)

    def _say_ended(self, key: str, outcome: str, reason: str, code: int | None, started_ms: int | None) -> None:
        line = {"key": key, "outcome": outcome, "reason": reason, "exit_code": code, "started_ms": started_ms}
        self._say({"is": "ended", **line, "finished_ms": self._host.wall_ms(), "output_tail": ""})


class SimKeeper(Keeper):
    """Holds the simulated guardian where the real one holds a process."""

    def __init__(self, process: Process, real: Keeper) -> None:
        self._process, self._on_line, self._on_dead, self._on_ready = (
            process,
            real._on_line,
            real._on_dead,
            real._on_ready,
        )
        self.guardian: Guardian | None = None

    @property
    def guardian_pid(self) -> int | None:
        return None

    async def start(self) -> None:
        host = self._process.host
        while host.attempts_alive():
            await asyncio.sleep(0.02)
        await asyncio.sleep(START_S)
        self.guardian = host.begin_guardian(self._process)

    def say(self, line: dict[str, Any]) -> bool:
        if self.guardian is None:
            return False
        self._process.tell_guardian(self.guardian, json.loads(json.dumps(line)))
        return True

    def hear(self, line: dict[str, Any]) -> None:
        self._on_line(line)

    def lose(self) -> None:
        """The guardian died; there will be another."""
        self.guardian = None
        self._process.loop.call_later(0.1, self._replace)

    def _replace(self) -> None:
        self._on_dead()
        self.guardian = self._process.host.begin_guardian(self._process)
        self._on_ready()

    async def close(self, grace_s: float) -> None:
        self.say({"do": "close", "reason": "the node was stopped", "grace_s": grace_s})
        while self.guardian is not None and not self.guardian.gone:  # what was launched just now is on its way to it
            await asyncio.sleep(0.01)
        await asyncio.sleep(3 * LINE_S)
        self._on_dead()


class SimSupervisor(Supervisor):
    """The real one over a simulated guardian; it writes no files."""

    def __init__(self, process: Process, on_started: Callable[..., None], on_finished: Callable[..., None]) -> None:
        super().__init__(process.settings.data_dir, process.host.name, process.clock, on_started, on_finished)
        self.keeper = SimKeeper(process, self._commands.keeper)
        self._commands.keeper = self.keeper

    def _prune(self) -> None:
        """There are no files."""
