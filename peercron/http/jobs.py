"""Routes of jobs: create, read, replace, patch, delete, run, pause, resume; their next slots, runs and ledger."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from peercron.core import views
from peercron.core.calendar import left_out
from peercron.core.commands import DeleteJob, FailBack, PauseJob, PutJob, ResumeJob, RunJob
from peercron.core.history import entries_of, last_entry, runs_of
from peercron.core.job import CronTrigger, Job, Mode
from peercron.core.limits import INSTANT_MS_MAX, LEDGER_KEPT_PER_JOB
from peercron.core.roster import owner
from peercron.core.schedule import next_slot
from peercron.core.slice_duty import bound_to_miss
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import ConfigError, JobNotFound, Problem
from peercron.http.answers import blocking_answer, encoded, in_slices, json_answer
from peercron.http.asking import (
    BLOCKING_PARAMETERS,
    CLOCK,
    READ_PARAMETERS,
    Route,
    commit,
    fields_of_body,
    fresh,
    if_revision,
    instant_ms,
    json_body,
    node_of,
    whole_number,
)
from peercron.jobspec import JobSpec, read_job, read_params, render_job

#: One job; no name has a colon, behind which stands what is to be done with it.
JOB = "/v1/jobs/{name:[^/:]+}"
NEXT_SLOTS_MAX = 100
JOBS_LISTED = 1_000
JOBS_LISTED_MAX = 10_000
#: What a view adds to the definition. A view that was read, edited and sent back is taken; these are not the sender's.
ADDED = frozenset(
    {"uid", "key", "revision", "created_at", "updated_at", "next", "running", "queued", "last", "incumbent", "line"}
)  # fmt: skip


def job_key(request: web.Request) -> str:
    """The key in the path: a bare name is in the namespace "default", ns%2Fname in its own."""
    name = request.match_info["name"]
    return name if "/" in name else f"default/{name}"


def find_job(state: ClusterState, key: str) -> Job:
    uid = state.job_uids.get(key)
    if uid is None:
        raise JobNotFound(key)
    return state.jobs[uid]


def job_view(state: ClusterState, job: Job) -> dict[str, Any]:
    """The job in the words of jobs.toml, with the cluster's bookkeeping and the outcome of its last slot."""
    definition = {"name": job.definition.name, "namespace": job.definition.namespace} | render_job(job.definition)
    last = last_entry(state, job.uid)
    return views.job_view(state, job, definition) | {"last": views.ledger_view(state, last) if last else None}


def _coming(request: web.Request, view: dict[str, Any], job: Job) -> dict[str, Any]:
    """With the next slot of a job that no leader steps, by the clock of this node."""
    if unled(job.definition) and not job.paused:
        now_ms = request.app[CLOCK].wall_ms()
        view["next"] = views.instant(next_slot(job.definition.trigger, now_ms, job.uid))
    return view


def etag(revision: int) -> dict[str, str]:
    return {"ETag": f'"{revision}"'}


async def list_jobs(request: web.Request) -> web.Response:
    """Jobs in the order in which they were made; ?namespace= and ?owner= choose among them."""
    node = node_of(request)
    limit = whole_number(request, "limit", JOBS_LISTED, low=1, high=JOBS_LISTED_MAX)
    offset = whole_number(request, "offset", 0)

    async def view() -> dict[str, Any]:
        state = node.state
        jobs = views.chosen_jobs(state, request.query.get("namespace"), request.query.get("owner"))
        page = encoded(
            _coming(request, job_view(state, job), job)
            for job in jobs[offset : offset + limit]
            if job.uid in state.jobs
        )
        return {"jobs": await in_slices(page), "total": len(jobs)}

    return await blocking_answer(request, view)


async def get_job(request: web.Request) -> web.Response:
    """One job, in the words of jobs.toml, with what the cluster knows of it."""
    node, key = node_of(request), job_key(request)
    return await blocking_answer(
        request,
        lambda: _coming(request, job_view(node.state, job := find_job(node.state, key)), job),
        headers=lambda: etag(find_job(node.state, key).revision),
    )


