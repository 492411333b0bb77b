"""Roster: in which order the nodes of a job come: as its definition names them, else as the cluster does."""

from __future__ import annotations

from peercron.core.job import Definition
from peercron.core.member import Role
from peercron.core.state import ClusterState


def roster(state: ClusterState, definition: Definition) -> tuple[str, ...]:
    """Names of the nodes of a job in their order, be they there or not: `nodes`, or all voters that are no witness in
    the order of the last configuration.
    """
    return definition.nodes or voters(state)


def voters(state: ClusterState) -> tuple[str, ...]:
    """Names of those who may run something, in the order of the last configuration."""
    if state.seats:
        return tuple([seat.name for seat in state.seats.values() if seat.role is Role.VOTER])
    return tuple([member.info.name for member in state.members.values() if member.info.role is Role.VOTER])
