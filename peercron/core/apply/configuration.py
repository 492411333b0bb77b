"""Configuration: who belongs to the cluster, told by the consensus when a configuration is committed and applied."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply import slices
from peercron.core.apply.change import forget_changes
from peercron.core.apply.health import forget_subject
from peercron.core.apply.level import raise_level
from peercron.core.limits import GENERATION_MAX, GENERATION_SHIFT, REMOVED_KEPT
from peercron.core.member import Configuration, Seat
from peercron.core.state import ClusterState


def configure(state: ClusterState, configuration: Configuration) -> None:
    """Take over the seats. A member without one is given nothing more; its row goes when its session has ended, since
    until then it may still run what it was given.
    """
    state.index += 1
    if configuration.recoveries != state.recoveries:
        state.recoveries = configuration.recoveries
        _forget_directories(state)
        begin_generation(state, state.generation + 1)
        state.happened("cluster", "recovered", "", generation=state.generation)
    before, state.seats = state.seats, {seat.id: seat for seat in configuration.seats}
    for member_id in before:
        if member_id not in state.seats:
            state.removed[member_id] = state.index
            state.drained.pop(member_id, None)
    for member_id in list(state.removed)[: max(0, len(state.removed) - REMOVED_KEPT)]:
        del state.removed[member_id]
    for seat in configuration.seats:
        state.invitations.pop(seat.address, None)
    _tell_of_seats(state, before)
    state.roster_revision = state.index
    renamed = {before[id_].name: seat.name for id_, seat in state.seats.items() if id_ in before}
    if any(old != new for old, new in renamed.items()):
        slices.rename(state, renamed)
    for member_id in tuple(state.members):
        forget_if_removed(state, member_id)
    _rename(state)
    raise_level(state)


def begin_generation(state: ClusterState, generation: int) -> None:
    """From here on every token, revision and index is larger than any that another history of this cluster gave out."""
    state.generation = min(generation, GENERATION_MAX)
    state.index = max(state.index, (state.generation - 1) << GENERATION_SHIFT)
    forget_changes(state)  # who watched may have seen some that are not of this history


def forget_if_removed(state: ClusterState, member_id: str) -> None:
    """Drop the row of a member that has neither a seat nor an open session."""
    if state.seats and member_id not in state.seats and not state.members[member_id].open:
        del state.members[member_id]
        state.results.pop(member_id, None)
        state.floors.pop(member_id, None)
        forget_subject(state, member_id)
        state.wellness.pop(member_id, None)


def _tell_of_seats(state: ClusterState, before: dict[str, Seat]) -> None:
    for member_id, seat in state.seats.items():
        if member_id not in before or before[member_id].role is not seat.role:
            state.happened("member", "joined", seat.name or seat.address, address=seat.address, role=seat.role.value)
    for member_id, seat in before.items():
        if member_id not in state.seats:
            state.happened("member", "left", seat.name or seat.address, address=seat.address)


def _forget_directories(state: ClusterState) -> None:
    """Which data directory is whose begins anew with a recovery: it is told by whoever is there when it does."""
    for member_id, member in state.members.items():
        state.members[member_id] = replace(member, info=replace(member.info, incarnation=""))


def _rename(state: ClusterState) -> None:
    """Where a seat's address moved, the row says so too; all else a member says itself when it opens a session."""
    for member_id, member in state.members.items():
        seat = state.seats.get(member_id)
        if seat is not None and seat.address != member.info.address:
            state.members[member_id] = replace(member, info=replace(member.info, address=seat.address))
