"""This node's own slots: fired by its clock alone, told once there is a leader, and never fired twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from peercron.clock import ManualClock
from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.commands import (
    Command,
    DeleteJob,
    DrainMember,
    OpenSession,
    PauseJob,
    PutJob,
    PutKey,
    RecordSlices,
)
from peercron.core.history import entries_of
from peercron.core.job import CronTrigger, EveryTrigger, Mode, Overlap
from peercron.core.limits import GAP_SLOTS_MAX
from peercron.core.member import Configuration, Role, Seat
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused, Verdict
from peercron.errors import NoLeader
from peercron.execution.attempt import OVERDUE
from peercron.execution.port import AttemptResult, AttemptSpec
from peercron.node import slice_telling
from peercron.node import slices as slices_module
from peercron.node.slice_journal import SliceJournal
from peercron.node.slices import Slices
from tests.core.builders import NOW, SECOND, definition, info
from tests.http.promises import hold_shape
from tests.node.staged import until
from tests.sim.disk import SimDisk

TEN = 10 * SECOND
SPEC = AttemptSpec("", 0, 1, "", 0, definition().task, 0, 0, {})


class Supervisor:
    """Takes every attempt, and ends it when it is told how."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, int], AttemptSpec] = {}
        self.launched: list[AttemptSpec] = []
        self.stopped: list[str] = []

    def launch(self, spec: AttemptSpec) -> None:
        self.running[spec.run_id, spec.token] = spec
        self.launched.append(spec)

    def stop(self, run_id: str, token: int, reason: str) -> None:
        self.stopped.append(reason)


