"""Roster: in which order the nodes of a job come: as its definition names them, else as the cluster does."""

from __future__ import annotations

from peercron.core.job import Definition, Job, Mode
from peercron.core.member import Role
from peercron.core.slices import slice_at, unled
from peercron.core.state import ClusterState


def roster(state: ClusterState, definition: Definition) -> tuple[str, ...]:
    """Names of the nodes of a job in their order, be they there or not: `nodes`, or all voters that are no witness in
    the order of the last configuration.
    """
    return definition.nodes or voters(state)


def owner(state: ClusterState, job: Job, slot_ms: int) -> str:
    """Whose slot it is in mode slice, be that node there or not; empty: nobody's."""
    if unled(job.definition):
        found = slice_at(state.slices[job.uid].shares, slot_ms)
        return found.owner if found is not None else ""
    order = roster(state, job.definition) if job.definition.mode is Mode.SLICE else ()
    return order[slot_ms // job.definition.slice_ms % len(order)] if order else ""


def voters(state: ClusterState) -> tuple[str, ...]:
    """Names of those who may run something, in the order of the last configuration."""
    if state.seats:
        return tuple([seat.name for seat in state.seats.values() if seat.role is Role.VOTER])
    return tuple([member.info.name for member in state.members.values() if member.info.role is Role.VOTER])
