"""Routes of jobs."""

from __future__ import annotations

import pytest

from peercron.core.commands import Fire
from peercron.core.history import entries_of
from tests.http.conftest import NOW_MS, Site

HELLO = {"name": "hello", "every": "1s", "shell": "echo hello"}


async def test_a_job_is_created_and_read(site: Site) -> None:
    created = await site.ask("POST", "/v1/jobs", HELLO)
    assert created.status == 201
    assert created.headers["Location"] == "/v1/jobs/default%2Fhello"
    read = await site.get("/v1/jobs/hello")
    assert read.json == created.json
    assert read.headers["ETag"] == created.headers["ETag"] == f'"{read.json["revision"]}"'
    expected = {"name": "hello", "namespace": "default", "key": "default/hello", "every": "1s", "shell": "echo hello"}
    assert expected.items() <= read.json.items()
    assert (await site.get(created.headers["Location"])).json == read.json


async def test_a_name_is_taken_once(site: Site) -> None:
    await site.ask("POST", "/v1/jobs", HELLO)
    again = await site.ask("POST", "/v1/jobs", HELLO)
    assert (again.status, again.json["code"]) == (409, "conflict")


async def test_a_job_in_a_namespace(site: Site) -> None:
    answer = await site.ask("PUT", "/v1/jobs/reports%2Fnightly", {"every": "1s", "shell": "true"})
    assert (answer.status, answer.json["key"]) == (201, "reports/nightly")
    assert (await site.get("/v1/jobs/reports%2Fnightly")).status == 200
    assert (await site.get("/v1/jobs/nightly")).status == 404


async def test_put_replaces_and_an_unchanged_one_changes_nothing(site: Site) -> None:
    first = await site.ask("PUT", "/v1/jobs/hello", HELLO)
    same = await site.ask("PUT", "/v1/jobs/hello", HELLO)
    changed = await site.ask("PUT", "/v1/jobs/hello", HELLO | {"every": "2s"})
    assert [answer.status for answer in (first, same, changed)] == [201, 200, 200]
    assert first.json["revision"] == same.json["revision"] < changed.json["revision"]


async def test_what_was_read_can_be_sent_back(site: Site) -> None:
    await site.put_job()
    view = (await site.get("/v1/jobs/hello")).json
    back = await site.ask("PUT", "/v1/jobs/hello", view)
    assert (back.status, back.json["revision"]) == (200, view["revision"])


async def test_if_match_guards_against_overwriting_others(site: Site) -> None:
    revision = (await site.put_job())["revision"]
    stale = await site.ask("PUT", "/v1/jobs/hello", HELLO, headers={"If-Match": f'"{revision - 1}"'})
    assert (stale.status, stale.json["code"]) == (412, "conflict")
    fine = await site.ask("PUT", "/v1/jobs/hello", HELLO, headers={"If-Match": f'"{revision}"'})
    assert fine.status == 200
    again = await site.ask("PUT", "/v1/jobs/hello", HELLO, headers={"If-None-Match": "*"})
    assert again.status == 412
    nonsense = await site.ask("DELETE", "/v1/jobs/hello", headers={"If-Match": "yesterday"})
    assert (nonsense.status, nonsense.json["errors"][0]["path"]) == (400, "header.If-Match")


async def test_the_name_of_the_path_and_of_the_body_are_one(site: Site) -> None:
    answer = await site.ask("PUT", "/v1/jobs/other", HELLO)
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "name")


async def test_patch_merges(site: Site) -> None:
    await site.put_job(timeout="5s", user="www-data")
    patched = await site.ask("PATCH", "/v1/jobs/hello", {"timeout": "7s", "user": None})
    assert patched.status == 200
    assert patched.json["timeout"] == "7s"
    assert "user" not in patched.json
    paused = await site.ask("PATCH", "/v1/jobs/hello", {"paused": True})
    assert paused.json["paused"] is True
    assert (await site.ask("PATCH", "/v1/jobs/none", {})).status == 404


