"""Hold: what keeps a run whose turn has come from its next attempt, told in one sentence for people."""

from __future__ import annotations

from peercron.core.job import Job
from peercron.core.retry import stable
from peercron.core.run import Run
from peercron.core.state import ClusterState


def until_its_time(state: ClusterState, job: Job, run: Run) -> str:
    """Why the run waits for an instant (the pause before another attempt, a jitter); empty: it does not."""
    if state.now_ms >= run.not_before_ms:
        return ""
    return run.reason if run.attempts else f"starts {run.not_before_ms - run.slot_ms} ms after its slot (jitter)"


def jittered_ms(job: Job, slot_ms: int) -> int:
    """When a slot's run may start: the same for the same slot, however often it is asked; 0: at once."""
    jitter_ms = job.definition.jitter_ms
    return slot_ms + stable(f"{job.uid}\n{slot_ms}", jitter_ms + 1) if jitter_ms else 0


def due_ms(state: ClusterState, run: Run) -> int:
    """When the run of a slot was to start."""
    job = state.jobs.get(run.job_uid)
    return max(run.slot_ms, jittered_ms(job, run.slot_ms)) if job is not None else run.slot_ms
