"""Sessions: a member comes, comes back, or is given up; what its older session held goes on elsewhere."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply.attempt import lose_attempt
from peercron.core.apply.configuration import forget_if_removed
from peercron.core.apply.contend import withdraw_everywhere
from peercron.core.apply.definition import named
from peercron.core.apply.health import doubt_session, forget_session
from peercron.core.apply.level import raise_level
from peercron.core.apply.lock import drop_waiters_of
from peercron.core.apply.standing import note_ended, note_opened
from peercron.core.commands import ExpireSession, OpenSession
from peercron.core.limits import ADDRESS_LENGTH_MAX, MEMBERS_MAX, NAME_LENGTH_MAX, TAGS_MAX
from peercron.core.member import Member, MemberInfo
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def open_session(state: ClusterState, command: OpenSession) -> Verdict:
    session = command.session
    known = state.members.get(command.info.id)
    info = _with_incarnation(command.info, known)
    if known is not None and known.session == session and known.open and known.info == info:
        return Done(state.index, session)
    refused = _refusal(state, command, known)
    if refused is not None:
        return refused
    opened = Member(info, session, open=True, opened_ms=state.now_ms)
    # The new session first: it may well be the only one that can take over what the older one held.
    state.members[info.id] = opened
    state.happened("member", "up", info.name, session=session, version=info.version)
    note_opened(state, opened, known)
    state.roster_revision = state.index
    state.results.pop(info.id, None)
    state.floors[info.id] = 0
    doubt_session(state, info.id)
    _give_up(state, info.id, f"session {known.session if known else 0} of node {info.name} ended: it came back anew")
    raise_level(state)
    return Done(state.index, session)


def expire_session(state: ClusterState, command: ExpireSession) -> Verdict:
    member = state.members.get(command.member)
    if member is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no member {command.member}")
    if member.session != command.session or not member.open:
        detail = f"session {command.session} is not the open one of {member.info.name}"
        return Refused(state.index, Refusal.STALE_SESSION, detail)
    state.members[command.member] = replace(member, open=False, expired_ms=state.now_ms)
    state.happened("member", "down", member.info.name, session=command.session)
    note_ended(state, member)
    state.roster_revision = state.index
    forget_session(state, command.member)
    _give_up(state, command.member, f"session {command.session} of node {member.info.name} expired")
    forget_if_removed(state, command.member)
    return Done(state.index, command.session)


def _give_up(state: ClusterState, member_id: str, reason: str) -> None:
    """Everything that the member holds under an ended session is free again."""
    withdraw_everywhere(state, member_id)
    state.lacking.pop(member_id, None)  # it may come back with other modules
    drop_waiters_of(state, member_id)  # first, so that nothing is granted to who is not there
    for run_id in tuple(state.live_attempts.get(member_id, ())):
        lose_attempt(state, state.runs[run_id], reason)


def _with_incarnation(info: MemberInfo, known: Member | None) -> MemberInfo:
    """A version of peercron that does not know its incarnation does not make the cluster forget it."""
    return replace(info, incarnation=known.info.incarnation) if known and not info.incarnation else info


def _refusal(state: ClusterState, command: OpenSession, known: Member | None) -> Refused | None:
    """Why the session cannot be opened; None: it can."""
    info, session = command.info, command.session
    flaw = _flaw(info, session)
    if flaw:
        return Refused(state.index, Refusal.INVALID, flaw)
    if state.seats and info.id not in state.seats:
        return Refused(state.index, Refusal.REMOVED, f"{info.name} ({info.id}) is not a member of this cluster")
    if info.level < state.level:
        return Refused(state.index, Refusal.UNSUPPORTED, _outgrown(state, info))
    if known is not None and known.info.incarnation and info.incarnation not in ("", known.info.incarnation):
        detail = f"the data directory of {info.name} is not the one that the cluster knows as {info.id}"
        return Refused(state.index, Refusal.WIPED, detail)
    if known is not None and session < known.session:
        detail = f"session {session} of {info.name} is older than its session {known.session}"
        return Refused(state.index, Refusal.STALE_SESSION, detail)
    if known is not None and session == known.session:
        if known.open:
            detail = f"session {session} of {known.info.name} is open with other details"
            return Refused(state.index, Refusal.CONFLICT, detail)
        return Refused(state.index, Refusal.STALE_SESSION, f"session {session} of {known.info.name} has expired")
    for other in state.members.values():
        if other.info.name == info.name and other.info.id != info.id:
            detail = f"name {info.name} is that of member {other.info.id}"
            return Refused(state.index, Refusal.CONFLICT, detail)
    if known is None and len(state.members) >= MEMBERS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"a cluster has at most {MEMBERS_MAX} members")
    return None


def _outgrown(state: ClusterState, info: MemberInfo) -> str:
    others = [member.info for member in state.members.values() if member.info.level >= state.level]
    known = ", ".join(f"{other.name} runs {other.version}" for other in others if other.id != info.id)
    runs = f"{info.name} runs {info.version}, which speaks level {info.level}"
    return f"{runs}; the cluster went on to level {state.level} and cannot go back ({known})"


def _flaw(info: MemberInfo, session: int) -> str:
    """What is wrong with what a node says of itself; empty: nothing."""
    if session < 1:
        return f"session: {session} is not a positive number"
    if not 0 < len(info.id) <= ADDRESS_LENGTH_MAX:
        return f"id: wants 1 to {ADDRESS_LENGTH_MAX} characters"
    if not named(info.name):
        return f"name: {info.name!r} is not a name of letters, digits, '.', '_', '-' (at most {NAME_LENGTH_MAX})"
    if info.level < 1:
        return f"level: {info.level} is not a positive number"
    if max(map(len, (info.address, info.http, info.dc, info.version, info.incarnation))) > ADDRESS_LENGTH_MAX:
        return f"address, http, dc, version, incarnation: want at most {ADDRESS_LENGTH_MAX} characters"
    if len(info.tags) > TAGS_MAX or any(len(key) + len(value) > NAME_LENGTH_MAX for key, value in info.tags):
        return f"tags: want at most {TAGS_MAX}, each of at most {NAME_LENGTH_MAX} characters"
    return ""
