"""Route of backfills: runs for slots of a past range."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from peercron.core import views
from peercron.core.apply.backfill import wanting
from peercron.core.apply.ledger import run_id_of_request
from peercron.core.commands import Backfill
from peercron.core.job import Job
from peercron.core.limits import QUEUED_SLOTS_MAX
from peercron.core.schedule import slots_between
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem
from peercron.http.answers import json_answer
from peercron.http.asking import CLOCK, Route, commit, fields_of_body, fresh
from peercron.http.fields import Fields
from peercron.http.jobs import JOB, find_job, job_key
from peercron.times import parse_instant_ms


async def backfill(request: web.Request) -> web.Response:
    """Runs for the slots of a past range, {from, to} (both included).

    With `dry_run` only what would be run is told, with `force` also what has succeeded is done again.
    """
    body = await fields_of_body(request, "from", "to", "dry_run", "force")
    fields = Fields(body)
    force, dry = fields.flag("force"), fields.flag("dry_run")
    fields.check()
    job = find_job(await fresh(request), job_key(request))
    slots = _slots(request, job, body)
    state = await fresh(request)
    wanted = wanting(state, job, slots, force=force)
    told: dict[str, Any] = {"job": job.key, "left_out": [views.instant(slot) for slot in slots if slot not in wanted]}
    if dry or not wanted:
        return json_answer(told | {"slots": [views.instant(slot) for slot in wanted], "runs": []})
    done = await commit(request, Backfill(job.key, slots, force))
    runs = [f"{run_id_of_request(job.uid, done.index)}-{nth}" for nth in range(int(done.value or 0))]
    return json_answer(told | {"slots": [views.instant(slot) for slot in wanted], "runs": runs}, status=202)


def _slots(request: web.Request, job: Job, body: dict[str, Any]) -> tuple[int, ...]:
    """The job's slots in the range, by the time zone data of this node; a range that has too many is refused."""
    from_ms, to_ms = (_instant_ms(body, key) for key in ("from", "to"))
    if from_ms < 0:
        raise ConfigError([Problem("from", "must be an instant since 1970")])
    if not from_ms <= to_ms <= request.app[CLOCK].wall_ms():
        raise ConfigError([Problem("to", "must be an instant of the past, and not before from")])
    slots = slots_between(job.definition.trigger, from_ms - 1, to_ms, job.uid, QUEUED_SLOTS_MAX + 1)
    if not slots:
        raise ConfigError([Problem("from", f"job {job.key} has no slot from there to `to`")])
    if len(slots) > QUEUED_SLOTS_MAX:
        raise ConfigError(
            [Problem("to", f"more than {QUEUED_SLOTS_MAX} slots; the last that fits is {views.instant(slots[-2])}")]
        )
    return slots


def _instant_ms(body: dict[str, Any], key: str) -> int:
    try:
        return parse_instant_ms(str(body[key]))
    except KeyError:
        raise ConfigError([Problem(key, "required")]) from None
    except ValueError as error:
        raise ConfigError([Problem(key, str(error))]) from None


ROUTES = (Route("POST", f"{JOB}:backfill", backfill, Scope.RUN),)
