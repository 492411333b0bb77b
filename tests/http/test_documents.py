"""Whole job files: planned, applied, exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from peercron.errors import ConfigError
from peercron.http.documents import seed_command
from tests.http.conftest import Site

A = {"name": "a", "every": "1s", "shell": "true"}
B = {"name": "b", "schedule": "0 2 * * *", "shell": "true"}
FILE = {"version": 1, "owner": "ops", "jobs": [A, B]}


def actions(answer: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {change["job"]: change["action"] for change in answer["changes"]}


async def test_apply_creates_and_then_changes_nothing(site: Site) -> None:
    first = (await site.ask("POST", "/v1/apply", FILE)).json
    assert (first["changed"], actions(first)) == (2, {"default/a": "create", "default/b": "create"})
    revisions = {job["name"]: job["revision"] for job in (await site.get("/v1/jobs")).json["jobs"]}
    again = (await site.ask("POST", "/v1/apply", FILE)).json
    assert (again["changed"], actions(again)) == (0, {"default/a": "unchanged", "default/b": "unchanged"})
    assert {job["name"]: job["revision"] for job in (await site.get("/v1/jobs")).json["jobs"]} == revisions


async def test_plan_says_what_would_change_and_changes_nothing(site: Site) -> None:
    await site.ask("POST", "/v1/apply", FILE)
    index = site.node.state.index
    body = {"owner": "ops", "jobs": [A | {"every": "2s", "timeout": "5s"}]}
    plan = (await site.ask("POST", "/v1/plan?prune=1", body)).json
    assert plan["changes"] == [
        {"job": "default/a", "action": "update", "fields": {"every": ["1s", "2s"], "timeout": [None, "5s"]}},
        {"job": "default/b", "action": "delete"},
    ]
    assert site.node.state.index == index


async def test_plan_refuses_what_apply_would_refuse_and_in_the_same_words(site: Site) -> None:
    body = {"jobs": [B | {"calendar": {"exclude": ["holidays"]}}]}
    planned, applied = await site.ask("POST", "/v1/plan", body), await site.ask("POST", "/v1/apply", body)
    assert planned.status == applied.status == 422
    assert "there is no calendar holidays" in planned.json["detail"]
    assert {key: planned.json[key] for key in ("code", "detail")} == {
        key: applied.json[key] for key in ("code", "detail")
    }
    await site.ask("PUT", "/v1/calendars/holidays", {"days": ["sat"]})
    assert actions((await site.ask("POST", "/v1/plan", body)).json) == {"default/b": "create"}


async def test_prune_takes_only_what_the_owner_has(site: Site) -> None:
    await site.put_job("mine")
    await site.ask("POST", "/v1/apply", FILE)
    pruned = (await site.ask("POST", "/v1/apply?prune=1", {"owner": "ops", "jobs": [A]})).json
    assert actions(pruned) == {"default/a": "unchanged", "default/b": "delete"}
    assert {job["name"] for job in (await site.get("/v1/jobs")).json["jobs"]} == {"mine", "a"}
    refused = await site.ask("POST", "/v1/apply?prune=1", {"jobs": []})
    assert (refused.status, refused.json["errors"][0]["path"]) == (422, "owner")


async def test_all_or_nothing(site: Site) -> None:
    answer = await site.ask("POST", "/v1/apply", {"jobs": [A, B | {"schedule": "61 * * * *"}]})
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "jobs[1].schedule")
    assert (await site.get("/v1/jobs")).json["total"] == 0


async def test_a_pause_stays_unless_the_file_speaks_of_it(site: Site) -> None:
    await site.ask("POST", "/v1/apply", FILE)
    await site.ask("POST", "/v1/jobs/a:pause")
    await site.ask("POST", "/v1/apply", FILE)
    assert (await site.get("/v1/jobs/a")).json["paused"] is True
    resumed = (await site.ask("POST", "/v1/apply", {"owner": "ops", "jobs": [A | {"paused": False}, B]})).json
    assert resumed["changed"] == 1
    assert (await site.get("/v1/jobs/a")).json["paused"] is False
    await site.ask("POST", "/v1/apply", {"jobs": [A | {"name": "c", "paused": True}]})
    assert (await site.get("/v1/jobs/c")).json["paused"] is True


async def test_toml_is_taken_and_given(site: Site) -> None:
    text = 'owner = "ops"\n[[jobs]]\nname = "a"\nat = 2030-01-01T00:00:00Z\nshell = "true"\n'
    kind = {"Content-Type": "application/toml"}
    assert (await site.ask("POST", "/v1/apply", text, headers=kind)).json["changed"] == 1
    exported = await site.get("/v1/export?format=toml")
    assert exported.text == (
        'version = 1\nowner = "ops"\n\n[[jobs]]\nname = "a"\nat = "2030-01-01T00:00:00Z"\nshell = "true"\n'
    )
    assert (await site.get("/v1/export", headers={"Accept": "application/toml"})).text == exported.text
    assert (await site.ask("POST", "/v1/apply", exported.text, headers=kind)).json["changed"] == 0
    broken = await site.ask("POST", "/v1/apply", "a = = 1", headers=kind)
    assert (broken.status, "line 1" in broken.json["detail"]) == (400, True)


async def test_export_of_one_owner(site: Site) -> None:
    await site.ask("POST", "/v1/apply", FILE)
    await site.put_job("mine")
    exported = (await site.get("/v1/export?owner=ops")).json
    assert exported == FILE
    assert (await site.get("/v1/export?format=xml")).status == 400


def test_a_seed_is_for_a_cluster_without_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text('[[jobs]]\nname = "a"\nevery = "1s"\nshell = "true"\npaused = true\n')
    command = seed_command(path)
    assert ([d.name for d in command.definitions], command.only_if_empty, command.paused) == (
        ["a"],
        True,
        (("default/a", True),),
    )
    path.write_text("[[jobs]]\n")
    with pytest.raises(ConfigError, match="name: required"):
        seed_command(path)
