"""Health: what this member looks at, and its verdicts on their way into the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from peercron.address import split_address
from peercron.core.commands import Command, ReportHealth
from peercron.core.health import HealthReport
from peercron.core.limits import HEALTH_DETAIL_LENGTH_MAX, HEALTH_REPORTS_MAX
from peercron.core.lookout import Duty, duties
from peercron.core.verdict import Done, Verdict
from peercron.errors import ProposalError
from peercron.health.watches import Looks, Target, Watches, target
from peercron.machine import Machine

REPORT_TIMEOUT_S: Final = 5.0
REPORT_PAUSE_S: Final = 0.5

Propose = Callable[[Command, float], "asyncio.Future[Verdict]"]


class Health:
    """Level, not edge: what the state says of our verdicts is held against what they are, and the difference is told.

    So a verdict that was not heard, or that went with our last session, is told again by itself.

    Args:
        me: our member id.
        machine: whose state says what to look at.
        propose: takes a command and a time-out in seconds.
        prober: who looks; None: at this machine and its network.
    """

    def __init__(self, me: str, machine: Machine, propose: Propose, prober: Looks | None = None) -> None:
        self._me, self._machine, self._propose = me, machine, propose
        self._watches = Watches(self._tell, prober)
        self._duties: list[tuple[Duty, Target]] = []
        #: What the duties were made from.
        self._seen = (-1, -1, -1)
        self._session = 0
        #: A report is on its way, or has just failed.
        self._telling = self._closed = False

    def turn(self, session: int) -> None:
        """The state may have moved."""
        state = self._machine.state
        now = (self._machine.generation, state.watch_revision, state.roster_revision)
        if now == self._seen:
            return
        self._seen, self._session = now, session
        self._duties = [(duty, _target(duty)) for duty in duties(state, self._me)]
        self._watches.keep(of for _, of in self._duties)
        self._tell()

    async def close(self) -> None:
        self._closed = True
        await self._watches.close()

    def _tell(self) -> None:
        """Report what the state does not say yet, one command at a time."""
        reports = [] if self._telling else self._unsaid()
        if not reports:
            return
        self._telling = True
        command = ReportHealth(self._me, self._session, tuple(reports[:HEALTH_REPORTS_MAX]))
        try:
            future = self._propose(command, REPORT_TIMEOUT_S)
        except ProposalError:
            self._tell_later()
        else:
            future.add_done_callback(self._told)

    def _told(self, future: asyncio.Future[Verdict]) -> None:
        if not future.cancelled() and future.exception() is None and isinstance(future.result(), Done):
            self._tell_again()
        else:
            self._tell_later()

    def _tell_later(self) -> None:
        asyncio.get_running_loop().call_later(REPORT_PAUSE_S, self._tell_again)

    def _tell_again(self) -> None:
        self._telling = False
        if not self._closed:
            self._tell()

    def _unsaid(self) -> list[HealthReport]:
        state = self._machine.state
        member = state.members.get(self._me)
        if member is None or not member.open or member.session != self._session:
            return []
        found = []
        for duty, of in self._duties:
            standing, detail = self._watches.standing(of)
            said = state.health.get(duty.job_uid, {}).get((duty.check.name, duty.subject, self._me))
            if standing.well is not None and (said is None or said.well is not standing.well):
                detail = detail[:HEALTH_DETAIL_LENGTH_MAX]
                found.append(HealthReport(duty.job_uid, duty.check.name, duty.subject, standing.well, detail))
        return found


def _target(duty: Duty) -> Target:
    return target(duty.check, split_address(duty.address)[0])
