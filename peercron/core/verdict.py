"""Verdict: what `apply` answers. A refusal is a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a command changed nothing."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # a revision that was named is not the current one, or the name is taken
    STALE_SESSION = "stale_session"  # the sender's session is not the member's open one
    REMOVED = "removed"  # the sender has no seat in the cluster
    WIPED = "wiped"  # the sender's data directory is not the one that the cluster knows under this id
    STALE_TOKEN = "stale_token"  # the attempt was superseded
    STALE_PLAN = "stale_plan"  # cursor or revision moved since the plan was made
    INVALID = "invalid"
    LIMIT = "limit"
    NOT_READY = "not_ready"  # nothing can be done about it now (a run that still has to wait)
    UNSUPPORTED = "unsupported"  # not all members know it yet, or the sender does not know what the cluster uses
    LOCKED = "locked"  # somebody else holds the lock
    DEADLOCK = "deadlock"  # to wait would be to wait for oneself
    UNKNOWN = "unknown_outcome"  # it may have been done before: what was answered then is forgotten
    INTERNAL = "internal"  # a defect of peercron, the same on every member; the state may be in part changed


@dataclass(frozen=True, slots=True)
class Done:
    """It was done. `index` is the command's place in the log; `value` is its answer (a name, an id, a revision)."""

    index: int
    value: str | int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It was committed, and the answer is no."""

    index: int
    code: Refusal
    detail: str


Verdict = Done | Refused
