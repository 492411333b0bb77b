"""Hold: what keeps a run whose turn has come from its next attempt, told in one sentence for people."""

from __future__ import annotations

from peercron.core.job import Job
from peercron.core.run import Run
from peercron.core.state import ClusterState

NOT_YET = "waits for its time"


def until_its_time(state: ClusterState, job: Job, run: Run) -> str:
    """Why the run waits for an instant (the pause before another attempt, a jitter); empty: it does not."""
    return (run.reason or NOT_YET) if state.now_ms < run.not_before_ms else ""
