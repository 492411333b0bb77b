"""sweep: the guardian's own KILL, for attempts that are overdue, whatever their shepherds do."""

from __future__ import annotations

import math
import signal

from peercron.execution.attempt import Attempt
from peercron.execution.limits import REPORT_WAIT_S
from peercron.execution.processes import below, kill_family, strike, table


def sweep(overdue: list[Attempt], instant: float) -> list[Attempt]:
    """KILL all that is left of these; those of which nothing is, and whose shepherds still say nothing."""
    if not overdue:
        return []
    everybody = table()
    for attempt in overdue:
        left = below(attempt.shepherd, everybody)
        strike(left, signal.SIGKILL)
        if left:
            kill_family(attempt.shepherd)
        attempt.sweep.tried(instant)
        attempt.silent_since = math.inf if left else min(attempt.silent_since, instant)
    return [attempt for attempt in overdue if instant - attempt.silent_since > REPORT_WAIT_S]
