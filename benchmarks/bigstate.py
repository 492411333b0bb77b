"""bigstate: a large cluster's state, as its own commands would have left it, and the data directories that hold it."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Sequence
from pathlib import Path

from peercron.consensus.disk import FolderDisk
from peercron.consensus.journal import Journal
from peercron.consensus.membership import encode
from peercron.consensus.snapshots import SnapshotStore, with_header
from peercron.core.apply.configuration import configure
from peercron.core.apply.ledger import record_run
from peercron.core.job import CommandTask, CronTrigger, Cursor, Definition, EveryTrigger, Job
from peercron.core.limits import RECENT_RUNS_KEPT
from peercron.core.member import Configuration
from peercron.core.run import Attempt, AttemptState, Run, RunState
from peercron.core.schedule import next_slot
from peercron.core.state import ClusterState
from peercron.machine import Machine
from peercron.node.assembly import founders

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: The log's position that the state stands for.
INDEX, TERM = 1_000, 1
OUTPUT = "copied 1312 files, 48.1 MB, 0 errors\n"


def big_state(jobs: int, ledger: int, now_ms: int, members: Sequence[str]) -> ClusterState:
    """A state of so many jobs and ledger entries, each entry that of a run, kept in full where the bounds allow it."""
    state = ClusterState(now_ms=now_ms)
    configure(state, founders(tuple(members)))
    for n in range(jobs):
        _add_job(state, n, now_ms)
    for n, uid in enumerate(state.jobs):
        add_past(state, state.jobs[uid], ledger * (n + 1) // jobs - ledger * n // jobs, now_ms, members)
    state.now_ms = now_ms
    return state


def _add_job(state: ClusterState, n: int, now_ms: int) -> None:
    """Half of them daily at a fixed time some hours away, half at instants that are spread over the day."""
    state.index += 1
    hour = (now_ms // 3_600_000 + 3 + n % 18) % 24
    trigger = CronTrigger(f"{n % 60} {hour} * * *", "Europe/Berlin" if n % 4 else "UTC")
    every = EveryTrigger(DAY_MS, n * 864 % DAY_MS)
    task = CommandTask(("true", f"--source=/srv/data/{n}", "--quiet"))
    definition = Definition(f"job-{n:06d}", trigger if n % 2 else every, task, owner="bench/jobs.git")
    uid = f"{state.index:x}"
    job = Job(uid, definition, state.index, now_ms - 100 * DAY_MS, now_ms - 100 * DAY_MS)
    slot_ms = next_slot(definition.trigger, now_ms, uid)
    state.jobs[uid], state.job_uids[job.key] = job, uid
    state.cursors[uid] = Cursor(now_ms, -1 if slot_ms is None else slot_ms)


def add_past(state: ClusterState, job: Job, entries: int, now_ms: int, members: Sequence[str]) -> None:
    """The job's last so many runs, one an hour."""
    for back in range(entries, 0, -1):
        state.index += 3  # fire, started, finished
        run = _past_run(job, now_ms - back * HOUR_MS, members[state.index % len(members)], state.index)
        _keep(state, run)
    state.last_token = state.index


def _past_run(job: Job, slot_ms: int, member: str, token: int) -> Run:
    attempt = Attempt(
        *(1, member, 3, token, AttemptState.SUCCEEDED, slot_ms + 3, slot_ms + 9, slot_ms + 871, 0, "", OUTPUT)
    )
    return Run(
        *(f"{job.uid}/{slot_ms}", job.uid, job.key, slot_ms, False, RunState.SUCCEEDED, slot_ms + 2, (attempt,)),
        finished_ms=slot_ms + 872,
    )


def _keep(state: ClusterState, run: Run) -> None:
    """As the commands do that create and end it."""
    state.now_ms = run.finished_ms or 0
    state.recent_runs[state.run_count % RECENT_RUNS_KEPT] = run.id
    state.run_count += 1
    record_run(state, run)


def fill(folders: Sequence[Path], state: ClusterState) -> int:
    """Make these data directories of a cluster that holds the state; answers the size of its snapshot in bytes."""
    first = folders[0] / "log"
    size = _write(first, state)
    for folder in folders[1:]:
        folder.mkdir(mode=0o700, parents=True)
        shutil.copytree(first, folder / "log")
    return size


def _write(folder: Path, state: ClusterState) -> int:
    disk = FolderDisk(folder, durable=False)
    journal, store = Journal(disk), SnapshotStore(disk)
    machine = Machine("")
    machine.state = state
    writer = store.writer(INDEX, TERM)
    writer.write(with_header(encode(Configuration(tuple(state.seats.values())))))
    for block in machine.frozen():
        writer.write(block)
    writer.seal()
    journal.begin_segment(INDEX, TERM)
    size = writer.publish().size
    journal.drop_old_segments()
    journal.clear_doubt()
    journal.flush()
    journal.close()
    return size


def build(folders: Sequence[Path], jobs: int, ledger: int, now_ms: int, members: Sequence[str]) -> int:
    """Make the state, write it, forget it; answers the size of its snapshot in bytes."""
    gc.disable()
    try:
        return fill(folders, big_state(jobs, ledger, now_ms, members))
    finally:
        gc.enable()
