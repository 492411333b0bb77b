"""Routes by which something that happens outside starts jobs: webhooks and events."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from typing import Any, Final

from aiohttp import web

from peercron.core import views
from peercron.core.commands import CallHook, EmitEvent
from peercron.core.job import CommandTask, EnvEntry
from peercron.core.occasion import HookTrigger
from peercron.core.params import Params, flaw
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem, Refused
from peercron.execution.environment import Unresolved, resolve
from peercron.http.answers import json_answer
from peercron.http.asking import Route, commit, fields_of_body, fresh, json_body, node_of
from peercron.http.auth import admit
from peercron.http.jobs import find_job, job_key
from peercron.http.problems import BadRequest
from peercron.jobspec.params import read_params

#: "sha256=" and the HMAC of the body in hexadecimal, as GitHub and others send it.
SIGNATURE: Final = "X-Hub-Signature-256"
_ALGORITHM: Final = "sha256="


async def call_hook(request: web.Request) -> web.Response:
    """Run the job. The keys of the body, a JSON object, are its params; what is nested is given as JSON.

    Where the job has a secret its signature is all that is asked for; else a token, if there are any, with scope run.
    The call passes the overlap policy like any slot, so the run may come back skipped, with the reason.
    """
    key, state = job_key(request), await fresh(request)
    job = state.jobs.get(state.job_uids.get(key, ""))
    trigger = job.definition.trigger if job is not None else None
    if isinstance(trigger, HookTrigger) and trigger.secret is not None:
        await _check_signature(request, trigger.secret)
    else:
        await admit(request, Scope.RUN)
        find_job(state, key)
    given = _params(await json_body(request)) if request.can_read_body else ()
    done = await commit(request, CallHook(key, given))
    state = node_of(request).state
    return json_answer(views.find_run_view(state, str(done.value)) or {"id": done.value}, status=202)


async def emit_event(request: web.Request) -> web.Response:
    """Tell every job that waits for this event, a name in "default" or ns%2Fname; `params` in the body."""
    text = request.match_info["name"]
    namespace, name = text.split("/", 1) if "/" in text else ("default", text)
    given = (await fields_of_body(request, "params")).get("params", {})
    params = read_params(given)
    if wrong := flaw(params, CommandTask()):  # also where nobody waits for it
        raise ConfigError([Problem(*wrong.split(": ", 1))])
    done = await commit(request, EmitEvent(namespace, name, params))
    return json_answer({"event": f"{namespace}/{name}", "jobs": done.value}, status=202)


def _params(body: Any) -> Params:
    if not isinstance(body, dict):
        raise ConfigError([Problem("", "must be an object, whose keys are the params of the run")])
    nested = {key: json.dumps(value) for key, value in body.items() if not isinstance(value, str | int | float)}
    return read_params(body | nested, path="")


async def _check_signature(request: web.Request, secret: EnvEntry) -> None:
    signature = request.headers.get(SIGNATURE, "")
    entries = [[secret.name, secret.source.value, secret.value]]
    try:
        found = (await asyncio.to_thread(resolve, entries, os.environ))[secret.name]
    except Unresolved as error:
        raise Refused("not_ready", f"this node cannot read the secret of the webhook: {error}") from None
    expected = _ALGORITHM + hmac.new(found.encode(), await request.read(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise BadRequest(
            f"header.{SIGNATURE}",
            "must be sha256= and the HMAC of the body by the webhook's secret",
            code="forbidden",
            status=403,
        )


ROUTES = (
    Route("POST", "/v1/hooks/{name}", call_hook, None),
    Route("POST", "/v1/events/{name}", emit_event, Scope.DATA),
)
