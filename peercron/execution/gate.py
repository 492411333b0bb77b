"""gate: what a command that is forked waits at: one byte lets it start, and the gate's end says that it never will."""

from __future__ import annotations

import os


class Gate:
    """The shepherd's end of it. `held`: nobody has let the command start yet, and it was asked to wait for that."""

    def __init__(self, *, held: bool) -> None:
        self.held = held
        self._let_go = -1

    def hang(self, let_go: int) -> None:
        """The descriptor that the byte goes in at."""
        self._let_go = let_go

    def open(self) -> None:
        """Raises OSError: the command is gone already."""
        self.held = False
        if self._let_go >= 0:
            os.write(self._let_go, b"!")
            self.close()

    def close(self) -> None:
        if self._let_go >= 0:
            os.close(self._let_go)
            self._let_go = -1
