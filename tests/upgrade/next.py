"""The next version of peercron, as far as tests need one: run as a program it is `python -m peercron` of that version.

It speaks a level more: a command, with a route of its own, that fills a table of its own, and a new field of a job.
All of it is in place before the modules that use it are loaded, so that they are as if their text were another. It
takes snapshots early and keeps little of the log before them, so that those who were away for a moment need one.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import peercron
from peercron.core import job, member

VERSION = "9.9.9"
SNAPSHOT_EVERY_BYTES = int(os.environ.get("NEXT_SNAPSHOT_BYTES", "16384"))
TAIL_ENTRIES = 5

peercron.__version__ = VERSION


@dataclass(frozen=True, slots=True)
class Definition(job.Definition):
    """With a field more."""

    priority: int = 0


@dataclass(frozen=True, slots=True)
class MemberInfo(member.MemberInfo):
    """With a field more, of which each node has something to say."""

    zone: str = ""


job.Definition = Definition  # type: ignore[misc]
member.MemberInfo = MemberInfo  # type: ignore[misc]

from peercron.core import state  # noqa: E402 - in this order


@dataclass(slots=True)
class ClusterState(state.ClusterState):
    """With a table more."""

    #: Key -> index of its last touch.
    touched: dict[str, int] = field(default_factory=dict)


state.ClusterState = ClusterState  # type: ignore[misc]

from peercron.core import apply, commands, level, since  # noqa: E402
from peercron.core.token import Scope  # noqa: E402
from peercron.core.verdict import Done, Verdict  # noqa: E402

THIS = level.LEVEL
NEXT = THIS + 1


@dataclass(frozen=True, slots=True)
class Touch:
    """A command that the version before does not know."""

    key: str


def touch(state: ClusterState, command: Touch) -> Verdict:
    state.touched[command.key] = state.index
    return Done(state.index, command.key)


level.LEVEL = NEXT  # type: ignore[misc]
level.RELEASES[NEXT] = VERSION
since.SINCE.update(
    {Touch: NEXT, (ClusterState, "touched"): NEXT, (Definition, "priority"): NEXT, (MemberInfo, "zone"): NEXT}
)
apply.APPLY[Touch] = touch  # type: ignore[index]
commands.Command = commands.Command | Touch  # type: ignore[misc,assignment]

from peercron.wire import codec  # noqa: E402

codec.NAMES[Touch] = "touch"
codec._TYPES["touch"] = Touch

from aiohttp import web  # noqa: E402

from peercron.http import status  # noqa: E402
from peercron.http.answers import json_answer  # noqa: E402
from peercron.http.asking import READ_PARAMETERS, Route, fresh, node_of  # noqa: E402
from peercron.node import node as nodes  # noqa: E402
from peercron.node.assembly import Parts  # noqa: E402


async def put_touch(request: web.Request) -> web.Response:
    done = await node_of(request).propose(Touch(request.match_info["key"]), 5.0)  # type: ignore[arg-type]
    return json_answer({"index": done.index})


async def prefer(request: web.Request) -> web.Response:
    """Give a job the new field."""
    node = node_of(request)
    found = node.state.jobs[node.state.job_uids[f"default/{request.match_info['name']}"]].definition
    await node.propose(commands.PutJob(dataclasses.replace(found, priority=7)), 5.0)
    return json_answer({})


def describe(*known: Any) -> MemberInfo:
    """As the version before, and the new field."""
    return dataclasses.replace(_describe(*known), zone="north")  # type: ignore[return-value]


async def touched(request: web.Request) -> web.Response:
    found: Any = await fresh(request)
    priorities = {job.key: job.definition.priority for job in found.jobs.values()}
    zones = {row.info.name: row.info.zone for row in found.members.values()}
    return json_answer({"touched": found.touched, "priorities": priorities, "zones": zones})


status.ROUTES = (  # type: ignore[assignment]
    *status.ROUTES,
    Route("POST", "/v1/touched/{key}", put_touch, Scope.DATA),
    Route("POST", "/v1/preferred/{name}", prefer, Scope.RUN),
    Route("GET", "/v1/touched", touched, Scope.READ, READ_PARAMETERS),
)
Parts.journal_bytes_max = SNAPSHOT_EVERY_BYTES
Parts.tail_entries = TAIL_ENTRIES

_describe = nodes.describe
nodes.describe = describe

if __name__ == "__main__":
    import_module("peercron.cli").main()
