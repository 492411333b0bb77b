"""Listening's part of apply: the table of topics follows the definitions."""

from __future__ import annotations

from collections.abc import Iterable

from peercron.core.job import Definition, Job
from peercron.core.limits import CHECKED_JOBS_MAX
from peercron.core.listening import CHECKED, topics
from peercron.core.state import ClusterState


def listen(state: ClusterState, job: Job, before: Definition | None) -> None:
    """A job was created, or was something else `before`."""
    wanted = topics(job.definition)
    for topic in topics(before) if before is not None else ():
        if topic not in wanted:
            _drop(state, topic, job.uid)
    for topic in wanted:
        state.listening.setdefault(topic, {})[job.uid] = job.revision
    _note_watches(state, wanted, before)


def unlisten(state: ClusterState, job: Job) -> None:
    """The job is deleted."""
    for topic in topics(job.definition):
        _drop(state, topic, job.uid)
    _note_watches(state, (), job.definition)


def crowded(state: ClusterState, definitions: Iterable[Definition]) -> str:
    """Why there is no room for these jobs, which are or will be there; empty: there is."""
    there = state.listening.get(CHECKED, {})
    checked = [each for each in definitions if CHECKED in topics(each)]
    new = sum(state.job_uids.get(f"{each.namespace}/{each.name}") not in there for each in checked)
    if not new or len(there) + new <= CHECKED_JOBS_MAX:
        return ""
    return f"checks: a cluster has at most {CHECKED_JOBS_MAX} jobs with checks"


def _drop(state: ClusterState, topic: str, uid: str) -> None:
    listeners = state.listening[topic]
    del listeners[uid]
    if not listeners:
        del state.listening[topic]


def _note_watches(state: ClusterState, wanted: tuple[str, ...], before: Definition | None) -> None:
    """Members look again at what they have to look at."""
    if CHECKED in wanted or (before is not None and CHECKED in topics(before)):
        state.watch_revision = state.index
