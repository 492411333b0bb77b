"""Routes of runs: list, read, cancel, retry; and what only a run itself may say.

A run's id has a slash in it, which may be written as it is or as %2F.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from peercron.core import history, views
from peercron.core.commands import CancelRun, Checkpoint, RunJob
from peercron.core.run import Run, RunState
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem, RunNotFound
from peercron.http.answers import blocking_answer, in_slices, json_answer
from peercron.http.asking import BLOCKING_PARAMETERS, Route, commit, fields_of_body, node_of, whole_number
from peercron.http.fields import integral
from peercron.http.guard import check_pass
from peercron.http.problems import BadRequest
from peercron.http.runlog import LOG_PARAMETERS, run_log
from peercron.sources import nearest


async def list_runs(request: web.Request) -> web.Response:
    """Runs of a job that are alive or kept in full, or the newest over all jobs; the newest first."""
    node = node_of(request)
    limit = whole_number(request, "limit", 100, low=1, high=1_000)
    state_wanted, job_wanted = request.query.get("state"), request.query.get("job")
    if state_wanted is not None and state_wanted not in set(RunState):
        hint = nearest(state_wanted, [state.value for state in RunState])
        raise BadRequest("query.state", f"{state_wanted!r} is not the state of a run{hint}")
    key = job_wanted if job_wanted is None or "/" in job_wanted else f"default/{job_wanted}"

    async def view() -> dict[str, Any]:
        state = node.state
        runs = history.recent_runs(state) if key is None else iter(_runs_of(state, key))
        shown = [run for run in await in_slices(_chosen(runs, state_wanted, limit)) if run is not None]
        return {"runs": [views.run_view(state, run) for run in shown]}

    return await blocking_answer(request, view)


def _runs_of(state: ClusterState, key: str) -> list[Run]:
    """Of the job that has this key, and of those that had it and are deleted."""
    deleted = [uid for uid, its_key in reversed(state.deleted_jobs.items()) if its_key == key]
    uids = [state.job_uids[key], *deleted] if key in state.job_uids else deleted
    return [run for uid in uids for run in history.runs_of(state, uid)]


def _chosen(runs: Iterator[Run], state_wanted: str | None, limit: int) -> Iterator[Run | None]:
    """As many as are wanted, and a None for each that was looked at in vain: a pause may be due there too."""
    for run in runs:
        fits = state_wanted in (None, run.state)
        yield run if fits else None
        limit -= fits
        if not limit:
            return


async def get_run(request: web.Request) -> web.Response:
    """One run, or what is left of it: of a slot that got none, or long ago, what the ledger knows."""
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


async def retry_run(request: web.Request) -> web.Response:
    """Do the work of a run that has ended, or of a slot that got none, once more: a run by hand for the same slot, with
    the same params. The outcome of the first one stays.
    """
    await fields_of_body(request)
    state, run_id = node_of(request).state, request.match_info["id"]
    found = views.find_run_view(state, run_id)
    if found is None:
        raise RunNotFound(run_id)
    done = await commit(request, RunJob(found["job"], again=run_id))
    view = views.find_run_view(state, str(done.value))
    return json_answer(view, status=202)


async def checkpoint(request: web.Request) -> web.Response:
    """Keep something for the next attempt, if there has to be one: {"token": the attempt's token, "data": any JSON}."""
    body = await fields_of_body(request, "token", "data")
    token = integral(body.get("token"))
    if "data" not in body or type(token) is not int:
        raise ConfigError([Problem("", "must be an object with a whole number `token` and some `data`")])
    run_id = check_pass(request, request.match_info["id"], token)
    done = await commit(request, Checkpoint(run_id, token, msgspec.json.encode(body["data"])))
    return json_answer({"run": run_id, "token": done.value})


ROUTES = (
    Route("GET", "/v1/runs", list_runs, Scope.READ, BLOCKING_PARAMETERS | {"limit", "state", "job"}),
    Route("GET", "/v1/runs/{id:[^:]+}/log", run_log, Scope.READ, LOG_PARAMETERS),
    Route("POST", "/v1/runs/{id:[^:]+}:cancel", cancel_run, Scope.RUN),
    Route("POST", "/v1/runs/{id:[^:]+}:retry", retry_run, Scope.RUN),
    Route("POST", "/v1/runs/{id:[^:]+}:checkpoint", checkpoint, None),
    Route("GET", "/v1/runs/{id:[^:]+}", get_run, Scope.READ, BLOCKING_PARAMETERS),
)
