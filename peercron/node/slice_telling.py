"""Slice telling: what this node did by itself in its slices, told to the cluster until the ledger has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from peercron.core.commands import RecordSlices
from peercron.core.limits import SLICE_ENTRIES_PER_RECORD_MAX
from peercron.core.verdict import Refusal, Refused, Verdict
from peercron.errors import ProposalError
from peercron.node.slice_journal import SliceJournal

log = logging.getLogger(__name__)

TELL_TIMEOUT_S: Final = 5.0
TELL_PAUSE_S: Final = 0.5

Propose = Callable[[RecordSlices, float], "asyncio.Future[Verdict]"]


class SliceTelling:
    """Runs while there is something to tell.

    Args:
        name: what the roster calls this node.
        journal: what there is to tell.
        propose: takes a command and a time-out in seconds.
        can_tell: whether there is a leader, and a session with it.
    """

    def __init__(
        self, name: Callable[[], str], journal: SliceJournal, propose: Propose, can_tell: Callable[[], bool]
    ) -> None:
        self._name, self._journal, self._propose, self._can_tell = name, journal, propose, can_tell
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """There may be more to tell."""
        if self._task is None and any(self._journal.to_tell(uid, 1) for uid in self._journal.jobs()):
            self._task = asyncio.get_running_loop().create_task(self._tell_all())
            self._task.add_done_callback(self._ended)

    async def settle(self, seconds: float) -> None:
        """Wait until what can be told is told, for a while."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("slices_not_told", exc_info=task.exception())
        else:
            self.look()  # there may be more since it looked last

    async def _tell_all(self) -> None:
        """Until there is nothing to tell."""
        while ready := [uid for uid in self._journal.jobs() if self._journal.to_tell(uid, 1)]:
            decided = False
            for uid in ready if self._can_tell() else ():
                decided |= await self._tell_job(uid)
            if not decided:
                await asyncio.sleep(TELL_PAUSE_S)

    async def _tell_job(self, uid: str) -> bool:
        """Tell the job's oldest entries; whether the cluster has decided about them."""
        entries = self._journal.to_tell(uid, SLICE_ENTRIES_PER_RECORD_MAX)
        if not entries:  # somebody else's word, or the job's end, has settled it meanwhile
            return True
        through_ms = entries[-1].slot_ms
        try:
            verdict = await self._propose(RecordSlices(self._name(), uid, entries, through_ms), TELL_TIMEOUT_S)
        except ProposalError as error:
            log.info("slices_not_told_yet", extra={"reason": str(error)})
            return False
        if isinstance(verdict, Refused) and verdict.code is not Refusal.NOT_FOUND:
            log.warning("slices_refused_by_the_cluster", extra={"reason": verdict.detail})
            return False
        if isinstance(verdict, Refused):  # the job is long gone, or its slices were never ours
            log.warning("slices_given_up", extra={"entries": len(entries), "reason": verdict.detail})
        self._journal.told(uid, through_ms)  # durable with what comes next: told again, it is passed over
        return True
