"""Runs and attempts."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.run import AttemptState


@dataclass(frozen=True, slots=True)
class RunJob:
    """A manual run, now; passes through the overlap policy like any slot."""

    key: str
    #: (name, value), which the run sees as PEERCRON_PARAM_<NAME>.
    params: tuple[tuple[str, str], ...] = ()
    #: Id of the run, or of the slot without one, that is done once more, with its slot and params; empty: of none.
    again: str = ""


@dataclass(frozen=True, slots=True)
class Backfill:
    """Runs for slots of the past, as by hand; `force`: also for those that have succeeded.

    The slots are the proposer's, as with Fire: members may have other time zone data.
    """

    key: str
    slots: tuple[int, ...]
    force: bool = False


@dataclass(frozen=True, slots=True)
class CancelRun:
    run_id: str


@dataclass(frozen=True, slots=True)
class PlaceRun:
    """The leader found a queued run that can go now (a node is there, or the run it waited for has ended)."""

    run_id: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    run_id: str
    token: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class AttemptReady:
    """The attempt's process is prepared and waits at the barrier for the others."""

    run_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Contend:
    """A node asks for a run of mode contend. The log's order is the order in which they have it."""

    run_id: str
    member: str  # MemberInfo.id
    session: int


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """The result of an attempt. A superseded token is refused (stale_token) and kept as a note on its attempt."""

    run_id: str
    token: int
    outcome: AttemptState
    finished_ms: int
    exit_code: int | None = None
    reason: str = ""
    output_tail: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A job class says how far it is, for the attempt that may have to go on after it. Refused for a stale token."""

    run_id: str
    token: int
    data: bytes
