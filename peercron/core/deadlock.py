"""Deadlock: would a wait for a lock be a wait for oneself?

Who waits is stuck while what it waits for is: in a mutex or a read-write lock everybody who is in its way, in a
semaphore all who hold it, since any one of them may give a permit back. An owner waits for one thing at a time, so
whoever waits in line waits for the one before it, and only the first for those who hold.

Whoever is not found to be free in the end is stuck for good. As every wait is looked at when it begins, and refused if
it closes a cycle, the newest is the one that is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from peercron.core.limits import DEADLOCK_NAMED_MAX, DEADLOCK_WAITS_MAX
from peercron.core.lock import Claim, LockKind
from peercron.core.state import ClusterState


def deadlock(state: ClusterState, key: str, claim: Claim) -> str:
    """The cycle that the claim would close by waiting for the lock `key`, in words; empty: none.

    Whoever holds nothing and waits for nothing costs no search; a cycle longer than the search may go is not found.
    """
    if claim.who not in state.lock_owners:
        return ""
    search = _Search(state)
    if not search.gather(claim.who, _Wait(key, search.blockers(key, claim, len(search.line(key))), search.any_of(key))):
        return ""
    return search.cycle_from(claim.who)


@dataclass(frozen=True, slots=True)
class _Wait:
    key: str
    #: Who is in the way.
    blockers: tuple[str, ...]
    #: One of them is enough, or all of them have to go.
    any_of: bool


class _Search:
    """Over what can be reached from one wait."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._waits: dict[str, list[_Wait]] = {}
        self._lines: dict[str, _Line] = {}

    def line(self, key: str) -> _Line:
        if key not in self._lines:
            self._lines[key] = _Line(self._state, key)
        return self._lines[key]

    def blockers(self, key: str, claim: Claim, place: int) -> tuple[str, ...]:
        """Who is in the way of this claim at its place in the line."""
        line = self.line(key)
        before = (line.names[place - 1],) if place else ()
        if not place or (self._state.locks[key].kind is LockKind.RW and not claim.shared):
            return before + (line.writers if claim.shared else line.holders)
        return before

    def any_of(self, key: str) -> bool:
        """Whether the first in line needs only one of those who hold."""
        return self._state.locks[key].kind is LockKind.SEMAPHORE and not self.line(key).names

    def gather(self, who: str, wait: _Wait) -> bool:
        """Everybody who is in the way of this wait, near and far. False: they are too many."""
        self._waits[who] = [wait, *self._waits_of(who)]
        looked, found = 0, list(wait.blockers)
        while found:
            name = found.pop()
            if name in self._waits:
                continue
            self._waits[name] = self._waits_of(name)
            for each in self._waits[name]:
                found += each.blockers
                looked += len(each.blockers)
            if looked > DEADLOCK_WAITS_MAX:
                return False
        return True

    def cycle_from(self, who: str) -> str:
        stuck = self._stuck()
        if who not in stuck:
            return ""
        path: dict[str, str] = {}  # who -> what it does, and for whom
        while who not in path:
            wait, blocker = next(
                (wait, name) for wait in self._waits[who] for name in wait.blockers if name in stuck
            )  # fmt: skip
            path[who], who = f"{who} waits for {wait.key}, which {blocker} {self._has(blocker, wait.key)}", blocker
        said = list(path.values())[list(path).index(who) :]
        more = [f"and {len(said) - DEADLOCK_NAMED_MAX} more"] if len(said) > DEADLOCK_NAMED_MAX else []
        return "; ".join(said[:DEADLOCK_NAMED_MAX] + more)

    def _stuck(self) -> dict[str, None]:
        """Who cannot go on, whatever the others do: all but those who can when everybody who can has gone."""
        stuck = {name: None for name, waits in self._waits.items() if waits}
        going = True
        while going:
            free = [name for name in stuck if all(_can_end(wait, stuck) for wait in self._waits[name])]
            for name in free:
                del stuck[name]
            going = bool(free)
        return stuck

    def _waits_of(self, who: str) -> list[_Wait]:
        found = []
        for id_, key in self._state.lock_owners.get(who, {}).items():
            waiter = self._state.lock_waiters.get(key, {}).get(id_)
            if waiter is not None:
                place = self.line(key).places[id_]
                any_of = self._state.locks[key].kind is LockKind.SEMAPHORE and not place
                found.append(_Wait(key, self.blockers(key, waiter.claim, place), any_of))
        return found

    def _has(self, who: str, key: str) -> str:
        held = any(grant.claim.who == who for grant in self._state.lock_grants.get(key, {}).values())
        return "holds" if held else "waits for before it"


class _Line:
    """The line of one lock, and who holds it."""

    def __init__(self, state: ClusterState, key: str) -> None:
        waiters = state.lock_waiters.get(key, {})
        self._grants = [grant.claim for grant in state.lock_grants.get(key, {}).values() if not grant.free_ms]
        self.names = [waiter.claim.who for waiter in waiters.values()]
        self.places = {id_: place for place, id_ in enumerate(waiters)}

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def holders(self) -> tuple[str, ...]:
        return tuple(claim.who for claim in self._grants)

    @cached_property
    def writers(self) -> tuple[str, ...]:
        return tuple(claim.who for claim in self._grants if not claim.shared)


def _can_end(wait: _Wait, stuck: dict[str, None]) -> bool:
    if wait.any_of:
        return not all(name in stuck for name in wait.blockers) or not wait.blockers
    return not any(name in stuck for name in wait.blockers)
