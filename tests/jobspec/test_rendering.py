"""What is written out is read in as the same: export and apply change nothing."""

from __future__ import annotations

import json
import tomllib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.commands import ApplyJobs, PutJob
from peercron.core.job import Definition
from peercron.core.level import LEVEL
from peercron.core.state import ClusterState
from peercron.core.verdict import Done
from peercron.jobfile import to_toml
from peercron.jobspec import read_document, read_job, render_document, render_job
from tests.http.promises import hold_shape

SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@SLOW
@given(st.data())
def test_a_definition_comes_back(any_definitions: st.SearchStrategy, data: st.DataObject) -> None:
    for definition, paused in data.draw(any_definitions):
        table = json.loads(json.dumps(render_job(definition, paused=paused)))
        spec = read_job(table)
        assert (spec.definition, bool(spec.paused)) == (definition, paused)
        hold_shape("JobTable", table)


@SLOW
@given(st.data())
def test_export_then_apply_changes_nothing(any_definitions: st.SearchStrategy, data: st.DataObject) -> None:
    state = ClusterState(level=LEVEL)
    jobs: list[tuple[Definition, bool]] = data.draw(any_definitions)
    for definition, paused in jobs:
        verdict = apply(state, PutJob(definition, paused=paused), 1_000)
        # Who comes after a job that is not there is refused, and not exported.
        assert isinstance(verdict, Done) or definition.after
    before = dict(state.jobs)
    exported = tomllib.loads(to_toml(render_document((job.definition, job.paused) for job in state.jobs.values())))
    verdict = apply(state, ApplyJobs(read_document(exported).definitions), 2_000)
    assert verdict == Done(state.index, 0)
    assert state.jobs == before


def test_only_what_differs_from_the_defaults_is_written() -> None:
    table = {"name": "a", "every": "1s", "shell": "true"}
    assert render_job(read_job(table).definition) == table


def test_a_shared_owner_stands_once() -> None:
    definitions = read_document({"owner": "ops", "jobs": [{"name": n, "shell": "x"} for n in "ab"]}).definitions
    assert render_document((definition, False) for definition in definitions) == {
        "version": 1,
        "owner": "ops",
        "jobs": [{"name": "a", "shell": "x"}, {"name": "b", "shell": "x"}],
    }
