"""What a node finds wrong with its cluster and with itself."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from peercron.core.commands import CreateToken
from peercron.core.limits import CLOCK_BOUND_MS
from peercron.core.token import Scope
from peercron.http import vitals
from peercron.http.doctor import TOLD_PER_CHECK
from peercron.http.vitals import of_node
from peercron.meters import Readings
from tests.http.conftest import NOW_MS, Site


async def found(site: Site, scope: str = "node") -> dict[str, str]:
    """Check -> severity."""
    answer = await site.get(f"/v1/doctor?scope={scope}")
    assert answer.status == 200, answer.text
    return {finding["check"]: finding["severity"] for finding in answer.json["findings"]}


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with much room, whatever this machine has."""
    disk = os.statvfs("/")
    room = os.statvfs_result([disk.f_bsize, 4096, 1 << 30, 1 << 29, 1 << 29, *list(disk)[5:]])
    monkeypatch.setattr(vitals.os, "statvfs", lambda _: room)


async def test_a_node_that_is_well_finds_nothing_and_needs_no_quorum(site: Site) -> None:
    assert await found(site) == {}
    assert site.node.barriers == 0


async def test_the_cluster_is_looked_at_only_where_it_is_asked_for(site: Site) -> None:
    await site.put_job("lost", nodes=["nowhere"])
    assert await found(site) == {}
    assert await found(site, "all") == {"job_nowhere": "warning", "one_voter": "note"}
    answer = await site.get("/v1/doctor")
    head = {key: value for key, value in answer.json.items() if key != "findings"}
    assert head == {"node": "n1", "leader": "n1", "term": 7, "index": site.node.state.index}
    assert [finding["severity"] for finding in answer.json["findings"]] == ["warning", "note"], "the worst first"


async def test_one_check_does_not_flood_the_others(site: Site) -> None:
    for n in range(TOLD_PER_CHECK + 2):
        await site.put_job(f"lost-{n}", nodes=["nowhere"])
    findings = (await site.get("/v1/doctor")).json["findings"]
    alike = [finding for finding in findings if finding["check"] == "job_nowhere"]
    assert len(alike) == TOLD_PER_CHECK + 1
    assert (alike[-1]["where"], alike[-1]["what"]) == ("others", "2 more like this")


async def test_an_unknown_scope_is_refused_by_name(site: Site) -> None:
    answer = await site.get("/v1/doctor?scope=moon")
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, "query.scope")


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        (Readings(deviation_ms=CLOCK_BOUND_MS // 2, offsets_ms={"b": 1.0, "c": 1.0}), {}),
        (Readings(deviation_ms=CLOCK_BOUND_MS // 2 + 1, offsets_ms={"b": 1.0, "c": 1.0}), {"clock_off": "warning"}),
        (Readings(deviation_ms=-CLOCK_BOUND_MS - 1, offsets_ms={"b": 1.0, "c": 1.0}), {"clock_off": "critical"}),
        (Readings(offsets_ms={"b": 700.0}), {"clock_off": "warning"}),
        (Readings(leads=True, due_ms=NOW_MS - 10_000), {}),
        (Readings(leads=True, due_ms=NOW_MS - 10_001), {"planner_overdue": "critical"}),
        (Readings(leads=False, due_ms=NOW_MS - 10_001), {}),
    ],
)
async def test_clocks_and_what_is_overdue(site: Site, at: Readings, wanted: dict[str, str]) -> None:
    site.node.at = at
    assert await found(site) == wanted


@pytest.mark.parametrize(
    ("free", "wanted"),
    [
        (vitals.FREE_BYTES_MIN, {}),
        (vitals.FREE_BYTES_MIN - 4096, {"disk_full": "warning"}),
        (vitals.FREE_BYTES_CRITICAL - 4096, {"disk_full": "critical"}),
    ],
)
async def test_room_on_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch, free: int, wanted: dict[str, str]) -> None:
    blocks = free // 4096
    room = os.statvfs_result([4096, 4096, 1 << 30, blocks, blocks, 9, 9, 9, 0, 255])
    monkeypatch.setattr(vitals.os, "statvfs", lambda _: room)
    assert await found(site) == wanted


async def test_a_data_directory_that_is_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(vitals.os, "statvfs", gone)
    assert await found(site) == {"disk_unseen": "critical"}


async def test_a_disk_and_a_loop_are_slow_where_one_in_a_hundred_is(site: Site) -> None:
    meters = site.node.meters
    for _ in range(vitals.MEASURED_MIN - 1):
        meters.flush_s.observe(0.001)
        meters.lag_s.observe(0.001)
    meters.flush_s.observe(5.0)
    meters.lag_s.observe(5.0)
    assert await found(site) == {}
    meters.flush_s.observe(0.2)
    assert await found(site) == {"log_disk_slow": "warning"}
    meters.lag_s.observe(0.2)
    meters.snapshots["failed"] += 1
    assert await found(site) == {"log_disk_slow": "warning", "loop_late": "warning", "snapshot_failed": "note"}


async def test_too_few_measurements_say_nothing(site: Site) -> None:
    site.node.meters.flush_s.observe(5.0)
    assert await found(site) == {}


async def test_what_is_not_ready_is_told_once(site: Site) -> None:
    site.node.checks = [("leader", True, "n1"), ("session", False, "number 3"), ("clock", False, "off")]
    assert await found(site) == {"node_not_ready": "critical"}
    site.node.has_leader = False
    assert await found(site) == {}, "without a leader nobody has a session"


async def test_insecure_settings_are_told(site: Site) -> None:
    site.node.settings = replace(site.node.settings, warnings=("insecure: no secret",), durability="memory")
    assert await found(site) == {"insecure": "warning", "not_durable": "warning"}


async def test_a_node_that_lets_everybody_in_is_told_of_where_others_can_reach_it(site: Site) -> None:
    open_to_all = "HTTP has no access control in this version: who reaches it can run commands here"
    site.node.settings = replace(site.node.settings, http="10.0.0.1:8400", warnings=(open_to_all,))
    assert await found(site) == {"no_tokens": "warning"}
    await site.node.do(CreateToken("ops", bytes(32), (Scope.ADMIN,)))
    assert list(of_node(site.node, NOW_MS)) == []
