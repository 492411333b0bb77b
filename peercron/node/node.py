"""Node: one member whole: its consensus, its share of the work, and what HTTP asks of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from peercron.address import split_address
from peercron.consensus.driver import Driver
from peercron.consensus.outbox import Output
from peercron.consensus.proposer import Proposer
from peercron.consensus.raft import verify_kernel
from peercron.execution.port import AttemptResult
from peercron.machine import Machine
from peercron.node.asked import Asked
from peercron.node.assembly import Parts, describe, identify, open_replica
from peercron.node.clock_doubt import ClockDoubt
from peercron.node.dispatch import Dispatch
from peercron.node.health import Health
from peercron.node.leadership import HANDOVER_S, Leadership
from peercron.node.leases import Leases
from peercron.node.members import MAIL, Members
from peercron.node.planning import Planning
from peercron.node.proposals import Proposals
from peercron.node.renewal import Renewal
from peercron.node.roster import ROSTER_S, Roster, frailty
from peercron.node.slice_journal import SliceJournal
from peercron.node.slices import Slices
from peercron.node.watch import Watch
from peercron.runpass import run_pass
from peercron.settings import Settings

log = logging.getLogger(__name__)

#: How long, beyond their grace, an orderly end waits for attempts to be gone.
END_S: Final = 5.0


class Node(Asked):
    """A member of the cluster in this process. `start`, then `run` for ever, then `stop`.

    Args:
        settings: what it was told.
        parts: what it stands on; default: this machine.

    Raises:
        DataDirError: the data directory cannot be used.
        JournalDamaged, SnapshotDamaged, TooOld: what it holds is unreadable, or is a newer version's.
        KernelMismatch: another pysyncobj than the proven one is installed.
    """

    #: The last entry of the log when this process began.
    _found = 0

    def __init__(self, settings: Settings, parts: Parts | None = None) -> None:
        verify_kernel()
        parts = parts or Parts(settings)
        self.settings, self._clock = settings, parts.clock
        self._data_dir, self._watch = parts.data_dir(), Watch(lambda: self.state)
        identity = identify(settings, parts, self._data_dir)
        self.me = identity.member
        self._machine = Machine(self.me)
        self._tasks: list[asyncio.Task[None]] = []
        replica = open_replica(parts, identity, self._machine)
        identity = self._data_dir.next_session(identity)
        timers = settings.timers
        self._driver = Driver(replica, self._clock, self, timers.heartbeat_ms / 1000, parts.journal_bytes_max)
        self._proposer = Proposer(self.me, replica.propose, replica.propose_here, self._machine.objection)
        self._proposer.open(identity.session)
        self._proposals = Proposals(self._proposer, self._driver, self._clock)
        propose = self._proposals.propose
        self._leases = Leases(
            self._machine, self._clock, partial(propose, here=True), self._driver.read_barrier, self._errand
        )
        self._members = Members(
            settings,
            identity,
            self._driver,
            self._clock,
            lambda: self.state,
            self._resign,
            {"renew": self._leases.serve},
        )
        #: Our own place in the cluster, and whether we still have one.
        self.membership = mine = self._members.mine
        self.pass_key = parts.pass_key(self._data_dir)
        pass_of = partial(run_pass, self.pass_key, settings.cluster)
        self._dispatch = Dispatch(
            self.me, lambda: mine.name, settings.http_url, pass_of, self._machine, self._clock, propose
        )
        self._planning = Planning(self._machine, propose, self._stamp_ms, self._clock_is_right)
        self._health = Health(self.me, self._machine, propose, parts.prober())
        self._slices = Slices(
            self._roster_name,
            *(self._machine, self._clock, SliceJournal(parts.slice_disk()), self._dispatch.spec),
            *(self._clock_doubt, propose, self._is_heard),
        )
        self._doubt = ClockDoubt(replica.clocks)
        self._supervisor = parts.executor(self._attempt_started, self._attempt_finished)
        self._dispatch.supervisor = self._slices.supervisor = self._supervisor
        self._supervisor.on_ready = self._dispatch.ready
        self._renewal = Renewal(
            lambda: describe(settings, identity, mine.name, mine.role),
            identity,
            self._data_dir,
            self._machine,
            timers,
            self._clock,
            propose,
            partial(propose, here=True),
            self._extend_lease,
            mine.session_refused,
            lambda: self._supervisor.kill_all("this node's session was given up"),
            self._proposer.open,
        )
        self._renewal.driver = self._driver
        clock, attendance = self._clock.monotonic, self._members.attendance
        self._roster = Roster(settings.cluster, self._driver, self._renewal, attendance, lambda: self.state, clock)
        self._leadership = Leadership(
            *(self._driver, self._clock, timers, self._proposer),
            *(self._planning, self._renewal, self._leases, self._roster),
        )
        self._transport = parts.network(identity, self._driver, mine)
        mine.begin(self._transport)

    # From birth to end.

    async def start(self) -> None:
        """Make sure that nothing of an earlier boot runs, then join the others. OSError: the address is taken."""
        await self._supervisor.start()
        self._slices.start()
        self._found = self._driver.replica.journal.last[0]
        if frail := frailty(self._roster.seats):
            log.warning("frail", extra={"reason": frail})
        if self._driver.replica.journal.cut_bytes:
            log.warning("journal_tail_cut", extra={"bytes": self._driver.replica.journal.cut_bytes})
        host, port = split_address(self.settings.self_address)
        await self._transport.start(host, port)
        self._driver.start(self._transport)
        loop = asyncio.get_running_loop()
        for duty in (self._renewal.keep, self.membership.keep, self._tell_for_ever):
            task = loop.create_task(duty())
            task.add_done_callback(_log_end)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Hand over what we lead, end what runs here, give the session up, and go."""
        self._dispatch.ending = self._slices.ending = True
        if self.membership.expelled:
            self._proposer.give_up()
            self._leadership.stop()
        else:
            await self._leadership.hand_over()
        grace_s = self.settings.timers.kill_ms / 1000
        try:
            async with asyncio.timeout(grace_s + END_S):
                await self._supervisor.close(grace_s)
        except TimeoutError:
            log.exception("attempts_not_ended")  # the guardian ends them when we are gone
        if not self.membership.expelled:  # nobody hears us any more
            await self._dispatch.settle(HANDOVER_S)
            await self._slices.settle(HANDOVER_S)
            await self._renewal.leave()
        self._planning.stop()
        self._proposals.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._dispatch.close()
        await self._health.close()
        self._slices.close()
        self._members.close()
        self._leases.close()
        self._renewal.close()
        await self._driver.close()
        self._data_dir.close()

    # What the driver tells.

    def turning(self) -> None:
        if self._driver.replica.kernel.leader is not None:
            self._proposer.send(self._clock.monotonic())

    def turned(self, out: Output) -> None:
        self._proposer.busy(out.busy)
        verdicts, self._machine.verdicts = self._machine.verdicts, []
        for session, seq, verdict in verdicts:
            self._proposer.decided(session, seq, verdict)
        self._leadership.turn()
        self.membership.turn(reconfigured=out.reconfigured)
        self._renewal.turn()
        self._begin_to_count()
        self._dispatch.turn(self._renewal.identity.session)
        self._slices.ending = self._slices.ending or bool(self.membership.expelled)
        self._slices.turn()
        self._planning.turn()
        self._health.turn(self._renewal.identity.session)
        self._watch.turn()

    def mail(self, peer: str, kind: str, body: Any) -> None:
        try:
            if kind == "roster":
                self._roster.on_mail(body, self._clock.monotonic())
            elif kind == "transfer":
                self._leadership.begin_hand_over(body)
            elif kind in MAIL:
                self._members.on_mail(peer, kind, body)
            else:
                self._renewal.on_mail(peer, kind, body)
        except (TypeError, ValueError) as error:
            log.warning("unreadable_mail", extra={"peer": peer, "kind": kind, "reason": str(error)})

    def halted(self, reason: str) -> None:
        self._leadership.resign()

    def connections_changed(self) -> None:
        """A leader that is connected again may have missed what was sent to it."""
        leader = self._driver.replica.kernel.leader
        if leader is not None and leader in self._driver.connected:
            self._proposer.resend(self._clock.monotonic())

    def frozen(self) -> Iterator[bytes]:
        return self._machine.frozen()

    # Inside.

    async def _errand(self, errand: str, body: Any, seconds: float) -> Any:
        return await self._members.ask(errand, body, seconds)

    def _begin_to_count(self) -> None:
        """What the log held when we began was counted then, by who was here before."""
        if self.state.tally is None and self._driver.replica.kernel.applied >= self._found:
            self._machine.count()

    def _resign(self) -> None:
        self._leadership.begin_hand_over(None)

    def _extend_lease(self, stop_at_s: float, kill_at_s: float) -> None:
        self._supervisor.set_lease(stop_at_s, kill_at_s)
        self._dispatch.extend(stop_at_s)
        self._driver.kick()

    def _attempt_started(self, run_id: str, token: int, started_ms: int) -> None:
        if not self._slices.is_ours(run_id, token):
            self._dispatch.started(run_id, token, started_ms)

    def _attempt_finished(self, result: AttemptResult) -> None:
        if self._slices.is_ours(result.run_id, result.token):
            self._slices.finished(result)
        else:
            self._dispatch.finished(result)

    def _roster_name(self) -> str:
        """What the state calls us, which names the owners of slices; a boot begins with what the log says, since its
        state knows founders by their addresses only, and with no quorum it never learns their names.
        """
        seat = None if self._slices.behind else self.state.seats.get(self.me)
        seat = seat or self.membership.seat
        return seat.name if seat is not None else self.membership.name

    def _is_heard(self) -> bool:
        """Whether what we propose has a chance."""
        return self._leadership.leader is not None and self._renewal.is_open

    def _clock_doubt(self, now_ms: int, seen_ms: int) -> str:
        self._driver.replica.clocks.read(self._clock.wall_ms(), self._clock.monotonic())
        return self._doubt.look(now_ms, seen_ms)

    def _stamp_ms(self) -> int:
        now_s = self._clock.monotonic()
        self._driver.replica.clocks.read(self._clock.wall_ms(), now_s)
        return self._driver.replica.clocks.stamp_ms(now_s)

    def _clock_is_right(self) -> bool:
        clocks = self._driver.replica.clocks
        clocks.read(self._clock.wall_ms(), self._clock.monotonic())  # it may have been set since the last turn
        return not clocks.suspect

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(ROSTER_S)
            self._members.look()
            self._roster.send()
            self._leadership.mind_the_clock()
            self._slices.mind_the_clock()
            self._leadership.mind_the_void()


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("duty_ended", exc_info=task.exception())
