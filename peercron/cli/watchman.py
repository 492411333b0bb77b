"""Watchman: ends the command of a lock where whoever keeps the lock for it cannot: it was killed, or it hangs.

It runs as a file of its own and needs nothing of the package, so that it is there within milliseconds. On its standard
input it is told, a line each: `command PID`, `until S` (when the command has to be dead, in monotonic seconds),
`ending` (the command has been asked to). The end of its input is the death of who told it; whoever lives ends it first.

    python watchman.py GROUP GRACE_S            # GROUP: 1, the command leads a process group; 0, it does not
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time

POLL_S = 0.05
now_s = time.monotonic  # noqa: TID251 - it has nothing of the package; the same count as whoever tells it goes by


class Watch:
    """What is known of one command.

    Args:
        group: whether its whole group is to be ended.
        grace_s: between TERM and KILL, where there is so much time.
    """

    def __init__(self, grace_s: float, *, group: bool) -> None:
        self._grace_s, self._strike = grace_s, os.killpg if group else os.kill
        self._pid = 0
        self._asked = self._mourns = False
        self.kill_at_s = math.inf
        self.over = False

    @property
    def wake_at_s(self) -> float:
        """When to look again, in monotonic seconds. Whoever keeps the lock asks the command earlier than we do."""
        return self.kill_at_s if self._asked else self.kill_at_s - self._grace_s / 2

    def hear(self, line: str) -> None:
        word, _, value = line.partition(" ")
        match word:
            case "command":
                self._pid = int(value)
            case "until":
                self.kill_at_s = float(value)
            case "ending":
                self._asked = True
            case _:
                raise ValueError(line)

    def mourn(self, now_s: float) -> None:
        """Nobody keeps the lock any more."""
        self._mourns = True
        self.kill_at_s = min(self.kill_at_s, now_s + self._grace_s)
        self.ask()

    def look(self, now_s: float) -> None:
        """The time is up, or nearly so, or we look whether the command is still there."""
        if self._asked and now_s >= self.kill_at_s:
            self._signal(signal.SIGKILL)
            self.over = True
        elif now_s >= self.wake_at_s:
            self.ask()
        self.over = self.over or (self._mourns and not self._signal(0))

    def ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> bool:
        """False: nobody is there."""
        try:
            if self._pid:
                self._strike(self._pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return self._pid != 0


def main(group: str, grace_s: str) -> None:
    watch, heard, sources = Watch(float(grace_s), group=group == "1"), b"", [0]
    while not watch.over:
        left_s = watch.wake_at_s - now_s()
        wait_s = POLL_S if not sources else None if math.isinf(left_s) else max(0.0, left_s)
        if not select.select(sources, [], [], wait_s)[0]:
            watch.look(now_s())
            continue
        piece = os.read(0, 4096)
        if not piece:
            sources = []
            watch.mourn(now_s())
        *lines, heard = (heard + piece).split(b"\n")
        for line in lines:
            watch.hear(line.decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
