"""Leader, nodes and log played by dice: each slot is decided once, no run lives twice, and in the end all has ended."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from peercron.core import dispatcher, planner
from peercron.core.apply import apply
from peercron.core.commands import (
    AttemptFinished,
    AttemptReady,
    AttemptStarted,
    CancelRun,
    Command,
    Contend,
    DeleteJob,
    ExpireSession,
    OpenSession,
    PauseJob,
    PutJob,
    ResumeJob,
    RunJob,
)
from peercron.core.dispatcher import Announce, Ask, Forgo, Release, Start, Stop, TellReady, decide
from peercron.core.job import (
    CronTrigger,
    EveryTrigger,
    Guarantee,
    Losers,
    Misfire,
    MisfirePolicy,
    Mode,
    Overlap,
    Quorum,
)
from peercron.core.pace import Concurrency, Retry
from peercron.core.planner import Planner
from peercron.core.run import AttemptState
from peercron.core.schedule import slots_between
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused
from tests.core.builders import NOW, definition, info
from tests.core.invariants import History

#: Jobs that nobody edits: their ledgers are compared with their schedules.
STEADY = {
    "cron": definition("cron", trigger=CronTrigger("*/5 * * * * *"), overlap=Overlap.QUEUE_ALL),
    "each": definition("each", trigger=EveryTrigger(1_000), jitter_ms=500, retry=Retry(3, base_ms=700)),
    "once": definition("once", trigger=EveryTrigger(1_500), guarantee=Guarantee.AT_MOST_ONCE, overlap=Overlap.ALLOW),
    "all": definition("all", trigger=EveryTrigger(2_000), misfire=Misfire(MisfirePolicy.ALL), overlap=Overlap.REPLACE),
    "turns": definition("turns", trigger=EveryTrigger(2_500), mode=Mode.TURNS),
    "first": definition("first", trigger=EveryTrigger(2_500), mode=Mode.CONTEND, losers=Losers.SKIP),
    "each-in-turn": definition("each-in-turn", trigger=EveryTrigger(5_000), mode=Mode.CONTEND),
    "together": definition("together", trigger=EveryTrigger(3_000), mode=Mode.PARALLEL, sync=True),
    "rolling": definition("rolling", trigger=EveryTrigger(5_000), mode=Mode.PARALLEL, order=("c", "a", "b")),
    "mails": definition("mails", mode=Mode.QUEUE, queue="default/q", overlap=Overlap.ALLOW, concurrency=Concurrency(1)),
    "most": definition("most", trigger=EveryTrigger(4_000), mode=Mode.PARALLEL, sync=True, quorum=Quorum.MAJORITY),
}


@dataclass
class Node:
    name: str
    session: int = 1
    up: bool = True
    #: (run, token) -> its process is alive; False: it has ended and its report is on its way.
    running: dict[tuple[str, int], bool] = field(default_factory=dict)
    announced: set[tuple[str, int]] = field(default_factory=set)
    #: Prepared, and waiting for the barrier.
    held: set[tuple[str, int]] = field(default_factory=set)


class Play:
    def __init__(self, dice: Random) -> None:
        self.dice, self.now_ms = dice, NOW
        self.state, self.history = ClusterState(), History()
        self.nodes = [Node(name) for name in "abc"]
        self.log: list[Command] = []
        self.spawned: dict[str, int] = {}
        self.started_at: dict[str, int] = {}
        self.problems: list[str] = []
        for node in self.nodes:
            self.apply(OpenSession(info(node.name), 1))
        for steady in STEADY.values():
            self.apply(PutJob(steady))
        self.planner = Planner(self.state)

    def apply(self, command: Command) -> None:
        verdict = apply(self.state, command, self.now_ms)
        self.problems += self.history.violations(self.state)
        if isinstance(verdict, Refused) and verdict.code is Refusal.INTERNAL:
            self.problems.append(f"defect in {command}: {verdict.detail}")
        if hasattr(self, "planner"):
            # Now and then the answer is lost: the planner is told that nobody knows.
            self.planner.settle(command, verdict if self.dice.random() < 0.9 else None)

    def turn(self) -> None:
        self.dice.choice((
            self.pass_time, self.plan, self.plan, self.commit, self.commit, self.commit, self.commit,
            self.step_node, self.step_node, self.step_node, self.end_process, self.end_process,
            self.lose_or_repeat, self.change_leader, self.lose_node, self.return_node, self.meddle,
        ))()  # fmt: skip

    def pass_time(self) -> None:
        self.now_ms += self.dice.choice((0, 10, 100, 300, 300, 300, 1_000, 1_000, 1_000, self.long_ms()))

    def long_ms(self) -> int:
        """Nobody led for a while."""
        return self.dice.choice((1, 1, 1, 20_000))

    def plan(self) -> None:
        due_ms = self.planner.next_due_ms()
        commands = self.planner.plan(self.now_ms)
        if commands and (due_ms is None or due_ms > max(self.now_ms, self.state.now_ms)):
            self.problems.append(f"{commands} came before {due_ms}, when they were said to be due")
        self.log += commands

    def commit(self) -> None:
        """Mostly in order."""
        for _ in range(min(len(self.log), self.dice.randrange(1, 8))):
            self.apply(self.log.pop(0 if self.dice.random() < 0.8 else self.dice.randrange(len(self.log))))

    def lose_or_repeat(self) -> None:
        """A plan that was never committed, or was committed twice. Reports of nodes are retried until answered."""
        if not self.log:
            return
        command = self.dice.choice(self.log)
        if self.dice.random() < 0.5:
            self.log.append(command)
        elif not isinstance(command, AttemptFinished | AttemptStarted | OpenSession | ExpireSession):
            self.log.remove(command)
            self.planner.settle(command, None)

    def change_leader(self) -> None:
        """What the old leader proposed may yet be committed."""
        self.planner.close()
        self.planner = Planner(self.state, leading_since_ms=self.dice.choice((0, self.now_ms)))

    def lose_node(self) -> None:
        """It was cut off: its processes are dead before its session expires."""
        node = self.dice.choice(self.nodes)
        if node.up and self.dice.random() < 0.3:
            node.up, node.running = False, {}
            self.log.append(ExpireSession(f"id-{node.name}", node.session))

    def return_node(self) -> None:
        node = self.dice.choice(self.nodes)
        if not node.up:
            node.up, node.session = True, node.session + 1
            self.log.append(OpenSession(info(node.name), node.session))

    def step_node(self) -> None:
        node = self.dice.choice(self.nodes)
        if node.up:
            for instruction in decide(self.state, f"id-{node.name}", node.session, node.running):
                self.obey(node, instruction)

    def obey(self, node: Node, instruction: dispatcher.Instruction) -> None:
        match instruction:
            case Start(run, attempt, _, held=True):
                node.running[run.id, attempt.token] = True
                node.held.add((run.id, attempt.token))
            case TellReady(run_id, token):
                self.log.append(AttemptReady(run_id, token))
            case Release(run_id, token):
                if (run_id, token) in node.held:
                    node.held.remove((run_id, token))
                    self.started_at[run_id] = self.state.index
                    self.log.append(AttemptStarted(run_id, token, self.now_ms))
            case Ask(run_id):
                self.log.append(Contend(run_id, f"id-{node.name}", node.session))
            case Start(run, attempt, pinned):
                self.spawn(node, run.id, attempt.token, pinned.guarantee)
                self.log.append(AttemptStarted(run.id, attempt.token, self.now_ms))
            case Announce(run_id, token):
                if (run_id, token) not in node.announced:
                    node.announced.add((run_id, token))
                    self.log.append(AttemptStarted(run_id, token, self.now_ms))
            case Forgo(run_id, token):
                self.log.append(AttemptFinished(run_id, token, AttemptState.CANCELLED, self.now_ms))
            case Stop(run_id, token):
                self.report(node, (run_id, token), AttemptState.CANCELLED)

    def spawn(self, node: Node, run_id: str, token: int, guarantee: Guarantee) -> None:
        row = self.state.runs[run_id]
        one_at_a_time = row.definition and (row.definition.mode is Mode.CONTEND or row.definition.order)
        alone = row.parent if one_at_a_time else run_id
        alive = [
            other.name
            for other in self.nodes
            for key, is_alive in other.running.items()
            if (key[0].partition("#")[0] if one_at_a_time else key[0]) == alone and is_alive
        ]
        if alive:
            self.problems.append(f"run {run_id} is started on {node.name} while it lives on {alive}")
        self.spawned[run_id] = self.spawned.get(run_id, 0) + 1
        if guarantee is Guarantee.AT_MOST_ONCE and self.spawned[run_id] > 1:
            self.problems.append(f"run {run_id} was started {self.spawned[run_id]} times")
        node.running[run_id, token] = True

    def end_process(self) -> None:
        node = self.dice.choice(self.nodes)
        if node.running:
            ends = (AttemptState.SUCCEEDED, AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.LOST)
            self.report(node, self.dice.choice(list(node.running)), self.dice.choice(ends))

    def report(self, node: Node, key: tuple[str, int], outcome: AttemptState) -> None:
        if node.running[key]:
            node.running[key] = False
            self.log.append(AttemptFinished(*key, outcome, self.now_ms))
        elif not any(
            isinstance(command, AttemptFinished) and (command.run_id, command.token) == key for command in self.log
        ):
            del node.running[key]

    def meddle(self) -> None:
        """Users edit a job of their own, cancel and start runs, pause and resume."""
        key = f"default/{self.dice.choice(('mine', *STEADY))}"
        live = [run_id for line in self.state.live_runs.values() for run_id in line] or ["1/1"]
        edited = definition(
            "mine",
            trigger=EveryTrigger(self.dice.choice((1_000, 1_700))),
            overlap=self.dice.choice(tuple(Overlap)),
            guarantee=self.dice.choice(tuple(Guarantee)),
            nodes=self.dice.choice(((), ("a",), ("c",))),
            retry=self.dice.choice((Retry(), Retry(2, base_ms=3_000))),
        )
        self.log.append(self.dice.choice((
            PutJob(edited), PutJob(edited), DeleteJob("default/mine"), CancelRun(self.dice.choice(live)),
            RunJob(key), PauseJob(key), ResumeJob(key), ResumeJob(key),
        )))  # fmt: skip

    def settle_down(self) -> None:
        """Everybody is back, nobody meddles, time stands still but for runs that wait for theirs: what is due is done,
        and what runs ends.
        """
        self.log.append(ResumeJob("default/mails"))  # a paused job pulls nothing
        for _ in range(400):
            for node in self.nodes:
                self.dice = Random(1)
                if not node.up:
                    node.up, node.session = True, node.session + 1
                    self.log.append(OpenSession(info(node.name), node.session))
                for instruction in decide(self.state, f"id-{node.name}", node.session, node.running):
                    self.obey(node, instruction)
                for key in list(node.running):
                    self.report(node, key, AttemptState.SUCCEEDED)
            self.plan()
            due_ms = self.planner.next_due_ms()
            if not self.log and (due_ms is None or due_ms > self.now_ms):
                if due_ms is None or not any(run.not_before_ms for run in self.state.runs.values()):
                    return
                self.now_ms = due_ms
            while self.log:
                self.apply(self.log.pop(0))
        self.problems.append(f"it never comes to rest: {self.log}")

    def decided(self, uid: str, due: tuple[int, ...]) -> set[int]:
        """Slots of which the ledger has ever said something; some entries stand for all slots since an instant."""
        entries = [entry for entry in self.history.outcomes.values() if entry.run_id.startswith(f"{uid}/")]
        slots = {entry.slot_ms for entry in entries if entry.run_id.endswith(f"/{entry.slot_ms}")}
        for entry in entries:
            if since := re.search("stands for all before it since ([0-9]+)", entry.reason):
                slots |= {slot for slot in due if int(since[1]) < slot < entry.slot_ms}
        return slots

    def judge(self) -> list[str]:
        if self.state.live_runs:
            self.problems.append(f"runs are left: {self.state.live_runs}")
        for name, steady in STEADY.items():
            uid = self.state.job_uids[f"default/{name}"]
            due = slots_between(steady.trigger, NOW, self.state.cursors[uid].after_ms, uid, 10**6)
            if set(due) != self.decided(uid, due):
                self.problems.append(f"slots of {name} that were decided are not those that were due")
            if self.now_ms - self.state.cursors[uid].after_ms >= 5_000:
                self.problems.append(f"{name} stands still")
        return self.problems


def play(seed: int, turns: int = 1_000, scene: type[Play] = Play) -> list[str]:
    played = scene(Random(seed))
    for _ in range(turns):
        played.turn()
        if played.problems:
            return played.problems
    played.settle_down()
    return played.judge()


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 40))])
def test_slots_are_decided_once_and_runs_live_once(seed: int) -> None:
    assert play(seed) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_has_not_seen_every_job_yet_doubles_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "JOBS_SEEN_PER_PLAN_MAX", 1)
    assert play(seed) == []


class Fragile(Play):
    """Nodes come and go all the time."""

    def pass_time(self) -> None:
        super().pass_time()
        self.lose_node()
        self.return_node()


@pytest.mark.parametrize("seed", range(6))
def test_nodes_that_come_and_go_double_nothing(seed: int) -> None:
    assert play(seed, scene=Fragile) == []


def test_starting_before_the_announcement_is_committed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(state, run, token, here):  # type: ignore[no-untyped-def]
        return None if here or run.cancel_requested else Start(run, run.live_attempt, run.definition)

    monkeypatch.setattr(dispatcher, "_toward", hasty)
    assert any("was started 2 times" in problem for seed in range(40) for problem in play(seed, scene=Fragile))


class Sleepy(Play):
    """Now and then nobody leads for so long that not every slot can be listed."""

    def long_ms(self) -> int:
        return self.dice.choice((1, 20_000, 600_000, 2_000_000))


@pytest.mark.parametrize("seed", range(6))
def test_long_gaps_are_decided_once(seed: int) -> None:
    assert play(seed, turns=150, scene=Sleepy) == []


class Haunted(Play):
    """Nodes that are cut off let their processes live."""

    def lose_node(self) -> None:
        node = self.dice.choice(self.nodes)
        if node.up:
            node.up = False
            self.log.append(ExpireSession(f"id-{node.name}", node.session))


def test_processes_that_outlive_their_session_are_noticed() -> None:
    assert any("while it lives on" in problem for seed in range(20) for problem in play(seed, scene=Haunted))


def test_a_planner_that_forgets_a_slot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    step = planner.step

    def forgetful(*args):  # type: ignore[no-untyped-def]
        fire = step(*args)
        return replace(fire, slots=()) if len(fire.slots) == 1 and fire.slots[0] % 7_000 == 0 else fire

    monkeypatch.setattr(planner, "step", forgetful)
    assert any(play(seed) for seed in range(5))