async def create_job(request: web.Request) -> web.Response:
    """A new job, in the words of jobs.toml; refused where there is one of this name."""
    spec = read_job(await json_body(request))
    return await _put(request, spec, revision=0, status=201)


async def replace_job(request: web.Request) -> web.Response:
    """Create or replace; the name comes from the path and may stand in the body too."""
    spec = _spec(request, await json_body(request))
    known = spec.key in node_of(request).state.job_uids
    return await _put(request, spec, revision=if_revision(request), status=200 if known else 201)


async def patch_job(request: web.Request) -> web.Response:
    """A merge patch (RFC 7396) on the job in the words of jobs.toml: null takes a key away."""
    patch = await json_body(request)
    job = find_job(await fresh(request), job_key(request))
    wanted = if_revision(request)
    spec = _spec(request, _merge(render_job(job.definition), patch))
    return await _put(request, spec, revision=job.revision if wanted is None else wanted)


def _spec(request: web.Request, body: Any) -> JobSpec:
    namespace, _, name = job_key(request).partition("/")
    if not isinstance(body, dict):
        raise ConfigError([Problem("", "must be an object")])
    spec = read_job({"name": name, "namespace": namespace} | {k: v for k, v in body.items() if k not in ADDED})
    if spec.key != f"{namespace}/{name}":
        raise ConfigError([Problem("name", f"{spec.key} is not the job of the path, {namespace}/{name}")])
    return spec


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


async def _put(request: web.Request, spec: JobSpec, *, revision: int | None, status: int = 200) -> web.Response:
    await commit(request, PutJob(spec.definition, revision, spec.paused))
    state = node_of(request).state
    job = find_job(state, spec.key)
    location = {"Location": f"/v1/jobs/{spec.key.replace('/', '%2F')}"} if status == 201 else {}
    return json_answer(job_view(state, job), status=status, headers=etag(job.revision) | location)


async def delete_job(request: web.Request) -> web.Response:
    """Forget a job; what runs goes on, and its runs can still be read."""
    key = job_key(request)
    done = await commit(request, DeleteJob(key, if_revision(request)))
    return json_answer({"deleted": key, "uid": done.value})


async def run_job(request: web.Request) -> web.Response:
    """A manual run; it passes the overlap policy like any slot, so it may come back skipped, with the reason.

    `params` in the body: an object of names and plain values, which the run sees as PEERCRON_PARAM_<NAME>.
    """
    given = (await fields_of_body(request, "params")).get("params", {})
    done = await commit(request, RunJob(job_key(request), read_params(given)))
    state = node_of(request).state
    return json_answer(views.find_run_view(state, str(done.value)) or {"id": done.value}, status=202)


async def pause_job(request: web.Request) -> web.Response:
    """Skip the slots of a job; what runs or waits goes on."""
    return await _paused(request, paused=True)


async def resume_job(request: web.Request) -> web.Response:
    """Let the schedule of a job go on."""
    return await _paused(request, paused=False)


async def _paused(request: web.Request, *, paused: bool) -> web.Response:
    await fields_of_body(request)
    key = job_key(request)
    await commit(request, PauseJob(key) if paused else ResumeJob(key))
    state = node_of(request).state
    return json_answer(job_view(state, find_job(state, key)))


async def fail_back(request: web.Request) -> web.Response:
    """A standby job's next run goes to the first of its nodes that is well."""
    await fields_of_body(request)
    key = job_key(request)
    await commit(request, FailBack(key))
    state = node_of(request).state
    return json_answer(job_view(state, find_job(state, key)))


