"""Jobs in slices over HTTP: whose the coming slots are, and what a node knows of its own."""

from __future__ import annotations

from peercron.core.commands import RecordSlices
from peercron.core.run import RunState
from peercron.core.slices import SliceEntry
from tests.http.conftest import NOW_MS, Site

TURN = {"name": "turn", "every": "10s", "shell": "true", "mode": "slice", "slice": "10s", "nodes": ["n1", "x"]}


async def test_the_coming_slots_say_whose_they_are(site: Site) -> None:
    for more in ({}, {"name": "filled", "on_absent": "fill"}):
        assert (await site.ask("POST", "/v1/jobs", TURN | more)).status == 201
        coming = (await site.get(f"/v1/jobs/{(TURN | more)['name']}/next?n=4")).json["next"]
        owners = [["n1", "x"][slot["slot"] // 10_000 % 2] for slot in coming]
        assert [slot["node"] for slot in coming] == owners
        assert set(owners) == {"n1", "x"}


async def test_the_coming_slots_say_which_the_guard_band_takes(site: Site) -> None:
    await site.ask("POST", "/v1/jobs", TURN | {"every": "2s"})
    for slot in (await site.get("/v1/jobs/turn/next?n=10")).json["next"]:
        left_ms = 10_000 - slot["slot"] % 10_000
        assert ("left_out" in slot) == (left_ms == 2_000)
        assert slot.get("left_out", "").startswith("2000 ms are left of its slice then" if left_ms == 2_000 else "")
    await site.ask("POST", "/v1/jobs", TURN | {"name": "filled", "every": "2s", "on_absent": "fill"})
    assert "left_out" not in str((await site.get("/v1/jobs/filled/next?n=10")).json)


async def test_a_job_that_no_leader_steps_has_a_next_slot_too(site: Site) -> None:
    await site.ask("POST", "/v1/jobs", TURN)
    coming = (await site.get("/v1/jobs/turn/next?n=1")).json["next"][0]["scheduled_for"]
    assert (await site.get("/v1/jobs/turn")).json["next"] == coming
    assert (await site.get("/v1/jobs")).json["jobs"][0]["next"] == coming
    await site.ask("POST", "/v1/jobs/turn:pause")
    assert (await site.get("/v1/jobs/turn")).json["next"] is None


async def test_what_nodes_do_not_do_by_themselves_is_refused_with_its_reason(site: Site) -> None:
    await site.ask("POST", "/v1/jobs", TURN)
    run = await site.ask("POST", "/v1/jobs/turn:run")
    assert run.json["code"] == "invalid"
    assert "nobody can run it in between" in run.json["detail"]
    other = await site.ask("PUT", "/v1/jobs/turn", TURN | {"on_absent": "fill"})
    assert other.status in {400, 422}
    assert "fencing tokens" in str(other.json)


async def test_a_slice_that_was_told_is_a_run_like_any_other(site: Site) -> None:
    await site.ask("POST", "/v1/jobs", TURN)
    state = site.node.state
    uid = state.job_uids["default/turn"]
    entry = SliceEntry(NOW_MS, RunState.FAILED, "exit code 3", NOW_MS + 1, NOW_MS + 9, 3, "out")
    await site.node.do(RecordSlices("n1", uid, (entry,), NOW_MS))
    (run,) = (await site.get("/v1/jobs/turn/runs")).json["runs"]
    assert (run["state"], run["reason"], run["output_tail"]) == ("failed", "exit code 3", "out")
    (attempt,) = run["attempts"]
    assert (attempt["node"], attempt["token"], attempt["exit_code"]) == ("n1", NOW_MS, 3)
    (row,) = (await site.get("/v1/jobs/turn/ledger")).json["ledger"]
    assert (row["outcome"], row["node"], row["token"]) == ("failed", "n1", NOW_MS)


async def test_a_node_tells_what_it_knows_of_its_own_slices_without_a_leader(site: Site) -> None:
    site.node.has_leader = False
    everything = (await site.get("/v1/slices")).json
    assert [job["job"] for job in everything["jobs"]] == ["default/a", "ops/b"]
    assert [job["job"] for job in (await site.get("/v1/slices?job=a")).json["jobs"]] == ["default/a"]
    assert (await site.get("/v1/slices?job=ops%2Fb")).json["jobs"] == [everything["jobs"][1]]
    assert (await site.get("/v1/slices?job=nobody")).json["jobs"] == []
    assert (await site.get("/v1/slices?jobs=a")).status == 400
