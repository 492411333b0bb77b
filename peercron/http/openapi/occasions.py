"""Occasions: what happens outside and starts jobs."""

from __future__ import annotations

from typing import Final

from peercron.http.openapi.jobs import RunBody
from peercron.http.openapi.operation import Content, Operation, optional
from peercron.http.openapi.parameters import OF_JOB
from peercron.http.openapi.runs import ASKED
from peercron.http.openapi.shape import Count, Key, Shape


class Emitted(Shape):
    """An event, and how many jobs wait for it."""

    event: Key
    jobs: Count


OPERATIONS: Final = {
    "POST /v1/hooks/{name}": Operation(
        "callHook",
        {202: ASKED},
        body=Content({"type": "object", "description": "its keys are the params of the run"}, required=False),
        parameters={"name": OF_JOB},
        headers=("X-Hub-Signature-256",),
        refuses=frozenset({401}),
    ),
    "POST /v1/events/{name}": Operation(
        "emitEvent",
        {202: Emitted},
        body=optional(RunBody),
        parameters={"name": OF_JOB | {"description": "an event: its name in namespace default, or namespace%2Fname"}},
    ),
}
