"""Members: who is invited to join, and who is given no more work. Who belongs is the configuration's to say."""

from __future__ import annotations

from peercron.core.apply.definition import named
from peercron.core.apply.standing import note_undrained
from peercron.core.commands import DrainMember, Invite, Uninvite
from peercron.core.limits import ADDRESS_LENGTH_MAX, MEMBERS_MAX, NAME_LENGTH_MAX
from peercron.core.member import VOTING, Invitation
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def invite(state: ClusterState, command: Invite) -> Verdict:
    refused = _refusal(state, command)
    if refused is not None:
        return refused
    known = state.invitations.get(command.address)
    if known is None or (known.role, known.name) != (command.role, command.name):
        invitation = Invitation(command.address, command.role, command.name, state.now_ms)
        state.invitations[command.address] = invitation
        state.happened("member", "invited", command.name or command.address, address=command.address)
    return Done(state.index, command.address)


def uninvite(state: ClusterState, command: Uninvite) -> Verdict:
    if state.invitations.pop(command.address, None) is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"nobody is invited at {command.address}")
    return Done(state.index, command.address)


def drain_member(state: ClusterState, command: DrainMember) -> Verdict:
    if command.member not in (state.seats or state.members):
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no member {command.member}")
    if command.drained != (command.member in state.drained):
        if command.drained:
            state.drained[command.member] = state.index
        else:
            del state.drained[command.member]
            note_undrained(state, command.member)
        name = state.members[command.member].info.name if command.member in state.members else command.member
        state.happened("member", "drained" if command.drained else "undrained", name)
        # Whoever waits for a node is looked at again.
        state.roster_revision = state.index
    return Done(state.index, command.member)


def _refusal(state: ClusterState, command: Invite) -> Refused | None:
    """Why nobody can be invited so; None: somebody can."""
    if not 0 < len(command.address) <= ADDRESS_LENGTH_MAX:
        return Refused(state.index, Refusal.INVALID, f"address: wants 1 to {ADDRESS_LENGTH_MAX} characters")
    if command.role not in VOTING:
        return Refused(state.index, Refusal.INVALID, "role: must be voter or witness")
    if command.name and not named(command.name):
        detail = f"name: {command.name!r} is not a name of letters, digits, '.', '_', '-' (at most {NAME_LENGTH_MAX})"
        return Refused(state.index, Refusal.INVALID, detail)
    for seat in state.seats.values():
        if seat.address == command.address:
            return Refused(state.index, Refusal.CONFLICT, f"{command.address} is the address of member {seat.name}")
        if command.name and seat.name == command.name:
            return Refused(state.index, Refusal.CONFLICT, f"{command.name} is the name of the member {seat.address}")
    others = [known for known in state.invitations.values() if known.address != command.address]
    for other in others:
        if command.name and other.name == command.name:
            return Refused(state.index, Refusal.CONFLICT, f"{command.name} is invited at {other.address}")
    if len(state.seats) + len(others) >= MEMBERS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"a cluster has at most {MEMBERS_MAX} members")
    return None
