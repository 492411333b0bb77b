"""Dispatch: what the state wants of this member, carried to the supervisor, and what came of it carried back."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from peercron.clock import Clock
from peercron.core.commands import AttemptFinished, AttemptReady, AttemptStarted, Command, Contend
from peercron.core.dispatcher import Announce, Ask, Forgo, Instruction, Release, Start, Stop, TellReady, decide
from peercron.core.job import Definition, Mode, OnDisconnect
from peercron.core.params import variable
from peercron.core.run import Attempt, AttemptState, Run
from peercron.core.shards import does_slots_work
from peercron.core.verdict import Refusal, Refused, Verdict
from peercron.core.work import with_item
from peercron.errors import ProposalError
from peercron.execution.port import AttemptResult, AttemptSpec, Executor
from peercron.machine import Machine

log = logging.getLogger(__name__)

#: One try to tell the cluster of a start or an end; an end is tried again until it is decided.
REPORT_TIMEOUT_S: Final = 5.0
REPORT_PAUSE_S: Final = 0.2
#: After a refusal that decides nothing (no room for the answer, a defect) the end is told again, but slowly.
REFUSED_PAUSE_S: Final = 5.0
#: Refusals that settle the matter: the attempt is somebody else's or nobody's.
DECIDED: Final = frozenset({Refusal.STALE_TOKEN, Refusal.STALE_SESSION, Refusal.NOT_FOUND})

#: An attempt of which the cluster does not know that it runs.
NOT_STARTED: Final = frozenset({AttemptState.ASSIGNED, AttemptState.READY})

Propose = Callable[[Command, float], "asyncio.Future[Verdict]"]


class Dispatch:
    """The attempts of this member.

    Args:
        me, name, url: our member id, what we are called, and our HTTP base URL, for the runs to see.
        pass_of: the secret of an attempt (run id, token), by which it speaks as itself.
        machine: whose state decides.
        clock: monotonic time, for the lease.
        propose: takes a command and a time-out in seconds.
    """

    def __init__(
        self,
        me: str,
        name: Callable[[], str],
        url: str,
        pass_of: Callable[[str, int], str],
        machine: Machine,
        clock: Clock,
        propose: Propose,
    ) -> None:
        self._me, self._name, self._url, self._clock = me, name, url, clock
        self._pass_of = pass_of
        self._machine, self._propose = machine, propose
        self.supervisor: Executor | None = None
        #: Attempts taken on whose end the state does not show yet.
        self._taken: dict[tuple[str, int], None] = {}
        #: Instructions being carried out, so that none is carried out twice.
        self._under_way: set[Instruction] = set()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._seen_index = -1
        #: Of the turn under way.
        self._session = 0
        #: The node is on its way out: nothing is started any more.
        self.ending = False
        #: Until when we may start something, in monotonic seconds, by our lease.
        self._may_start_until_s = float("-inf")

    def turn(self, session: int) -> None:
        """The state may have moved: start and stop what it wants."""
        state = self._machine.state
        if self.supervisor is None or state.index == self._seen_index:
            return
        self._seen_index, self._session = state.index, session
        self._forget_ended()
        for instruction in decide(state, self._me, session, self._taken.keys()):
            self._carry_out(instruction)

    def extend(self, stop_at_s: float) -> None:
        """The lease is longer: what waited for that may start in the next turn."""
        self._may_start_until_s = stop_at_s

    def started(self, run_id: str, token: int, started_ms: int) -> None:
        """The supervisor has started it. Best effort: its end is what counts."""
        run = self._machine.state.runs.get(run_id)
        attempt = run.live_attempt if run else None
        if attempt is not None and attempt.token == token and attempt.state in NOT_STARTED:
            self._background(self._say_once(AttemptStarted(run_id, token, started_ms)))

    def ready(self, run_id: str, token: int) -> None:
        """The supervisor has prepared it, and it waits for its release."""
        instruction = TellReady(run_id, token)
        if self._begin(instruction):
            self._background(self._say_once(AttemptReady(run_id, token)), instruction)

    def finished(self, result: AttemptResult) -> None:
        """The supervisor has seen its end: the cluster is told until it has decided."""
        command = AttemptFinished(
            result.run_id,
            result.token,
            result.outcome,
            result.finished_ms,
            result.exit_code,
            result.reason,
            result.output_tail,
        )
        self._background(self._report(command))

    async def settle(self, seconds: float) -> None:
        """Wait until what is under way is told, for a while."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _carry_out(self, instruction: Instruction) -> None:
        assert self.supervisor is not None
        match instruction:
            case Start() if self.ending or self._clock.monotonic() >= self._may_start_until_s:
                # It goes elsewhere when the session is given up, or starts here when the lease is renewed.
                self._seen_index = -1
            case Start(run, attempt):
                self._taken[run.id, attempt.token] = None
                self.supervisor.launch(self.spec(instruction))
                log.info("attempt_started", extra=_fields(run, attempt))
            case Stop(run_id, token, reason):
                if (run_id, token) in self.supervisor.running and self._begin(instruction):
                    self.supervisor.stop(run_id, token, reason)
            case Announce(run_id, token):
                if self._begin(instruction):
                    started = AttemptStarted(run_id, token, self._machine.state.now_ms)
                    self._background(self._say_once(started), instruction)
            case TellReady(run_id, token):
                if (run_id, token) in self.supervisor.ready and self._begin(instruction):
                    self._background(self._say_once(AttemptReady(run_id, token)), instruction)
            case Release(run_id, token):
                self.supervisor.release(run_id, token)
            case Ask(run_id):
                if not self.ending and self._begin(instruction):
                    self._background(self._say_once(Contend(run_id, self._me, self._session)), instruction)
            case Forgo(run_id, token, reason):
                if self._begin(instruction):
                    now_ms = self._machine.state.now_ms
                    end = AttemptFinished(run_id, token, AttemptState.CANCELLED, now_ms, reason=reason)
                    self._background(self._say_once(end), instruction)

    def _begin(self, instruction: Instruction) -> bool:
        if instruction in self._under_way:
            return False
        self._under_way.add(instruction)
        return True

    def _forget_ended(self) -> None:
        assert self.supervisor is not None
        held = self._machine.state.live_attempts.get(self._me, {})
        for run_id, token in list(self._taken):
            if held.get(run_id) != token and (run_id, token) not in self.supervisor.running:
                del self._taken[run_id, token]
        self._under_way = {i for i in self._under_way if not isinstance(i, Stop) or (i.run_id, i.token) in self._taken}

    def spec(self, start: Start) -> AttemptSpec:
        """How an attempt is made here."""
        run, attempt, definition = start.run, start.attempt, start.definition
        for_slot = does_slots_work(run, definition)
        task, item = with_item(self._machine.state, run, definition.task)
        slot = datetime.fromtimestamp(run.slot_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        trace = hashlib.blake2b(run.id.encode(), digest_size=16).hexdigest()
        span = hashlib.blake2b(f"{run.id} {attempt.token}".encode(), digest_size=8).hexdigest()
        env = {
            "PEERCRON_JOB": run.job_key,
            "PEERCRON_RUN_ID": run.parent if for_slot else run.id,
            "PEERCRON_ATTEMPT": str(attempt.n),
            "PEERCRON_SLOT": slot,
            "PEERCRON_NODE": self._name(),
            "PEERCRON_FENCING_TOKEN": str(attempt.token),
            "PEERCRON_URL": self._url,
            "PEERCRON_TOKEN": self._pass_of(run.id, attempt.token),
            "TRACEPARENT": f"00-{trace}-{span}-01",
            **{variable(name): value for name, value in run.params},
            **item,
            **shard_env(run, definition),
        }
        return AttemptSpec(
            run_id=run.id,
            token=attempt.token,
            attempt=attempt.n,
            job_key=run.job_key,
            slot_ms=run.slot_ms,
            task=task,
            timeout_ms=definition.timeout_ms,
            kill_grace_ms=definition.kill_grace_ms,
            env=env,
            checkpoint=(self._machine.state.runs[run.parent] if for_slot else run).checkpoint,
            params=run.params,
            keep_on_disconnect=definition.on_disconnect is OnDisconnect.KEEP,
            held=start.held,
            processes_max=definition.processes_max,
        )

    async def _say_once(self, command: Command) -> None:
        try:
            await self._propose(command, REPORT_TIMEOUT_S)
        except ProposalError as error:
            log.debug("not_told", extra={"command": type(command).__name__, "reason": str(error)})

    async def _report(self, command: AttemptFinished) -> None:
        while True:
            try:
                verdict = await self._propose(command, REPORT_TIMEOUT_S)
            except ProposalError as error:
                # Only the cluster can end an attempt that it granted: say it again until it has decided. An attempt
                # that was given to somebody else meanwhile is refused as stale, which is a decision too.
                log.info("attempt_end_not_told_yet", extra={"run": command.run_id, "reason": str(error)})
                await asyncio.sleep(REPORT_PAUSE_S)
            else:
                if not isinstance(verdict, Refused) or verdict.code in DECIDED:
                    log.info("attempt_finished", extra={"run": command.run_id, "outcome": str(command.outcome)})
                    return
                log.error("attempt_end_refused", extra={"run": command.run_id, "reason": verdict.detail})
                await asyncio.sleep(REFUSED_PAUSE_S)

    def _background(self, work: object, instruction: Instruction | None = None) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks[task] = None

        def over(done: asyncio.Task[None]) -> None:
            self._tasks.pop(done, None)
            if instruction is not None:
                self._under_way.discard(instruction)
                self._seen_index = -1  # level, not edge: look again whether it took effect

        task.add_done_callback(over)


def _fields(run: Run, attempt: Attempt) -> dict[str, object]:
    return {"job": run.job_key, "run": run.id, "attempt": attempt.n, "token": attempt.token}


def shard_env(run: Run, definition: Definition) -> dict[str, str]:
    """What the shards of a parallel run see of each other."""
    if not run.parent or definition.mode is not Mode.PARALLEL:
        return {}
    return {"PEERCRON_SHARD_INDEX": str(run.shard), "PEERCRON_SHARD_COUNT": str(run.shards)}
