"""Level: the cluster goes on to a newer language as soon as everybody who belongs to it speaks that."""

from __future__ import annotations

from peercron.core.apply.change import LEVEL as CHANGES_LEVEL
from peercron.core.apply.change import forget_changes
from peercron.core.state import ClusterState


def raise_level(state: ClusterState) -> None:
    """The last deed of each command by which a member says what it speaks, or by which a seat comes or goes: the whole
    command is still of the level before.

    Each seat counts, also that of a member that is not there now: what it will find in the log must not be news to it.
    """
    belonging = state.seats or state.members
    said = [state.members[member_id].info.level for member_id in belonging if member_id in state.members]
    if said and len(said) == len(belonging):
        before, state.level = state.level, max(state.level, min(said))
        if state.level > before:
            state.happened("cluster", "level_raised", "", level=state.level)
        if before < CHANGES_LEVEL:
            forget_changes(state)  # none was kept until now
