"""Feeding: the leader's duty to queues that jobs work through: for each item that a node has room for, a run."""

from __future__ import annotations

from collections.abc import Iterable

from peercron.core.agenda import Agenda
from peercron.core.apply.queue import line_of
from peercron.core.commands import TakeItem
from peercron.core.limits import TAKEN_PER_JOB_MAX, TAKEN_PER_PLAN_MAX
from peercron.core.placement.room import room_for
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused, Verdict

#: How long a job rests after a refusal that was none of a race: a defect must not fill the log.
REST_MS = 60_000
AT_ONCE = -1


class Feeding:
    """Plans for the queues of one state, on the leader; see `planner.Planner`, whose part it is and who tells it of
    jobs.
    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        state.changed_queues = {}
        self._due = Agenda()
        #: Queue -> uids of the jobs that work through it; and the other way round.
        self._jobs: dict[str, dict[str, None]] = {}
        self._queue_of: dict[str, str] = {}
        #: Uid -> how many were proposed and not answered.
        self._under_way: dict[str, int] = {}

    def close(self) -> None:
        self._state.changed_queues = None

    def observe(self) -> None:
        """Take in which queues have changed."""
        changed, self._state.changed_queues = self._state.changed_queues, {}
        for key in changed or ():
            self._look_all(self._jobs.get(key, ()))

    def look(self, uid: str) -> None:
        """The job, or a run of it, is another than before."""
        job = self._state.jobs.get(uid)
        wanted, known = job.definition.queue if job is not None else "", self._queue_of.get(uid, "")
        if wanted != known:
            self._move(uid, known, wanted)
        if wanted:
            self._look(uid)

    def look_everywhere(self) -> None:
        """The nodes are others than before."""
        self._look_all(self._queue_of)

    def plan(self, now_ms: int, room: int) -> list[TakeItem]:
        """What to propose now, at most `room`."""
        takes: list[TakeItem] = []
        room = min(room, TAKEN_PER_PLAN_MAX)
        while len(takes) < room and (uid := self._due.pop(now_ms)) is not None:
            count = min(self._wanted(uid, now_ms), room - len(takes))
            if count:
                self._under_way[uid] = count
                takes += [TakeItem(uid)] * count
        return takes

    def settle(self, command: TakeItem, verdict: Verdict | None, now_ms: int) -> None:
        """A proposal of `plan` has its answer; None: it is not known, or it could not be proposed."""
        uid = command.job_uid
        left = self._under_way.get(uid, 1) - 1
        if left:
            self._under_way[uid] = left
            return
        self._under_way.pop(uid, None)
        self.look(uid)
        if isinstance(verdict, Refused) and verdict.code not in (
            *(Refusal.NOT_READY, Refusal.STALE_SESSION, Refusal.NOT_FOUND),
        ):
            self._due.put(uid, now_ms + REST_MS)

    def next_ms(self) -> int | None:
        """When `plan` will have something to say; None: when the state changes."""
        return self._state.now_ms if self._state.changed_queues else self._due.next_ms()

    def __len__(self) -> int:
        """How many are under way."""
        return sum(self._under_way.values())

    def _move(self, uid: str, known: str, wanted: str) -> None:
        if known:
            del self._jobs[known][uid], self._queue_of[uid]
            self._due.drop(uid)
            if not self._jobs[known]:
                del self._jobs[known]
        if wanted:
            self._jobs.setdefault(wanted, {})[uid] = None
            self._queue_of[uid] = wanted

    def _look_all(self, uids: Iterable[str]) -> None:
        for uid in tuple(uids):
            self._look(uid)

    def _look(self, uid: str) -> None:
        """Put it where it belongs: at once, when the next delayed item is due, or nowhere."""
        if uid in self._under_way:
            return
        self._due.drop(uid)
        job = self._state.jobs.get(uid)
        if job is None or job.paused or not room_for(self._state, job):
            return
        line = line_of(self._state, job.definition.queue)
        due_ms = AT_ONCE if line.ready else line.next_ms
        if due_ms is not None:
            self._due.put(uid, due_ms)

    def _wanted(self, uid: str, now_ms: int) -> int:
        job = self._state.jobs.get(uid)
        if job is None or job.paused:
            return 0
        line = line_of(self._state, job.definition.queue)
        due = line.next_ms is not None and line.next_ms <= now_ms
        return min(line.ready + int(due), room_for(self._state, job), TAKEN_PER_JOB_MAX)
