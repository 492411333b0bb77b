"""GET /v1/overview: what goes on now, on one screen; of what there is much, the most telling rows, and how many."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Any, Final

from aiohttp import web

from peercron.core import views
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.http.answers import json_answer, unhurried
from peercron.http.asking import CLOCK, READ_PARAMETERS, Route, fresh, node_of, whole_number
from peercron.http.events import event_view
from peercron.http.lock_view import lock_view
from peercron.http.queue_view import queue_view

ROWS: Final = 10
ROWS_MAX: Final = 100
#: What comes next is looked for among all jobs; who asks sooner again is told what was found.
COMING_S: Final = 1.0


class Coming:
    """The slots that come next, as they were found last. One for each node: many may look at the same screen."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str]] = []
        self._until_s = float("-inf")

    async def soonest(self, state: ClusterState, now_s: float) -> list[tuple[int, str]]:
        """(UTC ms, job key) of the next ROWS_MAX slots, the soonest first; of paused jobs there is none."""
        if now_s >= self._until_s:
            self._until_s = now_s + COMING_S
            self._found = await _soonest(state)
        return self._found


COMING: web.AppKey[Coming] = web.AppKey("coming", Coming)


async def overview(request: web.Request) -> web.Response:
    """What goes on now: members, live attempts, the next slots, the fullest queues, the locks with the longest lines,
    and what has happened last. `limit`: rows of each.
    """
    rows = whole_number(request, "limit", ROWS, low=1, high=ROWS_MAX)
    state = await fresh(request)
    coming = await request.app[COMING].soonest(state, request.app[CLOCK].monotonic())
    return json_answer(
        {
            "at": views.instant(request.app[CLOCK].wall_ms()),
            "status": node_of(request).status(),
            "counts": _counts(state),
            "runs": _runs(state, rows),
            "coming": [{"job": key, "at": views.instant(at_ms)} for at_ms, key in coming[:rows]],
            "queues": [queue_view(state, state.queues[key]) for key in _fullest(state, rows)],
            "locks": [lock_view(state, key) | {"line": []} for key in _longest(state, rows)],
            "events": [event_view(event) for event in state.chronicle.last(rows)] if state.chronicle else [],
        }
    )


async def _soonest(state: ClusterState) -> list[tuple[int, str]]:
    if state.paused:
        return []
    nearest: list[tuple[int, str]] = []  # a heap, the latest on top
    async for uid, cursor in unhurried(list(state.cursors.items())):
        at_ms, job = cursor.next_ms, state.jobs.get(uid)
        if at_ms is None or at_ms < 0 or job is None or job.paused:
            continue
        if len(nearest) < ROWS_MAX:
            heapq.heappush(nearest, (-at_ms, job.key))
        elif -at_ms > nearest[0][0]:
            heapq.heapreplace(nearest, (-at_ms, job.key))
    return sorted((-negative_ms, key) for negative_ms, key in nearest)


def _counts(state: ClusterState) -> dict[str, int]:
    return {
        "jobs": len(state.jobs),
        "runs": len(state.runs),
        "waiting": len(state.unplaced),
        "queues": len(state.queues),
        "items": state.item_count,
        "locks": len(state.locks),
        "waiters": state.lock_waiting,
    }


def _runs(state: ClusterState, rows: int) -> list[dict[str, Any]]:
    """Live attempts, the oldest first: what hangs is among them."""
    held = [(token, run_id) for runs in state.live_attempts.values() for run_id, token in runs.items()]
    return [_run(state, run_id) for _, run_id in heapq.nsmallest(rows, held)]


def _run(state: ClusterState, run_id: str) -> dict[str, Any]:
    run = state.runs[run_id]
    attempt = run.attempts[-1]
    member = state.members.get(attempt.member)
    return {
        "id": run.id,
        "job": run.job_key,
        "node": member.info.name if member else attempt.member,
        "attempt": attempt.n,
        "state": attempt.state.value,
        "scheduled_for": views.instant(run.slot_ms),
        "since": views.instant(attempt.started_ms or attempt.assigned_ms),
    }


def _fullest(state: ClusterState, rows: int) -> list[str]:
    return heapq.nlargest(rows, state.queues, key=lambda key: len(state.items.get(key, ())))


def _longest(state: ClusterState, rows: int) -> list[str]:
    """Locks with the longest lines, then any others that are held."""
    lines = heapq.nlargest(rows, state.lock_waiters, key=lambda key: len(state.lock_waiters[key]))
    held = (key for key in state.lock_grants if key not in state.lock_waiters)
    return [*lines, *islice(held, rows - len(lines))]


ROUTES = (Route("GET", "/v1/overview", overview, Scope.READ, READ_PARAMETERS | {"limit"}),)
