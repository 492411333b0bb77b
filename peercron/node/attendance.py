"""Attendance: when this node last heard of each member."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Between two looks that are further apart than this it was we who were away: stopped, or our whole machine.
LOOK_S_MAX: Final = 10.0


class Attendance:
    """Times are monotonic seconds; to be told of who is there every other second.

    Whoever was never heard of counts from when it was first looked for.
    """

    def __init__(self) -> None:
        self._heard_s: dict[str, float] = {}
        self._looked_s = float("inf")
        #: Since when we lead and look: who was silent before may have spoken to the leader of then.
        self._leading_s = float("inf")

    def look(self, members: Iterable[str], there: Iterable[str], now_s: float) -> None:
        """These belong to the cluster, and those of them are there now."""
        present = set(there)
        heard_s = self._heard_s
        if now_s - self._looked_s > LOOK_S_MAX:
            self._leading_s = max(self._leading_s, now_s)
        self._looked_s = now_s
        self._heard_s = {id_: now_s if id_ in present else heard_s.get(id_, now_s) for id_ in members}

    def lead(self, now_s: float, *, leading: bool) -> None:
        self._leading_s = min(self._leading_s, now_s) if leading else float("inf")

    def silent_s(self, member: str, now_s: float) -> float:
        """For how long nothing was heard of it."""
        return max(0.0, now_s - self._heard_s.get(member, now_s))

    def missed_s(self, member: str, now_s: float) -> float:
        """For how long nothing was heard of it while we lead."""
        return min(self.silent_s(member, now_s), max(0.0, now_s - self._leading_s))
