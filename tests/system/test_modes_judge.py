"""The judge of the modes finds each kind of fault in records that are fine but for that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from tests.system.modes_judge import JOB_HUNG, RULES, judge
from tests.system.modes_seen import WRONG_CLOCK, Hung, Job, Life, Phase, Seen

Row = dict[str, Any]
N1 = ("n1", "n2", "n3")
PHASES = (
    Phase("well", 0, 10_000, 0),
    Phase("killed", 10_000, 20_000, 13_000, "n1", "killed"),
    Phase("back (killed)", 20_000, 30_000, 22_500, joined_ms=21_500),
    Phase(JOB_HUNG, 30_000, 40_000, 30_000),
    Phase("well", 40_000, 45_000, 40_000),
)
LAST_MS, HUNG_SLOT_MS = 44_000, 32_000
QUORUMS = {"sync": "majority", "async": "any"}


class Records:
    """What an ideal cluster would have left behind of one job."""

    def __init__(self, mode: str, nodes: tuple[str, ...] = N1, misfire: str = "latest") -> None:
        self.nodes, self.tokens = nodes, count(10)
        self.job = Job(
            *(mode, mode, 1_000),
            to_ms=LAST_MS,
            paused_ms=LAST_MS + 1,
            misfire=misfire,
            quorum=QUORUMS.get(mode, "all"),
            order=nodes,
            failback_ms=1_000,
            slice_ms=5_000,
        )
        self.phases = list(PHASES)
        self.rows: list[Row] = []
        self.lives: list[Life] = []
        self.shards: dict[str, int] = {}
        self.hung: list[Hung] = []
        self.stalls: list[tuple[float, float]] = []
        self.line = list(nodes)
        for slot in range(0, LAST_MS + 1, 1_000):
            self._slot(slot)

    def _slot(self, slot: int) -> None:
        here = [node for node in self.nodes if node != "n1" or not 10_000 <= slot < 22_000]
        if self.job.mode == "slice":
            owner = self.nodes[slot // 5_000 % len(self.nodes)]
            lost = owner == "n1" and 10_000 < slot < 20_000
            here = [] if slot % 5_000 > 2_000 or lost else [owner]
        elif 2 * len(here) <= len(self.nodes) and self.job.misfire != "all":
            here = []
        if not here:
            self._row(slot, "missed", 0, None)
        elif HUNG_SLOT_MS < slot <= HUNG_SLOT_MS + 2_000 and self.job.mode not in {"sync", "async"}:
            self._row(slot, "skipped", 0, None)
        else:
            self._run(slot, here)

    def _run(self, slot: int, here: list[str]) -> None:
        mode, hangs = self.job.mode, slot == HUNG_SLOT_MS
        start = slot + 10.0
        if 2 * len(here) <= len(self.nodes) and mode != "slice":
            start = 20_500 + (slot - 10_000) / 9  # made up for
        if mode not in {"contend", "sync", "async", "rolling"}:
            node = self._whose(slot, here)
            life = self._life(slot, -1, node, start, hangs)
            self._row(slot, "timed_out" if hangs else "succeeded", life.token, node)
            return
        self.shards[f"u/{slot}"] = len(here)
        for n, node in enumerate(here[:1] if mode == "rolling" and hangs else here):
            at = start + 5 * n if mode in {"sync", "async"} else start + 110 * n + (2_500 if hangs and n else 0)
            life = self._life(slot, n, node, at, hangs and n == 0)
        timed_out = hangs and mode in {"contend", "rolling"}
        self._row(slot, "timed_out" if timed_out else "succeeded", life.token, life.node)

    def _whose(self, slot: int, here: list[str]) -> str:
        if self.job.mode == "turns":
            self.line = [node for node in self.line if node in here] + [node for node in here if node not in self.line]
            self.line.append(self.line.pop(0))
            return self.line[-1]
        return here[0] if self.job.mode != "standby" or not 22_000 <= slot < 24_000 else "n2"

    def _life(self, slot: int, shard: int, node: str, start: float, hangs: bool) -> Life:
        token = slot if self.job.mode == "slice" else next(self.tokens)
        life = Life(f"u/{slot}", shard, 1, token, node, start, start + (20 if hangs else 100), ended=not hangs)
        self.lives.append(life)
        if hangs:
            self.hung.append(Hung(self.job.name, life.run, token, start + 2_300))
        return life

    def _row(self, slot: int, outcome: str, token: int, node: str | None) -> None:
        why = "" if outcome == "succeeded" else "for a reason"
        self.rows.append(
            {"run": f"u/{slot}", "slot": slot, "outcome": outcome, "reason": why, "token": token, "node": node}
        )

    def faults(self) -> list[str]:
        name = self.job.name
        seen = Seen(
            *(self.nodes, 1_500, self.phases, [self.job], {name: "u"}, {name: self.rows}),
            lives=self.lives,
            shards=self.shards,
            hung=self.hung,
            stalls=self.stalls,
        )
        self.verdict = judge(seen)
        return [fault.text for fault in self.verdict.faults]

    def row(self, slot: int) -> Row:
        return next(row for row in self.rows if row["slot"] == slot)

    def life(self, slot: int, n: int = 0) -> Life:
        return [life for life in self.lives if life.slot_ms == slot][n]

    def more(self, life: Life, **changes: Any) -> None:
        self.lives.append(replace(life, **({"token": next(self.tokens) + 5_000} | changes)))


@pytest.mark.parametrize("mode", RULES)
def test_good_records_have_no_fault_and_every_phase_is_judged(mode: str) -> None:
    records = Records(mode)
    assert records.faults() == []
    assert {column for _, column in records.verdict.judged} == {phase.name for phase in PHASES}


@pytest.mark.parametrize(
    ("mode", "misfire"), [("single", "all"), ("turns", "latest"), ("standby", "skip"), ("slice", "skip")]
)
def test_two_nodes_of_which_one_is_lost_have_no_fault(mode: str, misfire: str) -> None:
    assert Records(mode, ("n1", "n2"), misfire).faults() == []


def test_a_run_that_takes_a_little_longer_has_the_next_slot_skipped() -> None:
    records = Records("contend")
    drop(records, 6_000), drop(records, 6_000), drop(records, 6_000)
    records.row(6_000).update(outcome="skipped", reason="u/5000 was still running")
    assert any("slot 6000 is skipped" in fault for fault in records.faults())
    put(records.life(5_000, 2), last_ms=6_150)
    assert records.faults() == []
    put(records.life(5_000, 2), last_ms=6_900)
    assert any("slot 6000 is skipped" in fault for fault in records.faults())


Change = Callable[[Records], object]


def put(what: Life, **changes: Any) -> Life:
    for name, value in changes.items():
        setattr(what, name, value)
    return what


def drop(records: Records, slot: int, n: int = 0) -> Life:
    records.lives.remove(life := records.life(slot, n))
    return life


#: Mode, what is changed, what is found.
FAULTS: list[tuple[str, Change, str]] = [
    ("single", lambda r: r.rows.remove(r.row(5_000)), "slot 5000 is not in the ledger"),
    ("single", lambda r: r.rows.append({**r.row(5_000), "run": "u/x"}), "slot 5000 is there 2 times"),
    ("single", lambda r: r.rows.append({**r.row(5_000), "run": "u/5500", "slot": 5_500}), "nobody asked for slot 5500"),
    ("single", lambda r: r.rows.append({**r.row(5_000), "run": "u/60000", "slot": 60_000}), "for slot 60000"),
    ("single", lambda r: r.rows.remove(r.row(5_000)), "no ledger knows it"),
    ("single", lambda r: r.row(5_000).update(outcome="skipped", reason="x"), "skipped, but it ran"),
    ("single", lambda r: r.row(33_000).update(reason=""), "nobody says why"),
    ("single", lambda r: r.row(5_000).update(outcome="failed"), "cannot fail"),
    ("single", lambda r: r.row(5_000).update(outcome="timed_out"), "nobody stopped them"),
    ("single", lambda r: put(r.life(5_000), start_ms=3_990), "started 1010 ms before its slot"),
    ("single", lambda r: put(r.life(5_000), ended=False), "never came to its end"),
    ("single", lambda r: r.row(5_000).update(token=7), "never came to its end"),
    ("single", lambda r: r.hung.__setitem__(0, replace(r.hung[0], died_ms=None)), "was alive after 2000 ms"),
    ("single", lambda r: r.hung.__setitem__(0, replace(r.hung[0], died_ms=36_500)), "was alive after 2000 ms"),
    ("single", lambda r: r.row(HUNG_SLOT_MS).update(outcome="lost"), "hung, and is lost"),
    ("single", lambda r: (drop(r, 15_000), r.row(15_000).update(outcome="missed")), "slot 15000 is missed"),
    ("single", lambda r: put(r.life(15_000), node="n1"), "was alive on n1 5010 ms after n1 was killed"),
    ("single", lambda r: put(r.life(9_000), last_ms=11_600), "was alive on n1 1500 ms after"),
    ("single", lambda r: put(r.life(5_000), last_ms=6_020), "was alive when u/6000 started"),
    ("single", lambda r: put(r.life(5_000), met=True), "met another one alive"),
    ("single", lambda r: put(r.life(5_000), token=5), "has token 5, and"),
    ("single", lambda r: put(r.life(5_000), token=r.life(6_000).token), "was granted to"),
    ("single", lambda r: r.more(r.life(5_000), start_ms=5_500), "attempt 1 came after attempt 1"),
    ("queue", lambda r: put(r.life(5_000), last_ms=6_020), "had u/5000 in its hands when it began u/6000"),
    ("queue", lambda r: r.more(r.life(5_000), node="n2", attempt=2, start_ms=5_100), "attempt 1 was alive when 2"),
    ("queue", lambda r: r.more(r.life(5_000), attempt=2, start_ms=5_500, met=True), "attempt 1 was alive when 2"),
    ("turns", lambda r: put(r.life(5_000), node=r.life(6_000).node), "turns of 3 nodes went to"),
    ("turns", lambda r: put(r.life(15_000), node=r.life(16_000).node), "turns of 2 nodes went to"),
    ("turns", lambda r: put(r.life(22_000), node="n1"), "not at the end"),
    ("turns", lambda r: [put(life, node="n2") for life in r.lives if life.slot_ms > 20_000], "and had no turn"),
    ("standby", lambda r: [put(life, node="n2") for life in r.lives], "it began on n2"),
    ("standby", lambda r: put(r.life(5_000), node="n3"), "n1 was not lost"),
    ("standby", lambda r: put(r.life(20_000), node="n1"), "sooner than after 1000 ms"),
    ("standby", lambda r: [put(life, node="n2") for life in r.lives if life.slot_ms > 20_000], "and the job did not"),
    ("slice", lambda r: put(r.life(5_000), node="n1"), "is n2's and ran on n1"),
    ("slice", lambda r: r.more(r.life(5_000), node="n1"), "ran 2 times"),
    ("slice", lambda r: put(r.life(2_000), last_ms=3_000), "out of its slice"),
    ("slice", lambda r: put(r.life(5_000), start_ms=4_900), "out of its slice"),
    ("slice", lambda r: (drop(r, 5_000), r.row(5_000).update(outcome="missed", reason="x")), "its owner n2 was there"),
    ("slice", lambda r: r.row(5_000).update(node="n3"), "its owner n2 was there"),
    ("slice", lambda r: r.row(15_000).update(outcome="lost"), "on its owner n1 (killed)"),
    ("slice", lambda r: r.more(r.life(2_000), run="u/15000", start_ms=15_010), "started on n1 (killed)"),
    ("contend", lambda r: drop(r, 5_000, 1), "ran on n1 n3 of n1 n2 n3"),
    ("contend", lambda r: put(r.life(5_000), last_ms=5_200), "was alive when"),
    ("contend-skip", lambda r: r.more(r.life(5_000), start_ms=5_500, node="n2"), "was done, and n2 started it"),
    ("contend-skip", lambda r: r.more(r.life(5_000), start_ms=5_002, ended=False), "ran on n1 n1 of"),
    ("sync", lambda r: put(r.life(5_000, 2), start_ms=5_600, last_ms=5_700), "its nodes started within 590 ms"),
    ("sync", lambda r: [put(r.life(5_000, n), ended=False) for n in (0, 1)], "succeeded with 1 of 3 shards"),
    ("sync", lambda r: r.row(5_000).update(outcome="lost"), "is lost with 3 of 3 shards"),
    ("sync", lambda r: put(r.life(5_000), node="n3"), "ran on n3 n2 n3 of"),
    ("async", lambda r: [put(life, ended=False) for life in r.lives if life.slot_ms == 5_000], "never came to its end"),
    ("async", lambda r: r.row(5_000).update(outcome="lost"), "is lost with 3 of 3 shards, quorum any"),
    ("async", lambda r: drop(r, 15_000), "ran on n3 of n2 n3"),
    ("rolling", lambda r: put(r.life(5_000, 1), ended=False), "succeeded with 2 of 3 shards, quorum all"),
    ("rolling", lambda r: put(r.life(5_000, 1), ended=False), "went on after a shard that came to no end"),
    ("rolling", lambda r: put(r.life(5_000), node="n3"), "which is not its order"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "change", "found"), FAULTS, ids=[f"{mode}: {found}" for mode, _, found in FAULTS])
def test_it_finds(mode: str, change: Change, found: str) -> None:
    records = Records(mode)
    change(records)
    assert any(found in fault for fault in records.faults()), records.faults()


#: Of two nodes, of which one is lost: mode, misfire policy, what is changed, what is found.
ALONE: list[tuple[str, str, Change, str]] = [
    (
        "single",
        "all",
        lambda r: (drop(r, 15_000), r.row(15_000).update(outcome="missed")),
        "6 of 7 slots of a time without",
    ),
    ("turns", "latest", lambda r: [r.row(at).update(outcome="succeeded") for at in (15_000, 16_000)], "2 of 7 slots"),
    ("standby", "skip", lambda r: r.row(16_000).update(outcome="succeeded"), "1 of 7 slots"),
    ("single", "all", lambda r: put(r.life(14_000), start_ms=14_010), "was alive on n2 4010 ms after n1 was killed"),
]


def test_it_finds_slices_of_a_node_whose_clock_is_wrong() -> None:
    records = Records("slice")
    records.phases[1] = replace(records.phases[1], how=WRONG_CLOCK)
    assert records.faults() == []
    records.more(records.life(2_000), run="u/15000", start_ms=15_010)
    assert any("started on n1 (wrong clock)" in fault for fault in records.faults())


def test_what_came_late_because_the_machine_stood_still_is_no_fault() -> None:
    records = Records("single")
    records.row(5_000).update(outcome="missed", reason="x")
    drop(records, 5_000)
    assert records.faults() == ["slot 5000 is missed (x) in phase well"]
    records.stalls = [(4_900.0, 5_300.0)]
    assert records.faults() == []


@pytest.mark.parametrize(("mode", "misfire", "change", "found"), ALONE)
def test_it_finds_what_runs_without_a_majority(mode: str, misfire: str, change: Change, found: str) -> None:
    records = Records(mode, ("n1", "n2"), misfire)
    change(records)
    assert any(found in fault for fault in records.faults()), records.faults()
