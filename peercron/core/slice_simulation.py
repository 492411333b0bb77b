"""Slice simulation: what nodes would do in their slices, which no leader plans, by the rules that they go by."""

from __future__ import annotations

from collections.abc import Iterator

from peercron.core.happening import Happening
from peercron.core.schedule import next_slot
from peercron.core.slice_duty import Go, Mind, Plan, decide, plan_of, unfit_here
from peercron.core.slices import slice_at
from peercron.core.state import ClusterState


def slice_happenings(
    state: ClusterState, uid: str, *, from_ms: int, through_ms: int, lasting_ms: int
) -> Iterator[Happening]:
    """What becomes of the slots of a job in slices after one instant and through another, with clocks that are right.

    It begins with the state as it is now, wherever that goes meanwhile. Nothing for a job that a leader fires.
    """
    plan = plan_of(state, uid)
    if plan is None:
        return iter(())
    return _happenings(state, plan, max(from_ms, state.now_ms), through_ms, lasting_ms)


def _happenings(state: ClusterState, plan: Plan, from_ms: int, through_ms: int, lasting_ms: int) -> Iterator[Happening]:
    #: Node -> when what it began is over.
    ends: dict[str, list[int]] = {}
    trigger, uid, slot_ms = plan.job.definition.trigger, plan.job.uid, from_ms
    while (found := next_slot(trigger, slot_ms, uid)) is not None and found <= through_ms:
        slot_ms = found
        where = slice_at(plan.slices.shares, slot_ms)
        if where is not None and where.owner:
            yield _decided(state, plan, slot_ms, where.owner, ends.setdefault(where.owner, []), lasting_ms)


def _decided(state: ClusterState, plan: Plan, slot_ms: int, node: str, ends: list[int], lasting_ms: int) -> Happening:
    key = plan.job.key
    if not any(member.info.name == node and member.open for member in state.members.values()):
        return Happening(slot_ms, key, slot_ms, "missed", reason=f"it is node {node}'s, which is down")
    ends[:] = [end_ms for end_ms in ends if end_ms > slot_ms]
    (found,) = decide(plan, [slot_ms], Mind(node, slot_ms, doubt=unfit_here(state, plan, node), alive=len(ends)))
    if not isinstance(found, Go):
        return Happening(slot_ms, key, slot_ms, found.outcome.value, reason=found.reason)
    ends.append(slot_ms + min(lasting_ms, found.room.stop_ms))
    return Happening(slot_ms, key, slot_ms, "starts", node)