async def test_patch_keeps_to_the_revision_it_was_asked_for(site: Site) -> None:
    revision = (await site.put_job())["revision"]
    stale = await site.ask("PATCH", "/v1/jobs/hello", {"timeout": "7s"}, headers={"If-Match": f'"{revision + 9}"'})
    assert stale.status == 412


async def test_every_problem_comes_with_its_path(site: Site) -> None:
    answer = await site.ask("POST", "/v1/jobs", {"name": "a b", "shedule": "x", "notify": {}, "shell": "x"})
    assert answer.status == 422
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    errors = {error["path"]: error["message"] for error in answer.json["errors"]}
    assert "did you mean schedule?" in errors["shedule"]
    assert errors["notify"] == "not supported by this version"


async def test_delete(site: Site) -> None:
    await site.put_job()
    assert (await site.ask("DELETE", "/v1/jobs/hello")).json["deleted"] == "default/hello"
    gone = await site.ask("DELETE", "/v1/jobs/hello")
    assert (gone.status, gone.json["code"]) == (404, "not_found")
    assert (await site.get("/v1/jobs/hello")).json["detail"] == "there is no job default/hello"


async def test_list_with_pages_and_filters(site: Site) -> None:
    for n in range(5):
        await site.put_job(f"j{n}", owner="ops" if n % 2 else "me")
    listed = (await site.get("/v1/jobs")).json
    assert ([job["name"] for job in listed["jobs"]], listed["total"]) == (["j0", "j1", "j2", "j3", "j4"], 5)
    page = (await site.get("/v1/jobs?limit=2&offset=3")).json
    assert [job["name"] for job in page["jobs"]] == ["j3", "j4"]
    assert [job["name"] for job in (await site.get("/v1/jobs?owner=ops")).json["jobs"]] == ["j1", "j3"]
    assert (await site.get("/v1/jobs?namespace=other")).json["jobs"] == []


async def test_run_pause_resume(site: Site) -> None:
    await site.put_job(overlap="forbid")
    run = await site.run_job()
    assert (run["job"], run["state"], run["manual"]) == ("default/hello", "running", True)
    second = await site.run_job()
    assert second["state"] == "skipped"
    assert (await site.ask("POST", "/v1/jobs/hello:pause")).json["paused"] is True
    assert (await site.ask("POST", "/v1/jobs/hello:resume", {})).json["paused"] is False
    assert (await site.ask("POST", "/v1/jobs/none:run")).status == 404
    refused = await site.ask("POST", "/v1/jobs/hello:run", {"now": True})
    assert (refused.status, refused.json["errors"][0]["path"]) == (422, "now")


async def test_runs_of_a_job_newest_first(site: Site) -> None:
    await site.put_job(overlap="allow")
    ids = [(await site.run_job())["id"] for _ in range(3)]
    await site.node.finish_attempt(ids[0])
    runs = (await site.get("/v1/jobs/hello/runs")).json["runs"]
    assert [run["id"] for run in runs] == [ids[2], ids[1], ids[0]]
    assert len((await site.get("/v1/jobs/hello/runs?limit=1")).json["runs"]) == 1


async def test_next_slots_in_the_zone_of_the_job(site: Site) -> None:
    await site.put_job("daily", every=None, schedule="0 2 * * *", timezone="Europe/Berlin")
    answer = (await site.get("/v1/jobs/daily/next?n=2&from=2027-03-27T12:00:00Z")).json
    # The clock change: 02:00 does not exist, and the slot is right after the gap.
    assert [slot["local"] for slot in answer["next"]] == ["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"]
    assert answer["timezone"] == "Europe/Berlin"


async def test_next_slots_from_now(site: Site) -> None:
    await site.put_job()
    answer = (await site.get("/v1/jobs/hello/next")).json
    assert [slot["slot"] for slot in answer["next"]] == [NOW_MS + 1_000 * n for n in range(1, 6)]


async def test_what_never_comes_has_no_next_slot(site: Site) -> None:
    await site.put_job("once", every=None, at="2020-01-01T00:00:00Z")
    assert (await site.get("/v1/jobs/once/next")).json["next"] == []


