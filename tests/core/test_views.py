"""Views: the shapes that tools rely on, and digests that see every replicated row."""

from __future__ import annotations

import json
from dataclasses import fields
from random import Random

from peercron.core.apply import apply
from peercron.core.commands import DeleteJob, ExpireSession, PauseJob, RunJob
from peercron.core.level import default_of, late_fields
from peercron.core.restore import Stage
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState, Key
from peercron.core.views import (
    digest,
    digest_rows,
    find_run_view,
    instant,
    job_view,
    ledger_view,
    member_view,
    plain,
    run_view,
)
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    done,
    entries,
    finished,
    fire,
    fired,
    job,
    only_run,
    put,
    run_row,
    started,
)
from tests.core.chance import some_command

SLOT = NOW + SECOND


def test_instants_have_milliseconds_and_a_zone() -> None:
    assert instant(1_790_000_000_007) == "2026-09-21T14:13:20.007Z"
    assert instant(None) is None


def test_a_run_shows_its_attempts_by_the_names_of_their_nodes() -> None:
    state = cluster("a", "b")
    put(state)
    fired(state, SLOT)
    run = only_run(state)
    done(state, started(run))
    done(state, ExpireSession(attempt_of(run).member, 1))
    done(state, finished(only_run(state), AttemptState.FAILED, exit_code=3, output_tail="oops"))
    view = run_view(state, run_row(state, run.id))
    assert json.loads(json.dumps(view)) == view
    assert (view["id"], view["job"], view["slot"], view["state"]) == (run.id, "default/job", SLOT, "failed")
    assert (view["scheduled_for"], view["output_tail"]) == (instant(SLOT), "oops")
    first, second = view["attempts"]
    assert {first["node"], second["node"]} == {"a", "b"}
    assert (first["n"], first["token"], first["state"]) == (1, attempt_of(run).token, "lost")
    assert (second["exit_code"], second["finished_at"], second["started_at"]) == (3, instant(NOW), None)


def test_a_slot_that_got_no_run_can_be_looked_at_like_one() -> None:
    state = cluster("a")
    row = put(state)
    fired(state, SLOT)
    skipped = done(state, RunJob("default/job")).value
    view = find_run_view(state, str(skipped))
    assert view is not None
    assert (view["state"], view["job"], view["attempts"]) == ("skipped", "default/job", [])
    assert "still running" in view["reason"]
    assert find_run_view(state, only_run(state).id) == run_view(state, only_run(state))
    assert find_run_view(state, f"{row.uid}/1") is None
    assert find_run_view(state, "nonsense") is None
    done(state, DeleteJob("default/job"))
    assert find_run_view(state, str(skipped)) == view


def test_a_job_shows_its_definition_and_what_the_cluster_made_of_it() -> None:
    state = cluster("a")
    row = put(state)
    written = {"name": "job", "every": "1s"}
    assert job_view(state, row, written)["next"] is None
    done(state, fire(state, next_ms=SLOT))
    view = job_view(state, row, written)
    assert {key: view[key] for key in written} == written
    assert (view["uid"], view["revision"], view["paused"]) == (row.uid, row.revision, False)
    assert view["next"] == instant(SLOT)
    fired(state, SLOT)
    assert job_view(state, row, written)["running"] == 1
    done(state, PauseJob("default/job"))
    assert (job_view(state, job(state), written)["next"], job_view(state, job(state), written)["paused"]) == (
        None,
        True,
    )


def test_a_line_of_the_ledger_names_the_node_or_nobody() -> None:
    state = cluster("a")
    put(state)
    fired(state, SLOT)
    done(state, finished(only_run(state)))
    fired(state, SLOT + SECOND, SLOT + 2 * SECOND)
    made, missed = (ledger_view(state, entry) for entry in entries(state).values())
    assert (made["outcome"], made["node"], made["attempts"]) == ("succeeded", "a", 1)
    assert (missed["outcome"], missed["node"], missed["token"]) == ("missed", None, None)
    assert missed["scheduled_for"] == instant(SLOT + SECOND)


def test_a_member_shows_what_it_said_and_holds() -> None:
    state = cluster("a")
    put(state)
    fired(state, SLOT)
    view = member_view(state, state.members["id-a"])
    assert (view["name"], view["address"], view["role"], view["session"]) == ("a", "a:7400", "voter", 1)
    assert (view["open"], view["running"]) == (True, 1)


def random_state(seed: int) -> ClusterState:
    dice, state = Random(seed), ClusterState()
    for n in range(300):
        apply(state, some_command(dice, state), NOW + n * SECOND)
    return state


def test_digests_are_plain_data_in_an_order_that_is_always_the_same() -> None:
    state = random_state(1)
    rows = list(digest_rows(state))
    assert rows == list(digest_rows(random_state(1)))
    assert digest(state) == digest(random_state(1)) != digest(random_state(2))

    def is_plain(value: object) -> bool:
        if type(value) is tuple:
            return all(is_plain(item) for item in value)
        return type(value) in {int, str, bytes, bool, type(None)}

    assert all(is_plain(row) for row in rows)


def test_a_digest_sees_every_replicated_table() -> None:
    state = random_state(3)
    named = {row[0] for row in digest_rows(state)}
    replicated = [f.name for f in fields(ClusterState) if not f.metadata.get("transient")]
    unsaid = {field.name: default_of(field) for field in late_fields(ClusterState)}
    assert named == {name for name in replicated if getattr(state, name) not in ({}, unsaid.get(name, {}))}
    before = digest(state)
    state.changed_jobs = {"1": None}
    assert digest(state) == before
    for name in sorted(named):
        table, kept = getattr(state, name), digest(state)
        if isinstance(table, dict):
            last = next(reversed(table))
            gone = table.pop(last)
            assert digest(state) != kept, name
            table[last] = gone
        else:
            setattr(state, name, Stage("r", 1, 2, 3, 0, 4) if name == "stage" else table + type(table)(1))
            assert digest(state) != kept, name
            setattr(state, name, table)
        assert digest(state) == before


def test_a_digest_tells_rows_of_one_shape_apart() -> None:
    assert plain(Key(b"v", 1, 1)) == ("Key", b"v", 1, 1)
    one, other = ClusterState(), ClusterState()
    one.keys = {"a": {"b": Key(b"v", 1, 1)}}
    other.keys = {"a": {"b": Key(b"v", 1, 2)}}
    assert digest(one) != digest(other)
