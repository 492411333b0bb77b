"""Routes of whole job files: plan what one would change, apply it, and export what there is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from peercron.core import views
from peercron.core.apply.job import refusal_of_file
from peercron.core.commands import ApplyJobs
from peercron.core.job import Job
from peercron.core.level import objection
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import encoded, in_slices, json_answer
from peercron.http.asking import READ_PARAMETERS, Route, commit, fresh, json_body, switch
from peercron.http.problems import BadRequest
from peercron.jobfile import parse_jobs, read_jobs_file, to_toml
from peercron.jobspec import JobsDocument, JobSpec, read_document, render_head, render_job

TOML = "application/toml"


async def plan(request: web.Request) -> web.Response:
    """What `apply` of the same body would do; changes nothing. What that would be refused for, this is too."""
    document, prune = await _asked(request)
    state, command = await fresh(request), _command(document, prune)
    refused = refusal_of_file(state, command)
    if why := refused.detail if refused is not None else objection(state, command):
        raise Refused(refused.code.value if refused is not None else "unsupported", why)
    return json_answer({"changes": await in_slices(_changes(state, document, prune))})


async def apply(request: web.Request) -> web.Response:
    """All or nothing, in one command. ?prune=1 also deletes the other jobs of the document's owner."""
    document, prune = await _asked(request)
    changes = await in_slices(_changes(await fresh(request), document, prune))
    done = await commit(request, _command(document, prune))
    return json_answer({"changed": done.value, "changes": changes})


def _command(document: JobsDocument, prune: bool) -> ApplyJobs:
    return ApplyJobs(document.definitions, document.owner if prune else None, paused=_paused(document))


def seed_command(path: Path) -> ApplyJobs:
    """What --seed proposes: the jobs of a file, for a cluster that has none. ConfigError carries all problems."""
    document = read_document(read_jobs_file(str(path)))
    return ApplyJobs(document.definitions, only_if_empty=True, paused=_paused(document))


def _paused(document: JobsDocument) -> tuple[tuple[str, bool], ...]:
    return tuple((spec.key, spec.paused) for spec in document.specs if spec.paused is not None)


async def export(request: web.Request) -> web.Response:
    """Every job as one document that `apply` calls "no change"; as TOML with ?format=toml."""
    jobs = views.chosen_jobs(await fresh(request), request.query.get("namespace"), request.query.get("owner"))
    head = render_head(await in_slices(job.definition for job in jobs))
    tables = (render_job(job.definition, paused=job.paused, owner=head.get("owner", "")) for job in jobs)
    match request.query.get("format", "toml" if TOML in request.headers.get("Accept", "") else "json"):
        case "json":
            return json_answer(head | {"jobs": await in_slices(encoded(tables))})
        case "toml":
            texts = await in_slices(to_toml({"jobs": [table]}) for table in tables)
            return web.Response(text="".join([to_toml(head), *texts]), content_type=TOML, charset="utf-8")
        case other:
            raise BadRequest("query.format", f"{other!r}: must be json or toml")


async def _asked(request: web.Request) -> tuple[JobsDocument, bool]:
    # In a thread: thousands of jobs take their time, and the loop has other things to do.
    document = await asyncio.to_thread(read_document, await _body(request))
    prune = switch(request, "prune")
    if prune and not document.owner:
        # Jobs of nobody are everybody's: pruning them would take what others made by hand.
        raise ConfigError([Problem("owner", "required with prune, which deletes this owner's other jobs")])
    return document, prune


async def _body(request: web.Request) -> Any:
    if request.content_type != TOML:
        return await json_body(request)
    try:
        return await asyncio.to_thread(parse_jobs, (await request.read()).decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest("body", f"is not TOML: {error}") from None


def _changes(state: ClusterState, document: JobsDocument, prune: bool) -> Iterator[dict[str, Any]]:
    wanted = {spec.key: spec for spec in document.specs}
    for key, spec in wanted.items():
        uid = state.job_uids.get(key)
        yield {"job": key} | (_difference(state.jobs[uid], spec) if uid is not None else {"action": "create"})
    for job in tuple(state.jobs.values()) if prune else ():
        if job.definition.owner == document.owner and job.key not in wanted:
            yield {"job": job.key, "action": "delete"}


def _difference(job: Job, spec: JobSpec) -> dict[str, Any]:
    """The keys of jobs.toml that would change, each with what it is and what it would be (null: not written)."""
    paused = job.paused if spec.paused is None else spec.paused
    before, after = render_job(job.definition, paused=job.paused), render_job(spec.definition, paused=paused)
    keys = sorted(key for key in before | after if before.get(key) != after.get(key))
    fields = {key: [before.get(key), after.get(key)] for key in keys}
    return {"action": "update", "fields": fields} if fields else {"action": "unchanged"}


ROUTES = (
    Route("POST", "/v1/plan", plan, Scope.READ, READ_PARAMETERS | {"prune"}),
    Route("POST", "/v1/apply", apply, Scope.JOBS, READ_PARAMETERS | {"prune"}),
    Route("GET", "/v1/export", export, Scope.READ, READ_PARAMETERS | {"namespace", "owner", "format"}),
)
