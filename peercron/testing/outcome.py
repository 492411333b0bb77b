"""outcome: what a test is told of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from peercron.core import history
from peercron.core.state import ClusterState
from peercron.errors import RunNotFound


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run stands, or how it ended."""

    id: str
    slot: datetime
    #: "succeeded", "failed", "timed_out", "cancelled", "lost", "skipped", "missed"; "queued" and "running" before.
    state: str
    #: One sentence; of a run that failed it names the exception.
    reason: str
    attempts: int
    #: What the last attempt raised.
    error: BaseException | None = None


def outcome_of(state: ClusterState, run_id: str, error: BaseException | None) -> Outcome:
    """Of a run, or of a slot that only the ledger knows. RunNotFound: there is neither."""
    run = history.find_run(state, run_id)
    if run is not None:
        return Outcome(run.id, _instant(run.slot_ms), run.state.value, run.reason, len(run.attempts), error)
    entry = history.find_entry(state, run_id)
    if entry is None:
        raise RunNotFound(run_id)
    return Outcome(run_id, _instant(entry.slot_ms), entry.outcome.value, entry.reason, entry.attempts)


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
