"""Renewal: this member's session with whoever leads, and, where we lead, everybody's sessions with us."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.consensus.session import Lease, Session, Sessions
from peercron.core.commands import Command, ExpireSession, OpenSession
from peercron.core.level import spoken
from peercron.core.member import Member, MemberInfo
from peercron.core.verdict import Done, Verdict
from peercron.errors import DataDirError, NoLeader, ProposalError
from peercron.identity import DataDir, Identity
from peercron.machine import Machine
from peercron.timers import Timers

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 2.0
OPEN_PAUSE_S: Final = 0.05
EXPIRE_TIMEOUT_S: Final = 2.0
#: How often the leader looks for sessions that ended.
LOOKS_PER_RENEWAL: Final = 3

Propose = Callable[[Command, float], "asyncio.Future[Verdict]"]


class Renewal:
    """Both ends of sessions.

    Args:
        describe: what this member says of itself.
        machine: whose state knows the sessions.
        timers: lease and renewal times.
        propose, propose_here: take a command and a time-out in seconds; the latter only while this member leads.
        extend: told (stop at, kill at), in monotonic seconds, whenever the lease has become longer.
        refused: told (code, detail) when the cluster did not let us open a session.
        lost: awaited when our session was expired: nothing of ours runs when it returns.
        opened: told the number of a session before it is opened.
    """

    def __init__(
        self,
        describe: Callable[[], MemberInfo],
        identity: Identity,
        data_dir: DataDir,
        machine: Machine,
        timers: Timers,
        clock: Clock,
        propose: Propose,
        propose_here: Propose,
        extend: Callable[[float, float], None],
        refused: Callable[[str, str], None],
        lost: Callable[[], Awaitable[None]],
        opened: Callable[[int], None],
    ) -> None:
        self._describe, self.identity, self._data_dir = describe, identity, data_dir
        self._me = identity.member
        self._machine, self._timers, self._clock = machine, timers, clock
        self._propose, self._propose_here = propose, propose_here
        self._extend, self._refused, self._lost, self._opened = extend, refused, lost, opened
        self.lease = Lease(timers.lease_ms / 1000)
        self.sessions: Sessions | None = None
        self._looked_s = float("-inf")
        #: The leader that we know, whether it is a new one, and whether it has confirmed a renewal.
        self._leader: str | None = None
        self._new_leader = asyncio.Event()
        self._confirmed = False
        self.driver: Driver | None = None
        self._expiring: set[Session] = set()
        #: The last session that was opened for us.
        self._held = 0
        #: A session's number, and when it was first asked for: that may have opened it, whichever try is answered, and
        #: the leader counts from there.
        self._asked = 0, float("-inf")
        #: Confirmations that the leader owes: they go out when a majority has told that we lead.
        self._tasks: dict[asyncio.Task[None], None] = {}
        #: Member -> what it told of itself with its last renewal.
        self.told: dict[str, tuple[float | None, int | None]] = {}

    @property
    def member(self) -> Member | None:
        return self._machine.state.members.get(self._me)

    @property
    def is_open(self) -> bool:
        member = self.member
        return member is not None and member.open and member.session == self.identity.session

    async def keep(self) -> None:
        """Open the session, renew it, and open a new one whenever it was given up; for ever."""
        assert self.driver is not None
        while True:
            if not self.is_open:
                await self._open()
            self._new_leader.clear()
            self._renew()
            # A new leader is deaf until it has committed something.
            pause_ms = self._timers.renew_ms if self._confirmed else self._timers.heartbeat_ms
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_ms / 1000):
                    await self._new_leader.wait()

    def turn(self) -> None:
        """Tell a new leader at once; where we lead: give up the sessions that were not heard for a lease.

        While there was no leader our lease may have run out, and until it is renewed nothing starts here. Heartbeats
        make turns enough.
        """
        assert self.driver is not None
        leader = self.driver.replica.kernel.leader
        if leader != self._leader:
            self._leader, self._confirmed = leader, leader is None
            self._new_leader.set()
        now_s, every_s = self._clock.monotonic(), self._timers.renew_ms / LOOKS_PER_RENEWAL / 1000
        if self.sessions is not None and now_s - self._looked_s >= every_s:
            self._looked_s = now_s
            self._expire(self.sessions, now_s, every_s)

    def lead(self) -> None:
        if self.sessions is None:
            self.sessions = Sessions(self._timers.lease_ms / 1000)

    def follow(self) -> None:
        self.sessions = None

    async def leave(self) -> None:
        """Give our own session up, so that others need not wait for its end. Best effort."""
        if self.is_open:
            try:
                await self._propose(ExpireSession(self._me, self.identity.session), EXPIRE_TIMEOUT_S)
            except ProposalError as error:
                log.info("session_not_given_up", extra={"reason": str(error)})

    def on_mail(self, peer: str, kind: str, body: Any) -> None:
        now_s = self._clock.monotonic()
        if kind == "renew":
            self._on_renew(peer, body, now_s)
        elif kind == "renewed":
            number, held_ms, wall_ms = body
            if self.lease.confirmed(number, now_s, held_ms, wall_ms):
                self._confirmed = True
                self._extended()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # The member's end.

    async def _open(self) -> None:
        while not self.is_open:
            if not await self._renumbered():
                await asyncio.sleep(OPEN_TIMEOUT_S)
                continue
            if self._asked[0] != self.identity.session:
                self._asked = self.identity.session, self._clock.monotonic()
            info = spoken(self._describe(), self._machine.state.level)
            try:
                verdict = await self._propose(OpenSession(info, self.identity.session), OPEN_TIMEOUT_S)
            except NoLeader:
                pass
            except ProposalError as error:
                log.info("session_not_open_yet", extra={"reason": str(error)})
            else:
                if isinstance(verdict, Done):
                    self._held = self.identity.session
                    self.lease.begin(self._asked[1])
                    self._extended()
                    log.info("session_opened", extra={"session": self.identity.session})
                    return
                log.error("session_refused", extra={"reason": verdict.detail})
                self._refused(str(verdict.code), verdict.detail)
                await asyncio.sleep(OPEN_TIMEOUT_S)
            await asyncio.sleep(OPEN_PAUSE_S)

    async def _renumbered(self) -> bool:
        """A number that was given up, or that somebody used, is never used again; and what ran under it is dead.

        False: there is no other number, for now or for ever.
        """
        member = self.member
        if member is None or member.session < self.identity.session:
            return True
        log.warning("session_lost", extra={"session": self.identity.session})
        await self._lost()
        if member.session > self._held == self.identity.session:
            # Only we make numbers greater than the one that we hold, unless somebody is us too.
            self._refused("copied", f"another node is {self._me} too, and opened session {member.session} after ours")
            return False
        try:
            while self.identity.session <= member.session:
                self.identity = self._data_dir.next_session(self.identity)
        except DataDirError as error:
            log.warning("session_not_numbered", extra={"reason": str(error)})
            return False
        self._opened(self.identity.session)
        return True

    def _renew(self) -> None:
        assert self.driver is not None
        replica, now_s = self.driver.replica, self._clock.monotonic()
        leader = replica.kernel.leader
        if leader is None or not self.is_open:
            return
        number = self.lease.renewal(now_s, self._clock.wall_ms())
        body = (self.identity.session, number, self.lease.rtt_ms, self.lease.clock_ms)
        if leader == replica.me:
            self._on_renew(replica.me, body, now_s)
        else:
            replica.mail(leader, "renew", body)
            self.driver.kick()

    def _extended(self) -> None:
        base_s = self.lease.sent_s
        self._extend(base_s + self._timers.stop_ms / 1000, base_s + self._timers.kill_ms / 1000)

    # The leader's end.

    def _on_renew(self, peer: str, body: Any, now_s: float) -> None:
        session, number, rtt_ms, clock_ms = body
        member = self._machine.state.members.get(peer)
        if self.sessions is None or member is None or not member.open or member.session != session:
            return
        first = self.sessions.heard((peer, session), now_s)
        self.told[peer] = (rtt_ms, clock_ms)
        self._background(self._confirm(self.sessions, (peer, session), number, now_s, urgent=first))

    async def _confirm(
        self, sessions: Sessions, session: Session, number: int, heard_s: float, *, urgent: bool
    ) -> None:
        """Say yes only when a majority has told, after the renewal came, that we lead, and we lead still."""
        assert self.driver is not None
        try:
            await self.driver.read_barrier(heard_s + self._timers.lease_ms / 1000, urgent=urgent)
        except NoLeader:
            return
        now_s = self._clock.monotonic()
        if self.sessions is not sessions or sessions.is_doomed(session):
            return
        body = (number, (now_s - heard_s) * 1000, self._clock.wall_ms())
        if session[0] == self._me:
            self.on_mail(self._me, "renewed", body)
        else:
            self.driver.replica.mail(session[0], "renewed", body)
            self.driver.kick()

    def _expire(self, sessions: Sessions, now_s: float, every_s: float) -> None:
        open_sessions = [(id_, member.session) for id_, member in self._machine.state.members.items() if member.open]
        for session in sessions.expired(open_sessions, now_s, every_s):
            if session not in self._expiring:
                self._expiring.add(session)
                self._background(self._give_up(session))

    async def _give_up(self, session: Session) -> None:
        member, number = session
        log.warning("session_expired", extra={"member": member, "session": number})
        try:
            # Here and now or not at all: sent again to a later leader, it would end a session that one has renewed.
            await self._propose_here(ExpireSession(member, number), EXPIRE_TIMEOUT_S)
        except ProposalError as error:
            log.info("session_not_expired_yet", extra={"member": member, "reason": str(error)})
        finally:
            self._expiring.discard(session)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
