"""Routes of runs: list, read, cancel. A run's id has a slash in it, which may be written as it is or as %2F."""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiohttp import web

from peercron.core import views
from peercron.core.commands import CancelRun
from peercron.core.run import Run, RunState
from peercron.errors import RunNotFound
from peercron.http.answers import blocking_answer, json_answer
from peercron.http.asking import BLOCKING_PARAMETERS, Route, commit, fields_of_body, node_of, whole_number
from peercron.http.problems import BadRequest
from peercron.http.runlog import LOG_PARAMETERS, run_log
from peercron.sources import nearest


async def list_runs(request: web.Request) -> web.Response:
    """Runs that are alive or kept in full, over all jobs, the newest first."""
    node = node_of(request)
    limit = whole_number(request, "limit", 100, low=1, high=1_000)
    state_wanted, job_wanted = request.query.get("state"), request.query.get("job")
    if state_wanted is not None and state_wanted not in set(RunState):
        hint = nearest(state_wanted, [state.value for state in RunState])
        raise BadRequest("query.state", f"{state_wanted!r} is not the state of a run{hint}")
    key = job_wanted if job_wanted is None or "/" in job_wanted else f"default/{job_wanted}"

    def fits(run: Run) -> bool:
        return state_wanted in (None, run.state) and key in (None, run.job_key)

    def view() -> dict[str, Any]:
        runs = islice(filter(fits, reversed(node.state.runs.values())), limit)
        return {"runs": [views.run_view(node.state, run) for run in runs]}

    return await blocking_answer(request, view)


async def get_run(request: web.Request) -> web.Response:
    node, run_id = node_of(request), request.match_info["id"]

    def view() -> dict[str, Any]:
        found = views.find_run_view(node.state, run_id)
        if found is None:
            raise RunNotFound(run_id)
        return found

    return await blocking_answer(request, view)


async def cancel_run(request: web.Request) -> web.Response:
    """Asked of its node; the run ends when the node has stopped it."""
    await fields_of_body(request)
    run_id = request.match_info["id"]
    await commit(request, CancelRun(run_id))
    return json_answer(views.find_run_view(node_of(request).state, run_id), status=202)


ROUTES = (
    Route("GET", "/v1/runs", list_runs, BLOCKING_PARAMETERS | {"limit", "state", "job"}),
    Route("GET", "/v1/runs/{id:[^:]+}/log", run_log, LOG_PARAMETERS),
    Route("POST", "/v1/runs/{id:[^:]+}:cancel", cancel_run),
    Route("GET", "/v1/runs/{id:[^:]+}", get_run, BLOCKING_PARAMETERS),
)