async def next_slots(request: web.Request) -> web.Response:
    """The coming slots, computed here, in mode slice with whose they are; a paused job shows those it would have.

    What will not run has `left_out`, which says why: by a calendar, or as it falls into the guard band of its slice.
    """
    count = whole_number(request, "n", 5, low=1, high=NEXT_SLOTS_MAX)
    state = await fresh(request)
    job = find_job(state, job_key(request))
    after_ms = max(0, instant_ms(request, "from", request.app[CLOCK].wall_ms()))
    slots: list[int] = []
    while len(slots) < count and (slot := next_slot(job.definition.trigger, after_ms, job.uid)) is not None:
        if slot > INSTANT_MS_MAX:  # has no date to show
            break
        slots.append(slot)
        after_ms = slot
    trigger = job.definition.trigger
    zone = trigger.timezone if isinstance(trigger, CronTrigger) else "UTC"
    coming = [{"slot": slot, "scheduled_for": views.instant(slot), "local": _local(slot, zone)} for slot in slots]
    shares = state.slices[job.uid].shares if unled(job.definition) else ()
    out = {slot: why for slot in slots if (why := bound_to_miss(shares, slot))}
    out |= left_out(job, state.calendars, slots)
    coming = [each | ({"left_out": out[slot]} if slot in out else {}) for each, slot in zip(coming, slots, strict=True)]
    if job.definition.mode is Mode.SLICE:
        coming = [each | {"node": owner(state, job, slot)} for each, slot in zip(coming, slots, strict=True)]
    return json_answer({"job": job.key, "paused": job.paused, "timezone": zone, "next": coming})


def _local(slot_ms: int, zone: str) -> str:
    instant = datetime.fromtimestamp(slot_ms // 1_000, UTC).astimezone(ZoneInfo(zone))
    return instant.isoformat(timespec="seconds")


async def job_runs(request: web.Request) -> web.Response:
    """Runs that are alive or kept in full, the newest first."""
    node, key = node_of(request), job_key(request)
    limit = whole_number(request, "limit", 100, low=1, high=1_000)

    def view() -> dict[str, Any]:
        state = node.state
        runs = runs_of(state, find_job(state, key).uid)
        return {"runs": [views.run_view(state, run) for run in islice(runs, limit)]}

    return await blocking_answer(request, view)


async def job_ledger(request: web.Request) -> web.Response:
    """The outcome of every slot from `from` to `to` (both included), the oldest decision first; with ?last=N the newest
    N of them.
    """
    node, key = node_of(request), job_key(request)
    from_ms, to_ms = instant_ms(request, "from", 0), instant_ms(request, "to", 2**62)
    limit = whole_number(request, "limit", LEDGER_KEPT_PER_JOB, low=1)
    last = whole_number(request, "last", LEDGER_KEPT_PER_JOB, low=1, high=LEDGER_KEPT_PER_JOB)

    def view() -> dict[str, Any]:
        state = node.state
        job = find_job(state, key)
        entries = (e for e in entries_of(state, job.uid) if from_ms <= e.slot_ms <= to_ms)
        newest = deque(entries, maxlen=last)
        return {"job": job.key, "ledger": [views.ledger_view(state, entry) for entry in islice(newest, limit)]}

    return await blocking_answer(request, view)


_LIST = BLOCKING_PARAMETERS | {"limit"}
ROUTES = (
    Route("GET", "/v1/jobs", list_jobs, Scope.READ, _LIST | {"offset", "namespace", "owner"}),
    Route("POST", "/v1/jobs", create_job, Scope.JOBS),
    Route("GET", JOB, get_job, Scope.READ, BLOCKING_PARAMETERS),
    Route("PUT", JOB, replace_job, Scope.JOBS),
    Route("PATCH", JOB, patch_job, Scope.JOBS),
    Route("DELETE", JOB, delete_job, Scope.JOBS),
    Route("POST", f"{JOB}:run", run_job, Scope.RUN),
    Route("POST", f"{JOB}:pause", pause_job, Scope.RUN),
    Route("POST", f"{JOB}:resume", resume_job, Scope.RUN),
    Route("POST", f"{JOB}:failback", fail_back, Scope.RUN),
    Route("GET", f"{JOB}/next", next_slots, Scope.READ, READ_PARAMETERS | {"n", "from"}),
    Route("GET", f"{JOB}/runs", job_runs, Scope.READ, _LIST),
    Route("GET", f"{JOB}/ledger", job_ledger, Scope.READ, _LIST | {"from", "to", "last"}),
)
