"""Steward: the leader's end of membership: who is taken in, who has changed, who goes, one change at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from peercron.address import NAME_PATTERN, is_unspecified, join_address, split_address
from peercron.consensus.driver import Driver
from peercron.consensus.membership import objection
from peercron.core.limits import ADDRESS_LENGTH_MAX
from peercron.core.member import VOTING, Configuration, Role, Seat
from peercron.core.state import ClusterState
from peercron.errors import NoLeader, Refused

log = logging.getLogger(__name__)

#: How often a change is looked at that nothing tells of (leadership being handed over).
LOOK_S: Final = 0.1
#: What a newcomer may become.
ROLES: Final = (Role.VOTER, Role.WITNESS)

Seats = tuple[Seat, ...]
#: Takes who asks, and about what.
Answer = Callable[[str, Any], Awaitable[Any]]


class Steward:
    """Answers errands about members where this node leads. Each is the same when it is asked twice.

    Args:
        driver: whose replica is asked for changes.
        state: what was applied here.
        resign: begins to hand leadership to somebody else.
        errands: name -> who answers it; beside those about members.
    """

    def __init__(
        self,
        driver: Driver,
        state: Callable[[], ClusterState],
        resign: Callable[[], None],
        errands: Mapping[str, Answer] = MappingProxyType({}),
    ) -> None:
        self._driver, self._state, self._resign = driver, state, resign
        #: Errand -> who answers it.
        self._errands: dict[str, Answer] = {
            **errands,
            "admit": self._admit,
            "reseat": self._reseat,
            "remove": self._remove,
        }
        self._changing = asyncio.Lock()
        self._moved = asyncio.Event()

    def moved(self) -> None:
        """A configuration was committed, or another acts."""
        self._moved.set()

    async def serve(self, peer: str, errand: str, body: Any) -> Any:
        """The answer to an errand of a member.

        Raises:
            NoLeader: we do not lead, or not any more.
            Refused: no, for a reason that asking again does not change.
        """
        known = self._errands.get(errand)
        if known is None:
            raise Refused("invalid", f"this version of peercron knows no errand {errand!r}")
        return await known(peer, body)

    # The errands.

    async def _admit(self, peer: str, body: Any) -> dict[str, Any]:
        """Give a newcomer a seat, at first without a vote. Body: (id, name, address, role); empty: no preference."""
        member, name, address, role = body
        if member in self._state().removed:
            raise Refused("removed", f"{member} was removed from this cluster; start it anew with an empty --data-dir")
        address = _dialled(address)
        if not 0 < len(member) <= ADDRESS_LENGTH_MAX:
            raise Refused("invalid", f"id: wants 1 to {ADDRESS_LENGTH_MAX} characters")
        if role and role not in ROLES:
            raise Refused("invalid", f"role: must be one of {', '.join(ROLES)}")
        await self._change(lambda now: self._with_newcomer(now, member, name, address, role))
        configuration = self._driver.replica.committed_configuration
        seat = configuration.seat(member)
        if seat is None:
            raise NoLeader("it was removed again")
        return {"name": seat.name, "members": [each.address for each in configuration.seats if each is not seat]}

    async def _reseat(self, peer: str, body: Any) -> None:
        """A member says its name, address and role; empty: as it is."""
        name, address, role = body
        address = _dialled(address)
        if role and role not in ROLES:
            raise Refused("invalid", f"role: must be one of {', '.join(ROLES)}")
        if name and not NAME_PATTERN.fullmatch(name):
            raise Refused("invalid", f"{name!r} is no name")
        await self._change(lambda now: _with_changed(now, peer, name, address, role))

    async def _remove(self, peer: str, member: str) -> None:
        await self._change(lambda now: self._without(now, member))

    # What the configuration shall be.

    def _with_newcomer(self, now: Configuration, member: str, name: str, address: str, role: str) -> Seats | None:
        if now.seat(member) is not None:
            return None
        for seat in now.seats:
            if seat.address == address:
                cure = f"if that node is gone for good, `peercron member remove {self._called(seat)}` first"
                raise Refused("conflict", f"{address} is the address of member {self._called(seat)}; {cure}")
        invitation = self._state().invitations.get(address)
        if invitation is not None:
            if role and role != invitation.role:
                raise Refused("conflict", f"{address} was invited as {invitation.role}, not as {role}")
            if name and invitation.name and name != invitation.name:
                raise Refused("conflict", f"{address} was invited under the name {invitation.name}, not {name}")
            role, name = invitation.role, name or invitation.name
        name = self._free_name(now, name, address)
        return (*now.seats, Seat(member, name, address, Role.LEARNER, Role(role or Role.VOTER)))

    def _free_name(self, now: Configuration, name: str, address: str) -> str:
        """The name that was asked for; without one the host's, or where that repeats or is taken, host and port."""
        others = self._state().invitations.values()
        taken = {s.name: s.address for s in now.seats} | {i.name: i.address for i in others if i.address != address}
        host, port = split_address(address)
        plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in host).lstrip("-._")
        repeats = any(split_address(seat.address)[0] == host for seat in now.seats)
        wanted = (name,) if name else (plain, f"{plain}-{port}")[repeats:]
        free = next((each for each in wanted if each not in taken), None)
        if free is None:
            raise Refused("conflict", f"the name {wanted[-1]} is that of {taken[wanted[-1]]}; give another --name")
        if not NAME_PATTERN.fullmatch(free):
            raise Refused("invalid", f"{free!r} is no name; give another --name")
        return free

    def _without(self, now: Configuration, member: str) -> Seats | None:
        seat = now.seat(member)
        if seat is None:
            return None
        left = tuple(each for each in now.seats if each is not seat)
        if not any(each.role is Role.VOTER for each in left):
            raise Refused("not_ready", f"without {self._called(seat)} there would be no voter left that runs jobs")
        if seat.role in VOTING:
            self._check_majority(seat, left)
        if member == self._driver.replica.me:
            self._resign()
            raise NoLeader(f"{self._called(seat)} leads, and hands leadership over first")
        return left

    def _check_majority(self, seat: Seat, left: Seats) -> None:
        """A cluster that is left with too few who are there could not even commit that it is."""
        voters = [each for each in left if each.role in VOTING]
        there = {self._driver.replica.me, *self._driver.connected}
        missing = [self._called(each) for each in voters if each.id not in there]
        quorum = len(voters) // 2 + 1
        if len(voters) - len(missing) < quorum:
            raise Refused(
                "not_ready",
                f"without {self._called(seat)} there would be {len(voters)} voters, of whom {quorum} must be there,"
                f" and {', '.join(missing)} cannot be reached: bring back or remove {missing[0]} first",
            )

    def _called(self, seat: Seat) -> str:
        """The name that its node goes by. A founder's seat is named after its address until it has said another one."""
        row = self._state().members.get(seat.id)
        return row.info.name if row is not None else seat.name

    # The change.

    async def _change(self, alter: Callable[[Configuration], Seats | None]) -> None:
        """Change the seats until `alter` has no more wishes (None) and what it wished for is committed."""
        async with self._changing:
            while True:
                replica = self._driver.replica
                if not replica.kernel.noop_applied or self._driver.halt_reason is not None:
                    raise NoLeader
                self._moved.clear()
                if replica.configuration_settled:
                    seats = alter(replica.configuration)
                    if seats is None:
                        return
                    self._put(replica.configuration, seats)
                await self._wait()

    def _put(self, before: Configuration, seats: Seats) -> None:
        replica = self._driver.replica
        why = objection(before, seats, replica.me)
        if why is not None:
            raise Refused("not_ready", why)
        why = replica.change(seats)
        log.info(
            "members_changing",
            extra={"seats": ", ".join(f"{s.name} {s.role}" for s in seats), "waits_for": why or "its commit"},
        )
        self._driver.kick()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._moved.wait()
        except TimeoutError:
            return


def _with_changed(now: Configuration, member: str, name: str, address: str, role: str) -> Seats | None:
    seat = now.seat(member)
    if seat is None:
        raise Refused("removed", f"{member} is not a member of this cluster")
    wanted = replace(seat, name=name or seat.name, address=address)
    if role:
        learns = seat.role is Role.LEARNER
        wanted = replace(wanted, becomes=Role(role)) if learns else replace(wanted, role=Role(role))
    return None if wanted == seat else tuple(wanted if each is seat else each for each in now.seats)


def _dialled(address: object) -> str:
    """The one way to write an address, so that the same is not there twice."""
    try:
        host, port = split_address(str(address))
    except ValueError as error:
        raise Refused("invalid", str(error)) from None
    if is_unspecified(host):
        raise Refused("invalid", f"{address} cannot be dialled; give the one that the others reach")
    return join_address(host, port)
