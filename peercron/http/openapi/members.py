"""Members: who there is, who is expected, who goes, who is given no more work, and who leads."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from peercron.core.member import Role
from peercron.http.openapi.operation import Operation, optional
from peercron.http.openapi.parameters import text
from peercron.http.openapi.shape import NAME, Count, Instant, Shape

MemberState = Literal["leader", "follower", "learner", "connected", "up", "unreachable", "halted", "removed", "invited"]


class MemberView(Shape):
    """A member, or somebody who is expected. What is not known is null, or is not there.

    id: null: it has not come yet
    http: where it serves HTTP
    dc: its data centre
    state: connected: it is reached, and has not said that it is well; up: the asked node, while nobody leads; removed:
        it has no seat, and may still run what it was given
    drained: it is given no more work
    session: grows each time it was given up and came back
    applied: the index up to which it has the log
    behind: how many entries it lacks
    silent_ms: how long nothing has been heard of it
    rtt_ms: time of a message there and back
    clock_ms: how far its wall clock is from the leader's
    running: how many attempts
    level: the newest level of the replicated language that it speaks
    open: its session is open
    since: when that was opened
    expired_at: when it was given up
    """

    name: str
    id: str | None
    address: str
    role: Role
    state: MemberState | UnsetType = UNSET
    http: str | UnsetType | None = UNSET
    dc: str | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET
    drained: bool | UnsetType = UNSET
    session: Count | UnsetType | None = UNSET
    session_open: bool | UnsetType = UNSET
    applied: Count | UnsetType | None = UNSET
    behind: Count | UnsetType | None = UNSET
    silent_ms: Count | UnsetType | None = UNSET
    rtt_ms: float | UnsetType | None = UNSET
    clock_ms: int | UnsetType | None = UNSET
    running: Count | UnsetType = UNSET
    version: str | UnsetType | None = UNSET
    level: Count | UnsetType | None = UNSET
    open: bool | UnsetType = UNSET
    since: Instant | UnsetType = UNSET
    expired_at: Instant | UnsetType | None = UNSET


class MemberList(Shape):
    """Everybody."""

    members: list[MemberView]


_PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


class InviteBody(Shape):
    """Whom to expect.

    address: HOST:PORT, as the others reach it
    name: empty: as it says itself
    """

    address: Annotated[str, Meta(pattern=rf"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):{_PORT}$")]
    role: Literal["voter", "witness"] | None = "voter"
    name: Annotated[str, Meta(pattern=f"^({NAME})?$")] | None = ""


class Invited(Shape):
    """Somebody who is expected.

    command: what to type on its host
    """

    name: str
    id: None
    address: str
    role: Role
    state: Literal["invited"]
    command: str


class MemberRemoved(Shape):
    """Whose seat was taken."""

    removed: str
    id: str
    address: str | None


class Uninvited(Shape):
    """The address at which nobody is expected any more."""

    uninvited: str


class TransferBody(Shape):
    """Who is to lead; null: whoever has the most of the log."""

    to: str | None = None


class Leader(Shape):
    """Who leads now, as far as the asked node knows."""

    leader: str | None


_MEMBER: Final = {"name": text("a member: its name, its id or its address", minLength=1)}
OPERATIONS: Final = {
    "GET /v1/members": Operation("listMembers", {200: MemberList}),
    "POST /v1/members": Operation("addMember", {200: (MemberView, Invited), 201: Invited}, body=InviteBody),
    "DELETE /v1/members/{name}": Operation("removeMember", {200: (MemberRemoved, Uninvited)}, parameters=_MEMBER),
    "POST /v1/members/{name}:drain": Operation("drainMember", {200: MemberView}, parameters=_MEMBER),
    "POST /v1/members/{name}:undrain": Operation("undrainMember", {200: MemberView}, parameters=_MEMBER),
    "POST /v1/leader:transfer": Operation(
        "transferLeadership", {200: Leader}, body=optional(TransferBody), refuses=frozenset({404})
    ),
}
