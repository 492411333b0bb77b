"""Backfills and the cluster's pause over HTTP and on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Shell, shell
from tests.http.conftest import Site

__all__ = ["shell"]  # a fixture
#: The site's clock stands at 2027-01-15T08:00:00Z.
RANGE = {"from": "2027-01-15T05:00:00Z", "to": "2027-01-15T07:30:00Z"}
SLOTS = [f"2027-01-15T0{hour}:00:00.000Z" for hour in (5, 6, 7)]


async def fill(site: Site, **more: Any) -> Any:
    return await site.ask("POST", "/v1/jobs/hello:backfill", RANGE | more)


async def test_a_range_is_made_up_for_once(site: Site) -> None:
    await site.put_job(every="1h")
    dry = await fill(site, dry_run=True)
    assert (dry.status, dry.json) == (200, {"job": "default/hello", "left_out": [], "slots": SLOTS, "runs": []})
    assert not site.node.state.runs
    made = await fill(site)
    assert (made.status, made.json["slots"], len(made.json["runs"])) == (202, SLOTS, 3)
    assert list(site.node.state.runs) == made.json["runs"]
    again = await fill(site)
    assert (again.status, again.json["slots"], again.json["left_out"]) == (200, [], SLOTS)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2027-01-15T07:40:00Z"}, "to"),
        ({"to": "2027-01-15T09:00:00Z"}, "to"),
        ({"from": "2027-01-15T07:10:00Z"}, "from"),
        ({"from": "2026-01-15T07:10:00Z"}, "to"),
        ({"untill": 1}, "untill"),
    ],
)
async def test_what_is_wrong_with_a_range_is_named(site: Site, more: dict[str, Any], path: str) -> None:
    await site.put_job(every="1h")
    answer = await fill(site, **more)
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, path)


async def test_a_range_before_all_dates_is_named(site: Site) -> None:
    await site.put_job(every="1h")
    for dry in (True, False):
        answer = await fill(site, **{"from": "0001-01-01T00:00:00+14:00", "to": "0001-01-02T00:00:00Z"}, dry_run=dry)
        assert (answer.status, answer.json["errors"][0]["path"]) == (422, "from")


async def test_the_cluster_is_paused_and_goes_on(site: Site) -> None:
    job = await site.put_job()
    assert (await site.ask("POST", "/v1/cluster:pause")).status == 200
    assert site.node.state.paused
    assert (await site.get("/v1/jobs/hello")).json["next"] is None
    assert (await site.ask("POST", "/v1/cluster:resume")).status == 200
    assert not site.node.state.paused
    assert job["paused"] is False


def test_on_the_command_line(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--every", "1h", "--shell", "true")
    args = ("job", "backfill", "hello", "--from", RANGE["from"], "--to", RANGE["to"])
    assert shell.ok(*args, "--dry-run").splitlines() == [*SLOTS, "3 slots would be run"]
    assert shell.ok(*args).splitlines()[-1] == "3 slots are run, one after the other"
    assert shell.ok(*args) == "0 slots are run, one after the other; 3 left out, which succeeded or are at work\n"
    assert "the cluster is paused" in shell.ok("pause")
    assert shell.ok("resume") == "the cluster goes on\n"
