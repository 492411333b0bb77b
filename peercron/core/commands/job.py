"""Jobs: their definitions, their pauses, their cursors."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.job import Definition


@dataclass(frozen=True, slots=True)
class PutJob:
    """Create or replace a job; unchanged changes nothing. `if_revision`: None any, 0 only create, n only replace n."""

    definition: Definition
    if_revision: int | None = None
    #: Also set `paused`; None leaves it as it is.
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class ApplyJobs:
    """All or nothing: put these; with `prune_owner`, delete that owner's other jobs; `only_if_empty` is for seeds."""

    definitions: tuple[Definition, ...]
    prune_owner: str | None = None
    only_if_empty: bool = False
    #: Keys of jobs that shall be paused or not; the others stay as they are, since a pause is an operator's word.
    paused: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Remove a job; its queued runs are cancelled at once, its running ones by their nodes."""

    key: str
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class PauseJob:
    key: str


@dataclass(frozen=True, slots=True)
class ResumeJob:
    """Slots of the pause are skipped with the reason; the next is a future one."""

    key: str


@dataclass(frozen=True, slots=True)
class FailBack:
    """The next run of a standby job goes to the first of its nodes that is well, however long it has been."""

    key: str


@dataclass(frozen=True, slots=True)
class Fire:
    """The leader's step of one job's cursor: these slots came due, in order; the next is `next_ms` (-1: none).

    Refused unless the job's revision and cursor are the ones named: a deposed leader's plan changes nothing. With no
    slots it only says when the next one is. `through_ms` is the new cursor: all slots at or before it are in `slots`,
    but for those of a gap too long to list (`unlisted_through_ms`).
    """

    job_uid: str
    revision: int
    after_ms: int
    slots: tuple[int, ...]
    through_ms: int
    next_ms: int
    #: The job's period around here in ms (0: none), for the default misfire window.
    period_ms: int = 0
    #: Slots of the same gap that are due too and follow in further commands: the misfire policy chooses among all.
    later: int = 0
    #: Last slot of a gap's older part that is not listed one by one (0: none): it is missed as one ledger entry.
    unlisted_through_ms: int = 0
    #: Slots at or before this instant were due before this leader led (0: none): there was no quorum to decide them, so
    #: those that are not made up for are skipped and not missed.
    leaderless_through_ms: int = 0
    #: Those of the slots that the job's calendars leave out, each with the reason.
    left_out: tuple[tuple[int, str], ...] = ()
