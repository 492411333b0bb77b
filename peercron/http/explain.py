"""Route of explanations: why a job is running or is not."""

from __future__ import annotations

from aiohttp import web

from peercron.core.explain import explain
from peercron.core.token import Scope
from peercron.http.answers import json_answer
from peercron.http.asking import READ_PARAMETERS, Route, fresh
from peercron.http.jobs import JOB, find_job, job_key


async def explain_job(request: web.Request) -> web.Response:
    """Why a job is running or is not, as sentences for people, and whether each node may run it."""
    state = await fresh(request)
    return json_answer(explain(state, find_job(state, job_key(request))))


ROUTES = (Route("GET", f"{JOB}/explain", explain_job, Scope.READ, READ_PARAMETERS),)
