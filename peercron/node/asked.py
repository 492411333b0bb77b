"""Asked: what HTTP asks of a node; `http.port.NodePort` says what each of these does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from peercron.address import is_loopback, split_address
from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.core.apply.once import LEVEL as ONCE_LEVEL
from peercron.core.commands import Command, Once
from peercron.core.state import ClusterState, Resource
from peercron.core.verdict import Done, Refusal
from peercron.errors import NoLeader
from peercron.errors import Refused as RefusedError
from peercron.execution.port import Executor
from peercron.machine import Machine
from peercron.meters import Meters, Readings
from peercron.node.leadership import Leadership
from peercron.node.leases import Leases
from peercron.node.membership import Membership
from peercron.node.planning import Planning
from peercron.node.proposals import Proposals
from peercron.node.renewal import Renewal
from peercron.node.roster import Roster
from peercron.node.slices import Slices
from peercron.node.watch import Watch
from peercron.settings import Settings

#: A leader that is this far ahead of what we applied makes us not ready.
BEHIND_MAX: Final = 1_000


def exposure(http: str, state: ClusterState) -> str:
    """Who from elsewhere may do everything through this address, as a sentence; empty: nobody."""
    if state.tokens or is_loopback(split_address(http)[0]):
        return ""
    cure = "until there is an access token: `peercron token create NAME --scope admin`"
    return f"whoever reaches {http} may do everything, and so run what he likes on the nodes, {cure}"


class Asked:
    """Answers from the parts of a node, which `Node` puts together."""

    #: Our own place in the cluster, and whether we still have one.
    membership: Membership
    settings: Settings
    _clock: Clock
    _driver: Driver
    _leadership: Leadership
    _leases: Leases
    _machine: Machine
    _planning: Planning
    _proposals: Proposals
    _renewal: Renewal
    _roster: Roster
    _slices: Slices
    _supervisor: Executor
    _watch: Watch

    @property
    def name(self) -> str:
        return self.membership.name

    @property
    def exposed(self) -> str:
        """See `exposure`."""
        return exposure(self.settings.http, self.state)

    @property
    def state(self) -> ClusterState:
        return self._machine.state

    @property
    def term(self) -> int:
        return self._driver.replica.kernel.term

    def leader(self) -> str | None:
        return self._roster.name_of(self._driver.replica.kernel.leader)

    async def propose(self, command: Command, timeout_s: float, once: Once | None = None) -> Done:
        """See `http.port.NodePort`. A node whose session is not open (it has just come, or come back) waits for it."""
        until_s = self._clock.monotonic() + timeout_s
        while True:
            if self.membership.expelled:
                raise NoLeader(self.membership.expelled)
            if self._leadership.leader is None:
                await self._leadership.known(timeout_s)
            if not self._renewal.is_open:
                await self._session_open(until_s)
            left_s = max(0.0, until_s - self._clock.monotonic())
            known = once if self.state.level >= ONCE_LEVEL else None
            verdict = await self._proposals.propose(command, left_s, once=known)
            if isinstance(verdict, Done):
                return verdict
            if verdict.code is not Refusal.STALE_SESSION:
                raise RefusedError(str(verdict.code), verdict.detail, verdict.index)

    async def _session_open(self, until_s: float) -> None:
        while not self._renewal.is_open:
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0:
                raise NoLeader("this node has no open session with the cluster")
            await self.wait_changed(self.state.index, left_s)

    async def read_barrier(self, timeout_s: float) -> None:
        if self.membership.expelled:
            raise NoLeader(self.membership.expelled)
        await self._leadership.known(timeout_s)
        await self._driver.read_barrier(self._clock.monotonic() + timeout_s)

    async def wait_changed(self, index: int, timeout_s: float) -> None:
        await self._watch.beyond(index, timeout_s)

    async def wait_for(self, resource: Resource, timeout_s: float) -> bool:
        return await self._watch.change(resource, timeout_s)

    async def renew(self, lease: int, timeout_s: float) -> int:
        if self.membership.expelled:
            raise NoLeader(self.membership.expelled)
        return await self._leases.renew(lease, timeout_s)

    def status(self) -> dict[str, Any]:
        seen = self._roster.status()
        if doubt := self._slices.doubt:
            seen["notes"].append(f"this node starts nothing in its slices: {doubt}")
        if exposed := self.exposed:
            seen["notes"].append(exposed)
        return seen

    @property
    def meters(self) -> Meters:
        return self._driver.meters

    def readings(self) -> Readings:
        """See `http.port.NodePort`."""
        replica = self._driver.replica
        kernel, clocks = replica.kernel, replica.clocks
        return Readings(
            leads=kernel.is_leader,
            commit=kernel.commit,
            applied=kernel.applied,
            last=replica.journal.last[0],
            journal_bytes=replica.journal.bytes,
            campaigns=replica.campaigns,
            leader_changes=self._leadership.changes,
            pending=len(self._proposals),
            offsets_ms={self._roster.name_of(peer) or peer: ms for peer, ms in clocks.offsets_ms.items()},
            deviation_ms=clocks.deviation_ms(),
            due_ms=self._planning.due_ms,
        )

    def slices(self) -> dict[str, Any]:
        """See `http.port.NodePort`."""
        return {"node": self._slices.name, "doubt": self._slices.doubt or None, "jobs": self._slices.view()}

    async def scan(self) -> list[dict[str, Any]]:
        """What the modules of --import define, as documents of jobs. ImportFailed: they cannot be imported."""
        return await self._supervisor.scan()

    def runs_here(self, run_id: str, token: int) -> bool:
        return (run_id, token) in self._supervisor.running

    def run_log_path(self, run_id: str, token: int) -> Path | None:
        return self._supervisor.log_path(run_id, token)

    @property
    def halt_error(self) -> Exception | None:
        """Why this node has stopped; None: it has not."""
        return self._driver.halt_error

    @property
    def disk_is_full(self) -> asyncio.Event:
        """Set when that is why."""
        return self._driver.disk_is_full

    def alive(self) -> bool:
        return self._driver.halt_reason is None

    def ready(self) -> list[tuple[str, bool, str]]:
        kernel, clocks = self._driver.replica.kernel, self._driver.replica.clocks
        behind = kernel.commit - kernel.applied
        halted, doubt = self._driver.halt_reason, self._slices.doubt
        return [
            ("consensus", halted is None, halted or "ok"),
            ("leader", kernel.leader is not None, self.leader() or "none is known"),
            ("session", self._renewal.is_open, f"number {self._renewal.identity.session}"),
            ("clock", not (clocks.suspect or doubt), doubt or f"{clocks.deviation_ms()} ms off the median"),
            ("caught_up", behind <= BEHIND_MAX, f"{behind} entries to apply"),
        ]

    async def transfer_leadership(self, to: str | None) -> None:
        """Hand leadership to the member of this name, or to the one that has the most of the log."""
        await self._leadership.transfer(to)

    async def remove_member(self, member: str, timeout_s: float) -> None:
        """See `http.port.NodePort`."""
        await self.membership.remove(member, timeout_s)
