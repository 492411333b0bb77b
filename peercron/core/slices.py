"""Slices: time is cut into equal parts, and the nodes of a job take turns: who owns a slot, and how long it may take.

Slice k is [k * slice_ms, (k + 1) * slice_ms) in UTC, and belongs to nodes[k mod n]. A slot belongs to whom its nominal
instant belongs to: whatever the clocks say, two nodes that know the same shares never take one slot for their own. What
a clock is wrong by only moves when a slot is fired, and the guard band at the end of each slice is wider than two
clocks within the bound can differ: what runs in one slice is dead before the next begins anywhere.

Another order of the nodes, or another length, is another share of the time. It begins at the end of a slice that lies
a while ahead, so that all nodes in touch with the cluster change over at the same slot. A node that is cut off goes on
with the shares it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from peercron.core.job import Definition, Mode, OnAbsent, Trigger
from peercron.core.limits import SLICE_GUARD_MS, SLICE_HANDOVER_MS, SLICE_ROOM_MS_MIN, SLICE_SLOTS_SEARCHED_MAX
from peercron.core.run import RunState
from peercron.core.schedule import latest_slots, next_slot

#: Later than any instant.
INSTANT_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Share:
    """From the instant after `since_ms` on, slice k of this length belongs to nodes[k mod n]; no nodes: to nobody."""

    since_ms: int
    slice_ms: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slices:
    """The shares of a job's time, oldest first. The last may lie ahead."""

    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class SliceEntry:
    """What became of one slot on its node. `started_ms` None: nothing was started, and `outcome` says skipped or missed
    (or lost: it is not known).
    """

    slot_ms: int
    outcome: RunState
    reason: str = ""
    started_ms: int | None = None
    finished_ms: int | None = None
    exit_code: int | None = None
    output_tail: str = ""


class Slice(NamedTuple):
    """A part of time: from `begin_ms` to before `end_ms`, and whose it is (empty: nobody's)."""

    owner: str
    begin_ms: int
    end_ms: int


class Room(NamedTuple):
    """What is left of a slice for an attempt, in ms from now: TERM after the first, KILL after the second."""

    stop_ms: int
    kill_ms: int


def unled(definition: Definition) -> bool:
    """Whether the job's nodes fire it by themselves, with no leader."""
    return definition.mode is Mode.SLICE and definition.on_absent is OnAbsent.SKIP


def slice_at(shares: Sequence[Share], slot_ms: int) -> Slice | None:
    """The slice that an instant lies in; None: before the first share.

    >>> slice_at((Share(0, 5_000, ("a", "b")),), 12_000)
    Slice(owner='a', begin_ms=10000, end_ms=15000)
    """
    at = _share_at(shares, slot_ms)
    if at is None:
        return None
    share, until_ms = at
    k = slot_ms // share.slice_ms
    owner = share.nodes[k % len(share.nodes)] if share.nodes else ""
    begin_ms, end_ms = k * share.slice_ms, (k + 1) * share.slice_ms
    return Slice(owner, max(begin_ms, share.since_ms + 1), end_ms if until_ms is None else min(end_ms, until_ms + 1))


