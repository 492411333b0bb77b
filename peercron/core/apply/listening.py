"""Listening's part of apply: the table of topics follows the definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from peercron.core.job import Definition, Job
from peercron.core.limits import CHECKED_JOBS_MAX, LISTENERS_MAX
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


def crowded(state: ClusterState, definitions: Collection[Definition]) -> str:
    """Why there is no room for these jobs, which are or will be there; empty: there is."""
    new = Counter(
        topic
        for each in definitions
        for topic in topics(each)
        if state.job_uids.get(f"{each.namespace}/{each.name}") not in state.listening.get(topic, {})
    )
    for topic, more in new.items():
        most = CHECKED_JOBS_MAX if topic == CHECKED else LISTENERS_MAX
        if len(state.listening.get(topic, ())) + more > most:
            return f"at most {most} jobs have checks" if topic == CHECKED else f"at most {most} jobs wait for {topic}"
    return ""


def _drop(state: ClusterState, topic: str, uid: str) -> None:
    listeners = state.listening[topic]
    del listeners[uid]
    if not listeners:
        del state.listening[topic]


def _note_watches(state: ClusterState, wanted: tuple[str, ...], before: Definition | None) -> None:
    """Members look again at what they have to look at."""
    if CHECKED in wanted or (before is not None and CHECKED in topics(before)):
        state.watch_revision = state.index
