"""Granting: the leader's duty to locks: whoever has room and was not granted is proposed, each with its own command."""

from __future__ import annotations

from collections import deque

from peercron.core.agenda import Agenda
from peercron.core.commands import GrantLock
from peercron.core.limits import GRANTS_PER_LOCK_MAX, GRANTS_PER_PLAN_MAX, JOBS_SEEN_PER_PLAN_MAX
from peercron.core.line import due_ms, grantable
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused, Verdict

#: How long a lock rests after a refusal that was none of a race: a defect must not fill the log.
REST_MS = 60_000


class Granting:
    """Plans for the locks of one state, on the leader; see `planner.Planner`, whose part it is."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        state.changed_locks = {}
        self._due = Agenda()
        #: Locks that were there before us and that we have not looked at.
        self._unseen = deque(state.locks)
        #: Lock -> grants that were proposed and not answered.
        self._under_way: dict[str, int] = {}

    def close(self) -> None:
        self._state.changed_locks = None

    def observe(self) -> None:
        """Take in what has changed, and some of what was there before us."""
        changed, self._state.changed_locks = self._state.changed_locks, {}
        for key in changed or ():
            self._look(key)
        for _ in range(min(JOBS_SEEN_PER_PLAN_MAX, len(self._unseen))):
            self._look(self._unseen.popleft())

    def plan(self, now_ms: int, room: int) -> list[GrantLock]:
        """What to propose now, at most `room`."""
        grants: list[GrantLock] = []
        room = min(room, GRANTS_PER_PLAN_MAX)
        while len(grants) < room and (key := self._due.pop(now_ms)) is not None:
            if due_ms(self._state, key) is None:
                continue
            namespace, _, name = key.partition("/")
            # A place whose delay is over is cleared away by one command, which also grants the first in line.
            count = max(1, grantable(self._state, key, min(GRANTS_PER_LOCK_MAX, room - len(grants))))
            self._under_way[key] = count
            grants += [GrantLock(namespace, name)] * count
        return grants

    def settle(self, command: GrantLock, verdict: Verdict | None, now_ms: int) -> None:
        """A proposal of `plan` has its answer; None: it is not known, or it could not be proposed."""
        key = f"{command.namespace}/{command.name}"
        left = self._under_way.get(key, 1) - 1
        if left:
            self._under_way[key] = left
            return
        self._under_way.pop(key, None)
        self._look(key)
        if isinstance(verdict, Refused) and verdict.code not in (Refusal.NOT_READY, Refusal.STALE_SESSION):
            self._due.put(key, now_ms + REST_MS)

    def next_ms(self) -> int | None:
        """When `plan` will have something to say; None: when the state changes."""
        return self._state.now_ms if self._unseen or self._state.changed_locks else self._due.next_ms()

    def __len__(self) -> int:
        """Grants under way."""
        return sum(self._under_way.values())

    def _look(self, key: str) -> None:
        if key in self._under_way:
            return
        at_ms = due_ms(self._state, key)
        if at_ms is None:
            self._due.drop(key)
        else:
            self._due.put(key, at_ms)