async def test_slots_that_no_date_can_show_are_none(site: Site) -> None:
    await site.put_job(every="1h")
    for late in ("9999-12-31T23:00:00Z", "253402300799999", "999999999999999"):
        assert (await site.get(f"/v1/jobs/hello/next?from={late}")).json["next"] == []
    last = (await site.get("/v1/jobs/hello/next?from=9999-12-31T21:30:00Z")).json["next"]
    assert all(slot["local"].startswith("9999-12-31T2") for slot in last)
    early = (await site.get("/v1/jobs/hello/next?n=1&from=0001-01-01T00:00:00%2B14:00")).json["next"]
    assert early[0]["scheduled_for"].startswith("1970-01-01T0")


async def fire(site: Site, uid: str, *slots: int) -> None:
    state = site.node.state
    after_ms, revision = state.cursors[uid].after_ms, state.jobs[uid].revision
    state.now_ms = slots[-1]
    await site.node.do(Fire(uid, revision, after_ms, slots, slots[-1], -1))


async def test_the_ledger_whole_and_in_parts(site: Site) -> None:
    job = await site.put_job(overlap="allow", misfire={"policy": "all", "max": 100, "window": "4w"})
    slots = [NOW_MS + 1_000 * n for n in range(1, 21)]
    await fire(site, job["uid"], *slots)
    for run_id in tuple(site.node.state.runs):
        if site.node.state.runs[run_id].attempts:
            await site.node.finish_attempt(run_id)
    recorded = {entry.slot_ms for entry in entries_of(site.node.state, job["uid"])}
    assert recorded
    whole = (await site.get("/v1/jobs/hello/ledger")).json
    assert whole["job"] == "default/hello"
    assert {row["slot"] for row in whole["ledger"]} == recorded
    assert all(row["outcome"] for row in whole["ledger"])
    low = min(recorded)
    part = (await site.get(f"/v1/jobs/hello/ledger?from={low}&to={low}")).json["ledger"]
    assert [row["slot"] for row in part] == [low]
    assert (await site.get("/v1/jobs/hello/ledger?to=2020-01-01T00:00:00%2B01:00")).json["ledger"] == []
    assert (await site.get("/v1/jobs/hello")).json["last"]["outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("n=x", "query.n"),
        ("n=0", "query.n"),
        ("n=1000", "query.n"),
        ("from=yesterday", "query.from"),
        ("form=1", "query.form"),
        ("consistency=weak", "query.consistency"),
    ],
)
async def test_bad_parameters_are_named(site: Site, query: str, path: str) -> None:
    await site.put_job()
    answer = await site.get(f"/v1/jobs/hello/next?{query}")
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, path)


@pytest.mark.parametrize("body", ["[]", '"x"', "7", "null"])
async def test_a_job_is_an_object(site: Site, body: str) -> None:
    answer = await site.ask("PUT", "/v1/jobs/hello", body, headers={"Content-Type": "application/json"})
    assert answer.status == 422


async def test_a_standby_job_shows_whose_it_is_and_goes_back_on_request(site: Site) -> None:
    body = HELLO | {"mode": "standby", "nodes": ["n1", "n2"], "failback": "manual", "failback_after": "5m"}
    created = (await site.ask("PUT", "/v1/jobs/hello", body)).json
    assert body.items() <= created.items()
    assert created["incumbent"] is None
    back = await site.ask("POST", "/v1/jobs/hello:failback", {})
    assert (back.status, back.json["incumbent"]) == (200, "n1")
    assert (await site.ask("POST", "/v1/jobs/hello:failback", {})).status == 409
    assert (await site.ask("PUT", "/v1/jobs/hello", back.json)).json["revision"] == created["revision"]


async def test_a_job_that_goes_in_turns_shows_its_line(site: Site) -> None:
    created = (await site.ask("PUT", "/v1/jobs/hello", HELLO | {"mode": "turns"})).json
    assert (created["mode"], created["line"]) == ("turns", ["n1"])
    run = (await site.ask("POST", "/v1/jobs/hello:run", {})).json
    assert run["attempts"][0]["why"] == "alone in the line"