class Stage:
    """Node `a` of the cluster a, b, and the ledger that it tells when it is heard."""

    def __init__(self) -> None:
        self.clock = ManualClock(wall_ms=NOW)
        self.disk = SimDisk(Random(7))
        self.cluster = ClusterState()
        self.doubt = ""
        self.heard, self.refuses = False, list[Refused]()
        self.told: list[RecordSlices] = []
        for name in ("a", "b"):
            self.do(OpenSession(info(name), 1))
        seats = tuple(Seat(f"id-{name}", name, f"{name}:7400") for name in ("a", "b"))
        configure(self.cluster, Configuration(seats))
        self.boot(self.cluster)

    def boot(self, state: ClusterState) -> None:
        """A new process with what is on disk; `state`: what it knows of the cluster."""
        self.machine: Any = SimpleNamespace(state=state, generation=0)
        self.supervisor = Supervisor()
        self.slices = Slices(
            lambda: "a",
            self.machine,
            self.clock,
            SliceJournal(self.disk),
            lambda start: replace(SPEC, run_id=start.run.id, token=start.attempt.token, slot_ms=start.run.slot_ms),
            lambda *_: self.doubt,
            self.propose,  # type: ignore[arg-type]
            lambda: self.heard,
        )
        self.slices.supervisor = self.supervisor  # type: ignore[assignment]
        self.slices.start()

    def crash(self, state: ClusterState | None = None) -> None:
        self.slices.close()
        self.boot(self.cluster if state is None else state)

    def do(self, command: Command) -> Verdict:
        return apply(self.cluster, command, self.clock.wall_ms())

    def put(self, **changes: Any) -> None:
        changes = {"trigger": EveryTrigger(TEN), "mode": Mode.SLICE, "slice_ms": TEN, "kill_grace_ms": 500} | changes
        self.do(PutJob(definition(**changes)))
        self.slices.turn()

    async def propose(self, command: RecordSlices, _: float) -> Verdict:
        if self.refuses:
            return self.refuses.pop()
        if not self.heard:
            raise NoLeader
        self.told.append(command)
        verdict = self.do(command)
        self.slices.turn()
        return verdict

    def pass_time(self, seconds: float) -> None:
        """Time passes, a tenth of a second at a time, and the node looks as often as its timer would let it."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.slices._wake()

    def end(self, spec: AttemptSpec, outcome: AttemptState = AttemptState.SUCCEEDED, reason: str = "") -> None:
        del self.supervisor.running[spec.run_id, spec.token]
        now_ms = self.clock.wall_ms()
        code = 0 if outcome is AttemptState.SUCCEEDED else None
        self.slices.finished(AttemptResult(spec.run_id, spec.token, outcome, code, now_ms - 5, now_ms, reason, "out"))

    @property
    def slots(self) -> list[int]:
        return [spec.slot_ms for spec in self.supervisor.launched]

    def untold(self) -> dict[int, tuple[str, str]]:
        (job,) = self.slices.view()
        hold_shape("SliceJob", job)
        return {entry["slot"]: (entry["outcome"], entry["reason"]) for entry in job["untold"]}

    def ledger(self) -> dict[int, str]:
        (uid,) = self.cluster.slices
        rows = list(entries_of(self.cluster, uid))
        assert len({row.slot_ms for row in rows}) == len(rows)
        return {row.slot_ms: row.outcome.value for row in rows}


def own(count: int, name: str = "a") -> list[int]:
    """The first slots of one of the two nodes after NOW, with a slot at the beginning of each slice."""
    return [slot for n in range(1, 2 * count + 1) if ("a", "b")[(slot := NOW + n * TEN) // TEN % 2] == name]


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(slice_telling, "TELL_PAUSE_S", 0)
    monkeypatch.setattr(slices_module, "LOOK_S_MAX", 3_600.0)
    monkeypatch.setattr(slices_module, "SETTLE_S", 0.0)
    found = Stage()
    yield found
    found.slices.close()


async def test_it_fires_its_own_slots_and_no_others_with_nobody_to_ask(stage: Stage) -> None:
    stage.put(overlap=Overlap.ALLOW)
    stage.pass_time(65)
    assert stage.slots == own(3)
    for spec in stage.supervisor.launched:
        assert spec.token == spec.slot_ms
        assert spec.run_id.endswith(f"/{spec.slot_ms}")
        assert spec.outlives_session


async def test_an_attempt_is_over_before_its_slice_is(stage: Stage) -> None:
    stage.put()
    stage.pass_time(25)
    (spec,) = stage.supervisor.launched
    assert spec.until is not None
    late_s = (stage.clock.wall_ms() - spec.slot_ms) / 1000
    begun_s = stage.clock.monotonic() - late_s
    assert begun_s + 7.5 == pytest.approx(spec.until.kill_at_s, abs=0.11)
    assert spec.until.kill_at_s - spec.until.stop_at_s == pytest.approx(0.5)
    stage.end(spec, AttemptState.TIMED_OUT, OVERDUE)
    assert stage.untold()[spec.slot_ms] == ("timed_out", f"its slice ended, with the guard band ({OVERDUE})")


async def test_what_it_did_alone_is_told_once_when_it_is_heard_again(stage: Stage) -> None:
    stage.put()
    stage.pass_time(30)
    stage.end(stage.supervisor.launched[0])
    stage.pass_time(20)
    stage.end(stage.supervisor.launched[1], AttemptState.FAILED)
    await asyncio.sleep(0)
    assert stage.ledger() == {}
    assert list(stage.untold()) == own(2)
    stage.heard = True
    await until(stage.ledger)
    assert stage.ledger() == dict(zip(own(2), ("succeeded", "failed"), strict=True))
    assert stage.untold() == {}
    stage.crash()
    stage.pass_time(1)
    await asyncio.sleep(0.01)
    assert len(stage.told) == 1


async def test_an_answer_that_is_lost_makes_no_second_entry(stage: Stage) -> None:
    stage.put()
    stage.pass_time(30)
    stage.end(stage.supervisor.launched[0])
    stage.do(RecordSlices("a", *_told(stage)))
    stage.crash()  # before it heard of it
    stage.heard = True
    stage.pass_time(0.1)
    await asyncio.sleep(0.01)
    assert stage.untold() == {}
    assert list(stage.ledger()) == own(1)


def _told(stage: Stage) -> tuple[Any, ...]:
    (uid,) = stage.cluster.slices
    entries = stage.slices._journal.to_tell(uid, 9)
    return uid, entries, entries[-1].slot_ms


async def test_a_slot_that_was_begun_is_not_begun_again_by_the_next_boot(stage: Stage) -> None:
    stage.put(trigger=EveryTrigger(TEN))
    stage.pass_time(21)
    assert len(stage.slots) == 1
    stage.crash()
    stage.pass_time(3)
    assert stage.slots == []
    assert stage.untold() == {own(1)[0]: ("lost", "node a went down while it ran")}


async def test_what_it_did_not_run_while_it_was_down_is_missed(stage: Stage) -> None:
    stage.put()
    stage.slices.close()
    stage.clock.advance(75)
    stage.boot(stage.cluster)
    stage.pass_time(0.1)
    assert stage.untold() == {slot: ("missed", "node a was down") for slot in own(4) if slot < NOW + 75 * SECOND}
    stage.pass_time(20)
    assert stage.slots == [own(5)[-1]] or stage.slots == [own(4)[-1]]


async def test_it_comes_back_to_no_quorum_and_goes_on_with_what_it_knew(stage: Stage) -> None:
    """The state of a new boot begins with the last snapshot: what of the log is committed, only a leader says."""
    stage.put()
    stage.pass_time(1)
    stage.crash(ClusterState())
    behind_at_first = stage.slices.behind
    stage.pass_time(30)
    assert stage.slots == own(1)
    stage.do(DeleteJob("default/job"))
    stage.machine.state = stage.cluster
    stage.machine.generation += 1
    stage.slices.turn()
    assert (behind_at_first, stage.slices.behind) == (True, False), "names are taken from a state that knows enough"
    assert stage.supervisor.stopped == ["job default/job was deleted"]
    stage.pass_time(40)
    assert stage.slots == own(1)


async def test_a_clock_in_doubt_fires_nothing_and_says_so(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.put()
    stage.pass_time(1)
    stage.doubt = "its clock is 5000 ms off the median of all"
    stage.pass_time(30)
    assert stage.slots == []
    assert stage.slices.doubt == stage.doubt
    assert "slices_refused" in caplog.text
    assert stage.untold() == {}, "that it has come nobody else says"
    why, stage.doubt = stage.doubt, ""
    stage.pass_time(20)
    assert stage.slices.doubt == ""
    assert stage.untold() == {own(1)[0]: ("missed", f"node a refused its slices: {why}")}
    assert stage.slots == own(2)[1:]


async def test_in_doubt_what_has_come_by_the_log_is_missed_at_once(stage: Stage) -> None:
    stage.put()
    stage.pass_time(1)
    stage.doubt = "its clock is 5000 ms off the median of all"
    stage.pass_time(30)
    stage.do(PutKey("default", "k", b"v"))
    stage.pass_time(2)
    assert stage.untold() == {own(1)[0]: ("missed", f"node a refuses its slices: {stage.doubt}")}


async def test_a_clock_that_runs_ahead_gives_up_nothing_that_is_still_to_come(stage: Stage) -> None:
    """Seed 105 of the simulated slices: four seconds of a clock five minutes ahead cost five minutes of slots."""
    stage.put()
    stage.pass_time(1)
    stage.clock.step_wall(300_000)
    stage.doubt = "its clock is 300000 ms off the median of all"
    stage.pass_time(4)
    stage.clock.step_wall(-300_000)
    stage.doubt = ""
    stage.pass_time(25)
    assert stage.slots == own(1)


async def test_a_boot_waits_a_moment_for_the_clocks_of_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "SETTLE_S", 2.0)
    stage.put()
    stage.slices.close()
    stage.clock.advance(20.5)
    stage.boot(stage.cluster)
    stage.pass_time(1.9)
    assert stage.slots == []
    stage.pass_time(0.3)
    assert stage.slots == own(1)


async def test_a_witness_runs_none_though_the_job_names_it(stage: Stage) -> None:
    seats = tuple(Seat(f"id-{n}", n, f"{n}:7400", Role.WITNESS if n == "a" else Role.VOTER) for n in ("a", "b"))
    configure(stage.cluster, Configuration(seats))
    stage.put(nodes=("a", "b"))
    stage.pass_time(30)
    assert stage.slots == []
    assert stage.untold() == {own(1)[0]: ("missed", "node a is a witness, which runs nothing")}


async def test_a_wall_clock_that_is_set_back_fires_nothing_twice(stage: Stage) -> None:
    stage.put()
    stage.pass_time(25)
    stage.end(stage.supervisor.launched[0])
    stage.clock.step_wall(-15_000)
    stage.pass_time(29)
    assert stage.slots == own(1)


async def test_an_earlier_run_and_a_pause_are_reasons(stage: Stage) -> None:
    stage.clock.advance(15)
    stage.put(trigger=EveryTrigger(SECOND))
    stage.pass_time(6.5)
    first = own(1)[0]
    assert stage.slots == [first]
    stage.end(stage.supervisor.launched[0])
    stage.do(PauseJob("default/job"))
    stage.slices.turn()
    stage.pass_time(1)
    reasons = {slot: why for slot, (_, why) in stage.untold().items()}
    assert "an earlier run was alive" in reasons[first + SECOND]
    assert reasons[first + 2 * SECOND] == "the job was paused"


async def test_a_drained_node_runs_none_of_its_slices(stage: Stage) -> None:
    stage.put()
    stage.do(DrainMember("id-a"))
    stage.pass_time(30)
    assert stage.slots == []
    assert stage.untold() == {own(1)[0]: ("missed", "node a is drained")}


async def test_with_a_disk_that_takes_nothing_nothing_is_started(stage: Stage) -> None:
    stage.put()
    stage.pass_time(1)
    stage.disk.full = True
    stage.pass_time(30)
    assert stage.slots == []
    assert stage.untold()[own(1)[0]] == ("missed", "node a could not write its journal of slices")
    stage.disk.full = False
    stage.pass_time(20)
    assert stage.slots == own(2)[1:]


async def test_who_is_on_its_way_out_starts_nothing(stage: Stage) -> None:
    stage.put()
    stage.slices.ending = True
    stage.pass_time(30)
    assert stage.slots == []


async def test_a_refusal_is_no_reason_to_forget_but_for_jobs_that_nobody_knows(stage: Stage) -> None:
    stage.put()
    stage.pass_time(25)
    stage.end(stage.supervisor.launched[0])
    stage.heard = True
    stage.refuses = [Refused(9, Refusal.STALE_SESSION, "not open")]
    await until(stage.ledger)
    stage.pass_time(20)
    stage.end(stage.supervisor.launched[1])
    stage.refuses = [Refused(9, Refusal.NOT_FOUND, "there is no job 1 in slices")]
    await until(lambda: not stage.untold())
    assert list(stage.ledger()) == own(1)


async def test_a_year_away_is_told_in_bounded_time(stage: Stage) -> None:
    stage.put(trigger=EveryTrigger(SECOND))
    stage.slices.close()
    stage.clock.advance(365 * 86_400)
    stage.boot(stage.cluster)
    stage.pass_time(0.1)
    untold = stage.untold()
    assert len(untold) + len(stage.slots) == GAP_SLOTS_MAX
    assert "stands for all before it" in next(iter(untold.values()))[1]
    stage.heard = True
    await until(lambda: not stage.untold())
    assert len(stage.ledger()) == len(untold)


async def test_a_trigger_that_cannot_be_read_here_harms_no_other_job(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.put(name="odd", trigger=CronTrigger("0 0 * * *", "Mars/Olympus"))
    stage.put()
    stage.pass_time(30)
    assert stage.slots == own(1)
    assert "slices_unreadable" in caplog.text


async def test_the_view_names_what_runs_and_what_comes(stage: Stage) -> None:
    stage.put()
    stage.pass_time(25)
    (job,) = stage.slices.view()
    hold_shape("SliceJob", job)
    assert job["job"] == "default/job"
    assert job["nodes"] == ["a", "b"]
    assert [each["slot"] for each in job["running"]] == own(1)
    assert stage.slices.is_ours(stage.supervisor.launched[0].run_id, own(1)[0])
    assert job["next"] is not None