def room(slice_: Slice, now_ms: int, kill_grace_ms: int) -> Room | None:
    """How long an attempt that starts now may take; None: too little is left before the guard band.

    A grace that would eat up the slice is cut to a quarter of what is left.

    >>> room(Slice("a", 10_000, 20_000), 10_000, 1_000)
    Room(stop_ms=6500, kill_ms=7500)
    """
    left_ms = slice_.end_ms - SLICE_GUARD_MS - now_ms
    if left_ms < SLICE_ROOM_MS_MIN:
        return None
    return Room(left_ms - min(kill_grace_ms, left_ms // 4), left_ms)


class Own(NamedTuple):
    """One node's part of a job's slots.

    >>> own = Own("b", EveryTrigger(5_000), "1", (Share(0, 5_000, ("a", "b")),))
    >>> own.next_after(12_000)
    (15000, 15000)
    >>> own.between(0, 30_000, 9)
    (5000, 15000, 25000)
    """

    node: str
    trigger: Trigger
    uid: str
    shares: tuple[Share, ...]

    def next_after(self, after_ms: int) -> tuple[int | None, int]:
        """The first own slot after an instant (None: not found), and up to where was looked. Raises ScheduleError.

        Where it takes too long to find one, look again from there; at INSTANT_NEVER there is none.
        """
        at_ms = max(after_ms, self.shares[0].since_ms)
        for _ in range(SLICE_SLOTS_SEARCHED_MAX):
            slot_ms = next_slot(self.trigger, at_ms, self.uid)
            if slot_ms is None:
                return None, INSTANT_NEVER
            if self.owns(slot_ms):
                return slot_ms, slot_ms
            turn_ms = self._turn_after(slot_ms)
            if turn_ms is None:
                return None, INSTANT_NEVER
            at_ms = max(slot_ms, turn_ms - 1)
        return None, at_ms

    def between(self, after_ms: int, through_ms: int, limit: int) -> tuple[int, ...]:
        """The last `limit` own slots after one instant and not after another, in order. Raises ScheduleError.

        No more than SLICE_SLOTS_SEARCHED_MAX slots of anybody are looked at: what lies further back is not found.
        """
        after_ms, found = max(after_ms, self.shares[0].since_ms), list[int]()
        for _ in range(SLICE_SLOTS_SEARCHED_MAX):
            latest = latest_slots(self.trigger, after_ms, through_ms, self.uid, 1) if len(found) < limit else ()
            if not latest:
                break
            if self.owns(latest[0]):
                found.append(latest[0])
                through_ms = latest[0] - 1
            else:
                through_ms = self._turn_ended(latest[0])
        return tuple(reversed(found))

    def owns(self, slot_ms: int) -> bool:
        at = slice_at(self.shares, slot_ms)
        return at is not None and at.owner == self.node

    def _turn_after(self, slot_ms: int) -> int | None:
        """Where the node's next slice begins, or the next share does; None: there is none to come."""
        found = _share_at(self.shares, slot_ms)
        assert found is not None, "what is searched lies in a share"
        share, until_ms = found
        ends = [] if until_ms is None else [until_ms + 1]
        if self.node in share.nodes:
            k, place, n = slot_ms // share.slice_ms, share.nodes.index(self.node), len(share.nodes)
            ends.append((k + (place - k - 1) % n + 1) * share.slice_ms)
        return min(ends, default=None)

    def _turn_ended(self, slot_ms: int) -> int:
        """The last instant of the node's slice before this one, or of the share before."""
        found = _share_at(self.shares, slot_ms)
        assert found is not None, "what is searched lies in a share"
        share = found[0]
        if self.node not in share.nodes:
            return share.since_ms
        k, place, n = slot_ms // share.slice_ms, share.nodes.index(self.node), len(share.nodes)
        return max(share.since_ms, (k - (k - place - 1) % n) * share.slice_ms - 1)


def shared_anew(slices: Slices, slice_ms: int, nodes: tuple[str, ...], now_ms: int, keep: int) -> Slices:
    """The shares when time is to be shared otherwise from the end of a slice to come on; the same where it is not.

    A share that still lies far ahead is taken back; one that is near may be known to some and not to others, so it is
    let begin.
    """
    due_ms = now_ms + SLICE_HANDOVER_MS
    shares = slices.shares[:1] + tuple(share for share in slices.shares[1:] if share.since_ms <= due_ms)
    last = shares[-1]
    if (last.slice_ms, last.nodes) != (slice_ms, nodes):
        end_ms = (max(due_ms, last.since_ms + 1) // last.slice_ms + 1) * last.slice_ms
        shares = (*shares, Share(end_ms - 1, slice_ms, nodes))
    return Slices(shares[-keep:])


def stands_for_all(entry: SliceEntry, after_ms: int) -> SliceEntry:
    """The oldest of more slots than a ledger keeps: those before it are not listed one by one."""
    return replace(entry, reason=f"{entry.reason}; this one stands for all before it since {after_ms}")


def _share_at(shares: Sequence[Share], instant_ms: int) -> tuple[Share, int | None] | None:
    """The share that an instant lies in, and its last instant (None: it has no end)."""
    until_ms: int | None = None
    for share in reversed(shares):
        if share.since_ms < instant_ms:
            return share, until_ms
        until_ms = share.since_ms
    return None
