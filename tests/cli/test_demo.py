"""The judge of the demo, and what the demo refuses to play."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from peercron.cli.demo import play
from peercron.cli.demo.nodes import FIRST_PEER_PORT, make_nodes
from peercron.cli.demo.play import Play
from peercron.cli.demo.verdict import Asked, Verdict
from peercron.cli.failures import FAILED
from peercron.cli.root import cli

EVERY = Asked({"name": "a"}, every_ms=1_000)


def row(slot: int, **more: Any) -> dict[str, Any]:
    return {"slot": slot, "manual": False, "outcome": "succeeded", "attempts": 1, "node": "n1"} | more


def judged(rows: list[dict[str, Any]], asked: Asked = EVERY, kept: int = 1_000) -> Verdict:
    verdict = Verdict()
    verdict.judge(asked, rows, after_ms=1_500, through_ms=5_200, kept=kept)
    return verdict


def test_every_slot_once_is_well() -> None:
    verdict = judged(
        [row(2_000), row(3_000, attempts=2, node="n2"), row(4_000, outcome="missed", node=None), row(5_000)]
    )
    assert verdict.well
    assert (verdict.slots, verdict.second_attempts) == (4, 1)
    assert verdict.outcomes == {"succeeded": 3, "missed": 1}
    assert verdict.runs_of == {"n1": 2, "n2": 1}


def test_a_slot_that_is_not_there_is_missing() -> None:
    assert judged([row(2_000), row(4_000), row(5_000)]).missing == ["a 3000"]


def test_a_slot_that_is_there_twice_is_doubled() -> None:
    verdict = judged([row(2_000), row(3_000), row(3_000), row(4_000), row(5_000)])
    assert (verdict.doubled, verdict.well) == (["a 3000"], False)


def test_runs_by_hand_are_no_slots() -> None:
    assert judged([row(2_000), row(3_000), row(3_000, manual=True), row(4_000), row(5_000)]).well


def test_what_the_ledger_has_dropped_is_not_missing() -> None:
    assert judged([row(4_000), row(5_000)], kept=2).well


def test_slots_behind_the_end_are_allowed() -> None:
    assert judged([row(n * 1_000) for n in range(2, 8)]).well


def test_one_instant_is_one_slot() -> None:
    once = Asked({"name": "once"}, at_ms=3_000)
    assert judged([row(3_000)], once).well
    assert judged([], once).missing == ["once 3000"]
    assert judged([], Asked({"name": "once"}, at_ms=9_000)).well


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--nodes", "2", "--kill-leader-at", "1s"), "no majority is left of 2"),
        (("--for", "5s", "--kill-leader-at", "5s"), "must come before"),
        (("--nodes", "0"), "1<=x<=9"),
        (("--for", "soon"), "duration"),
    ],
)
def test_what_cannot_be_played_is_refused(args: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(cli, ["demo", *args])
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_taken_ports_are_walked_around(tmp_path: Path) -> None:
    try:
        held = socket.create_server(("127.0.0.1", FIRST_PEER_PORT))
    except OSError:
        held = None
    nodes = make_nodes(3, tmp_path)
    assert len({node.peer for node in nodes} | {node.http for node in nodes}) == 6
    assert f"127.0.0.1:{FIRST_PEER_PORT}" not in nodes[0].peers
    if held is not None:
        held.close()


def test_a_run_that_has_not_ended_is_named_and_is_not_missing() -> None:
    verdict = Verdict()
    run = {"job": "default/a", "slot": 3_000, "state": "queued", "reason": "no node that may run it is there"}
    verdict.leave([run])
    verdict.judge(EVERY, [row(2_000), row(4_000)], after_ms=1_500, through_ms=5_200, kept=1_000)
    assert verdict.unended == ["a 3000 queued: no node that may run it is there"]
    assert (verdict.missing, verdict.well) == (["a 5000"], False)


def test_the_demo_has_a_verdict_also_when_a_run_stays_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    demo = Play(nodes=3, for_s=None, kill_at_s=None, as_json=False, keep=False, line=lambda text="": said.append(text))
    monkeypatch.setattr(play, "SETTLE_S", 0)
    monkeypatch.setattr(Play, "_connection", lambda _: Cluster())
    verdict = demo._judge([EVERY], {"default/a": JOB})
    assert demo._sum_up(verdict) == FAILED
    assert said[-2:] == ["1 not ended: a 3000 queued: nobody is there", "the demo FAILED"]


JOB = {"namespace": "default", "name": "a", "uid": "1", "revision": 4, "created_at": "9999-01-01T00:00:00Z"}


def test_what_the_onlooker_has_done_is_told_and_not_judged() -> None:
    asked = [Asked({"name": name}, every_ms=1_000) for name in "abc"]
    before = {each.key: JOB for each in asked}
    verdict = Verdict()
    now = {"default/b": JOB, "default/c": JOB | {"revision": 9}, "default/mine": JOB, "ops/b": JOB}
    assert verdict.look(asked, before, now) == [asked[1]]
    assert verdict.well
    told = list(verdict.lines(["n1"]))
    assert told[2:5] == [
        "a was removed meanwhile, and is not judged",
        "c was changed meanwhile, and is not judged",
        "not judged, as it is yours, and ended as it was: mine, ops/b",
    ]


class Cluster:
    """It has one run, which stays queued."""

    def request(self, method: str, path: str, body: object = None, *, params: object = None) -> Any:
        run = {"job": "default/a", "slot": 3_000, "state": "queued", "reason": "nobody is there", "finished_at": None}
        ended = run | {"finished_at": "2026"}
        rows = {"runs": [run, ended], "jobs": [JOB | {"running": 0, "queued": 1}], "ledger": []}
        return SimpleNamespace(json=rows)
