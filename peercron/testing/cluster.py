"""cluster: a cluster in one process, driven by the test: the core's apply, planner and dispatcher under one clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from peercron import registry
from peercron.client.words import Duration, seconds
from peercron.clock import ManualClock
from peercron.core.apply import apply
from peercron.core.commands import (
    AttemptFinished,
    AttemptReady,
    AttemptStarted,
    CancelRun,
    Command,
    Contend,
    ExpireSession,
    OpenSession,
    PutJob,
    RunJob,
)
from peercron.core.dispatcher import Announce, Ask, Forgo, Instruction, Release, Start, Stop, TellReady, decide
from peercron.core.job import ClassTask
from peercron.core.level import LEVEL
from peercron.core.member import MemberInfo, Role
from peercron.core.oversize import oversize
from peercron.core.planner import Planner
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refused, Verdict
from peercron.errors import Refused as RefusedError
from peercron.jobs import Job
from peercron.jobspec import read_job
from peercron.testing.attempt import Ended, LocalAttempt, facts_of
from peercron.testing.leases import Leases
from peercron.testing.looks import has_ended, key_of, payloads, run_ids, value_of
from peercron.testing.loop import VirtualLoop
from peercron.testing.outcome import Outcome, outcome_of

START = datetime(2026, 1, 1, tzinfo=UTC)
#: Steps of plan, apply and start at one instant; more of them is a cluster that never comes to rest.
STEPS_MAX = 10_000


class LocalCluster:
    """A cluster of one node (or of more, in the same process) that runs these job classes.

    with LocalCluster(Report, start=datetime(2026, 12, 1, tzinfo=UTC)) as cluster:
        cluster.advance("1d")
        assert [run.state for run in cluster.runs("nightly-report")] == ["succeeded"]

    Args:
        jobs: the classes; their attributes are those of the job, as in a real cluster.
        start: what the clock shows at first.
        nodes: names of the nodes.

    It runs a loop of its own, so use it in a plain `def test…`.
    """

    def __init__(self, *jobs: type[Job], start: datetime = START, nodes: Sequence[str] = ("n1",)) -> None:
        self._clock = ManualClock(wall_ms=round(start.timestamp() * 1_000))
        self._moved = asyncio.Event()
        self._changed = asyncio.Event()
        self._leases = Leases()
        #: The replicated state, for a look that has no method here; to be read only.
        self.state = ClusterState()
        self._sessions = dict.fromkeys(nodes, 0)
        self._running: dict[tuple[str, int], LocalAttempt] = {}
        #: Prepared, and waiting for a barrier: on which node, and what.
        self._held: dict[tuple[str, int], tuple[str, Start]] = {}
        self._errors: dict[str, BaseException | None] = {}
        self._kinds: dict[str, type[Job]] = {}
        self._crash_in = 0
        for name in nodes:
            self._open(name)
        for kind in jobs:
            self._add(kind)
        self._planner = Planner(self.state)
        self._loop = VirtualLoop(self._clock)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what runs, and end."""
        for attempt in self._running.values():
            attempt.end(AttemptState.LOST, "the cluster was closed")
        rest = asyncio.all_tasks(self._loop)
        for task in rest:
            task.cancel()
        if rest:
            self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        self._loop.close()

    # What a test does.

    @property
    def now(self) -> datetime:
        """What the clock shows."""
        return datetime.fromtimestamp(self._clock.wall_ms() / 1_000, UTC)

    def run(self, name: str, **params: str) -> Outcome:
        """Run a job now, as `peercron job run` does, to the end of its last attempt."""
        run_id = str(self._do(RunJob(key_of(name), tuple(params.items()))).value)
        self._play(lambda: has_ended(self.state, run_id))
        return self._outcome(run_id)

    def advance(self, duration: Duration) -> None:
        """Let time pass ("90s", "1h30m", seconds): what comes due runs."""
        until_ms = self._clock.wall_ms() + round(seconds(duration) * 1_000)
        self._play(lambda: False, until_ms)

    def runs(self, name: str) -> list[Outcome]:
        """The job's runs, the oldest first; slots that got none (skipped, missed) are among them."""
        return [self._outcome(run_id) for run_id in run_ids(self.state, name)]

    def cancel(self, run_id: str) -> Outcome:
        """Cancel a run that `runs` shows as running or queued."""
        self._do(CancelRun(run_id))
        self._play(lambda: has_ended(self.state, run_id))
        return self._outcome(run_id)

    def queued(self, name: str) -> list[Any]:
        """The payloads that wait in a queue, in their order."""
        return payloads(self.state, name)

    def value(self, key: str) -> Any:
        """What the shared state holds under a key; None: nothing."""
        return value_of(self.state, key)

    def crash_after_checkpoints(self, count: int) -> None:
        """When jobs have made so many checkpoints more, the node of the last of them dies, and comes back anew: the run
        gets another attempt, which finds that checkpoint.
        """
        self._crash_in = count

    # Time.

    def _play(self, done: Callable[[], bool], until_ms: int | None = None) -> None:
        self._loop.run_until_complete(self._played(done, until_ms))

    async def _played(self, done: Callable[[], bool], until_ms: int | None) -> None:
        while True:
            self._moved.clear()
            self._come_to_rest()
            await self._loop.rest()
            if self._moved.is_set():
                continue
            if done() or (until_ms is not None and self._clock.wall_ms() >= until_ms):
                return
            due = [at_ms for at_ms in (self._planner.next_due_ms(), until_ms) if at_ms is not None]
            due += self._leases.dues()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(1, min(due) - self._clock.wall_ms()) / 1_000 if due else None):
                    await self._moved.wait()

    def _come_to_rest(self) -> None:
        for _ in range(STEPS_MAX):
            now_ms = self._clock.wall_ms()
            commands = [*self._planner.plan(now_ms), *self._leases.expiries(self.state, now_ms)]
            for command in commands:
                self._planner.settle(command, self._apply(command))
            if not self._dispatch() and not commands:
                return
        raise AssertionError("the cluster does not come to rest")

    # The nodes.

    def _dispatch(self) -> bool:
        """Start and stop what the state wants; whether there was anything."""
        wanted = [(name, step) for name in self._sessions for step in self._wanted_of(name)]
        for name, step in wanted:
            match step:
                case Start(held=True):
                    self._held[step.run.id, step.attempt.token] = (name, step)
                case Start():
                    self._start(name, step)
                case TellReady(run_id, token):
                    self._do(AttemptReady(run_id, token))
                case Release(run_id, token):
                    self._start(*self._held.pop((run_id, token)))
                case Ask(run_id):
                    self._do(Contend(run_id, name, self._sessions[name]))
                case Announce(run_id, token):
                    self._do(AttemptStarted(run_id, token, self._clock.wall_ms()))
                case Forgo(run_id, token, reason):
                    self._give_up(run_id, token, reason)
                case Stop(run_id, token, reason) if (run_id, token) in self._held:
                    del self._held[run_id, token]
                    self._give_up(run_id, token, reason)
                case Stop(run_id, token, reason):
                    self._running[run_id, token].end(AttemptState.CANCELLED, reason)
        return bool(wanted)

    def _give_up(self, run_id: str, token: int, reason: str) -> None:
        """Nothing of it has started."""
        now_ms = self._clock.wall_ms()
        self._apply(AttemptFinished(run_id, token, AttemptState.CANCELLED, now_ms, reason=reason))

    def _wanted_of(self, name: str) -> list[Instruction]:
        mine = [key for key, attempt in self._running.items() if attempt.node == name]
        held = [key for key, (holder, _) in self._held.items() if holder == name]
        steps = decide(self.state, name, self._sessions[name], [*mine, *held])
        return [step for step in steps if not self._is_under_way(step)]

    def _is_under_way(self, step: Instruction) -> bool:
        """Of what is asked for, that alone takes its time here and is asked for again meanwhile."""
        match step:
            case Stop(run_id, token):
                attempt = self._running.get((run_id, token))
                return attempt is not None and attempt.ending
            case Release(run_id, token):
                return (run_id, token) not in self._held
            case _:
                return False

    def _start(self, name: str, start: Start) -> None:
        run, attempt, definition = start.run, start.attempt, start.definition
        assert isinstance(definition.task, ClassTask), "only classes are here"
        facts = facts_of(self.state, start, name, self.now)
        kind = self._kinds[definition.task.target]
        mine = LocalAttempt(kind, facts, definition, run.checkpoint, self, self._checkpointed, self._ended)
        self._running[run.id, attempt.token] = mine
        mine.begin(self._loop)
        if attempt.state is AttemptState.ASSIGNED:
            self._do(AttemptStarted(run.id, attempt.token, self._clock.wall_ms()))

    def _ended(self, attempt: LocalAttempt, ended: Ended) -> None:
        facts = attempt.facts
        del self._running[facts.run_id, facts.token]
        self._errors[facts.run_id] = ended.error
        code = 0 if ended.outcome is AttemptState.SUCCEEDED else 1
        now_ms = self._clock.wall_ms()
        self._apply(AttemptFinished(facts.run_id, facts.token, ended.outcome, now_ms, code, ended.reason))
        self._moved.set()

    def _checkpointed(self, attempt: LocalAttempt) -> None:
        if self._crash_in:
            self._crash_in -= 1
            if not self._crash_in:
                self._crash(attempt.node)

    def _crash(self, name: str) -> None:
        for attempt in self._running.values():
            if attempt.node == name:
                attempt.end(AttemptState.LOST, "its node crashed")
        self._do(ExpireSession(name, self._sessions[name]))
        self._open(name)
        self._moved.set()

    # The state.

    def _open(self, name: str) -> None:
        self._sessions[name] += 1
        info = MemberInfo(name, name, f"{name}:7400", f"http://{name}:8400", role=Role.VOTER, level=LEVEL)
        self._do(OpenSession(info, self._sessions[name]))

    def _add(self, kind: type[Job]) -> None:
        target = f"{kind.__module__}:{kind.__name__}"
        spec = read_job(registry.keys_of(kind) | {"class": target})
        if self._kinds.setdefault(target, kind) is not kind:
            raise ValueError(f"two classes are called {kind.__name__}")
        self._do(PutJob(spec.definition, paused=spec.paused))

    def do(self, command: Command) -> Done:
        """Apply a command, of a job or of a test. Raises Refused."""
        if (found := oversize(command)) is not None:
            raise RefusedError(*found)
        done = self._do(command)
        self._moved.set()
        return done

    async def changed(self) -> None:
        """Returns when a command has been applied."""
        await self._changed.wait()

    def _apply(self, command: Command) -> Verdict:
        verdict = apply(self.state, command, self._clock.wall_ms())
        self._changed.set()
        self._changed = asyncio.Event()
        return verdict

    def _do(self, command: Command) -> Done:
        verdict = self._apply(command)
        if isinstance(verdict, Refused):
            raise RefusedError(verdict.code.value, verdict.detail, verdict.index)
        return verdict

    def _outcome(self, run_id: str) -> Outcome:
        return outcome_of(self.state, run_id, self._errors.get(run_id))
