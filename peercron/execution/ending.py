"""ending: how a tree of processes is brought to its end: TERM to all of it, then KILL until nothing is left."""

from __future__ import annotations

import signal

from peercron.execution.limits import SWEEP_S_MAX, SWEEP_S_MIN
from peercron.execution.processes import family, kill_family, strike


class Pace:
    """When to try again.

    Soon at first: who forks while he is killed is met by the next sweep. Then ever more seldom: who cannot be killed,
    since he waits for a dead disk in the kernel, must not cost a core.
    """

    def __init__(self) -> None:
        self._step_s = SWEEP_S_MIN
        self.at = 0.0

    def tried(self, now: float) -> None:
        self.at = now + self._step_s
        self._step_s = min(2 * self._step_s, SWEEP_S_MAX)


class Ending:
    """The end of everything below one process, which stays itself.

    Call `go_on` at `wake_at` until nothing is left; how one sees that is the caller's affair.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._asked = False
        self._sweep = Pace()
        self.wake_at = 0.0

    def go_on(self, now: float, kill_at: float) -> None:
        """Do what is due. `kill_at` may come nearer from call to call."""
        if now < kill_at:
            if not self._asked:  # once: what a command starts in order to clean up must not be hit
                strike(family(self._root), signal.SIGTERM)
            self._asked = True
            self.wake_at = kill_at
        elif now >= self._sweep.at:
            kill_family(self._root)
            self._sweep.tried(now)
            self.wake_at = self._sweep.at
