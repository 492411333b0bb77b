"""Membership: this node's own place in the cluster: what it says of itself, whom it meets, and when it has to go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from peercron.address import split_address
from peercron.consensus.driver import Driver
from peercron.core.member import Role, Seat
from peercron.core.state import ClusterState
from peercron.errors import ProposalError, Refused
from peercron.identity import Identity
from peercron.node.errands import Errands
from peercron.settings import Settings
from peercron.wire.frames import Claim

log = logging.getLogger(__name__)

#: One try to have a newcomer admitted, or to tell the leader what has changed with us.
ADMIT_S: Final = 5.0
TELL_S: Final = 5.0
#: After a no to what we said of ourselves.
REFUSED_PAUSE_S: Final = 10.0
#: Words that end a membership; others are of a version that knows more, and are only logged.
FINAL: Final = frozenset({"removed", "wiped"})


class Contacts(Protocol):
    """The connections that follow the members."""

    def set_peers(self, peers: Mapping[str, tuple[str, int]], hints: tuple[tuple[str, int], ...] = ()) -> None: ...
    def review(self) -> None: ...


class Membership:
    """Implements `transport.Gate`.

    Args:
        settings: what this node was told.
        identity: what its data directory remembers.
        driver: its consensus.
        errands: its way to the leader.
        state: what was applied here.
        changed: told that another configuration acts or is committed.
        remembered: member id -> incarnation, for members that the state does not know yet; see `remembered`.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        driver: Driver,
        errands: Errands,
        state: Callable[[], ClusterState],
        changed: Callable[[], None],
        remembered: Mapping[str, str],
    ) -> None:
        self._settings, self._identity, self._driver, self._errands = settings, identity, driver, errands
        self._state, self._changed, self._remembered = state, changed, remembered
        self.contacts: Contacts | None = None
        #: Why we do not belong to the cluster any more; empty: we do, or we shall.
        self.expelled = ""
        self.ended = asyncio.Event()
        self._reviewed = -1
        self._to_tell = asyncio.Event()
        self._to_tell.set()
        self._hints = tuple(split_address(a) for a in (*settings.join, *settings.peers) if a != identity.address)

    @property
    def seat(self) -> Seat | None:
        """Our place in the newest configuration that we know."""
        return self._driver.replica.configuration.seat(self._identity.member)

    @property
    def name(self) -> str:
        """What we are called: as we were told, or else as the others know us."""
        seat = None if self._settings.name_given else self.seat
        return seat.name if seat is not None else self._settings.name

    @property
    def role(self) -> Role:
        if self._settings.role:
            return Role(self._settings.role)
        return self.seat.role if self.seat is not None else Role.VOTER

    def begin(self, contacts: Contacts) -> None:
        """Whom to call is known from the log, and from what the user said of where they are."""
        self.contacts = contacts
        self._aim()

    def turn(self, *, reconfigured: bool) -> None:
        """A turn is over: are there other members, or is more known of them?"""
        assert self.contacts is not None
        if reconfigured:
            self._aim()
            self._changed()
            self._to_tell.set()
            if self._driver.replica.removed:
                self._expel("removed", self._removed_words(self._identity.member))
        if self._state().roster_revision != self._reviewed:
            self._reviewed = self._state().roster_revision
            self.contacts.review()

    async def keep(self) -> None:
        """Tell the leader whenever our seat does not say of us what we are; for ever."""
        while True:
            self._to_tell.clear()
            pause_s = await self._tell() if self._differs() else None
            try:
                async with asyncio.timeout(pause_s):
                    await self._to_tell.wait()
            except TimeoutError:
                continue

    async def remove(self, member: str, seconds: float) -> None:
        """Have a member removed; returns when that is committed. NoLeader, OutcomeUnknown or Refused, as errands do."""
        if member != self._identity.member:
            await self._errands.ask("remove", member, seconds)
            return
        # Whoever removes us says so to our face, and that may be before the answer.
        asking = asyncio.ensure_future(self._errands.ask("remove", member, seconds))
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({asking, ended}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                asking.result()
        finally:
            for task in (asking, ended):
                task.cancel()

    # What the connections ask.

    def judge(self, claim: Claim) -> tuple[str, str] | None:
        state = self._state()
        if claim.member in state.removed:
            return "removed", self._removed_words(claim.member)
        row = state.members.get(claim.member)
        known = row.info.incarnation if row is not None else self._remembered.get(claim.member, "")
        if known and claim.incarnation not in ("", known):
            seat = self._driver.replica.configuration.seat(claim.member)
            name = row.info.name if row is not None else seat.name if seat is not None else claim.member
            return "wiped", (
                f"this data directory is new, and what member {name} had promised the cluster went with the old one: "
                f"`peercron member remove {name}`, then {self._beginning(seat.address if seat is not None else '')}"
            )
        return None

    def refused(self, peer: str, code: str, detail: str) -> None:
        log.error("sent_away", extra={"peer": peer, "code": code, "reason": detail})
        if code in FINAL:
            # Who has removed us may have forgotten what we were called, but knows who has our place now.
            self._expel(code, detail.replace(f"{self._identity.member} was", f"{self.name} was", 1))

    async def guest(self, request: Any) -> Mapping[str, Any]:
        members = [seat.address for seat in self._driver.replica.configuration.seats]
        try:
            body = tuple(str(request[key]) for key in ("id", "name", "address", "role"))
            answer = await self._errands.ask("admit", body, ADMIT_S)
        except (TypeError, KeyError):
            return {"type": "refused", "code": "invalid", "detail": "this version of peercron cannot read the request"}
        except Refused as error:
            return {"type": "refused", "code": error.code, "detail": str(error)}
        except ProposalError as error:
            return {"type": "later", "detail": str(error), "members": members}
        ours = {"cluster": self._identity.cluster, "founders": self._identity.founders}
        return {"type": "admitted", **answer, **ours}

    # Inside.

    def session_refused(self, code: str, detail: str) -> None:
        """The cluster did not let us open a session."""
        if code == "removed":
            self._expel(code, self._removed_words(self._identity.member))
        elif code == "copied":
            self._expel(code, f"{detail}: a data directory was copied; each node needs its own, and this one ends")
        elif code == "wiped":
            self._expel(code, f"{detail}: `peercron member remove {self.name}`, then {self._beginning()}")

    def _expel(self, code: str, words: str) -> None:
        if not self.expelled:
            self.expelled = words
            log.critical("expelled", extra={"code": code, "reason": words})
            self.ended.set()

    def _removed_words(self, member: str) -> str:
        row = self._state().members.get(member)
        name = self.name if member == self._identity.member else row.info.name if row is not None else member
        # A founder is called by its address; who came later, by chance.
        heir = next((seat for seat in self._driver.replica.configuration.seats if seat.address == member), None)
        if heir is None:
            return f"{name} was removed from this cluster; to come back as a new member, {self._beginning(member)}"
        return (
            f"{name} was removed from this cluster, and at its address there is member {heir.name} now: start it with "
            f"the --data-dir of that one; if that is lost, `peercron member remove {heir.name}`, "
            f"then {self._beginning(member)}"
        )

    def _beginning(self, asker: str = "") -> str:
        """`asker`: whom it is said to, when that is not this node: it is no way in for itself."""
        mine = self._identity.address
        others = [seat.address for seat in self._driver.replica.configuration.seats]
        via = next((address for address in others if address not in (asker or mine, mine)), mine)
        return f"start it with an empty --data-dir and --join {via}"

    def _aim(self) -> None:
        assert self.contacts is not None
        seats = self._driver.replica.configuration.seats
        peers = {seat.id: split_address(seat.address) for seat in seats if seat.id != self._identity.member}
        self.contacts.set_peers(peers, self._hints)

    def _differs(self) -> bool:
        seat, role = self.seat, self._settings.role
        if seat is None:
            return False
        has = seat.becomes if seat.role is Role.LEARNER else seat.role
        return seat.address != self._identity.address or seat.name != self.name or bool(role and has != role)

    async def _tell(self) -> float:
        """Say what we are; answers how long to wait before saying it again."""
        body = (self._settings.name if self._settings.name_given else "", self._identity.address, self._settings.role)
        try:
            await self._errands.ask("reseat", body, TELL_S)
        except Refused as error:
            log.warning("own_seat_not_changed", extra={"reason": str(error)})
            return REFUSED_PAUSE_S
        except ProposalError:
            return 0.0
        return REFUSED_PAUSE_S
