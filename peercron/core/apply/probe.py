"""Probes of triggers: from what the nodes say to an edge, and from an edge to a slot."""

from __future__ import annotations

from peercron.core import placement
from peercron.core.apply.event import occur
from peercron.core.check import TRIGGER_CHECK, FileProbe
from peercron.core.job import Job, Mode
from peercron.core.occasion import ProbeTrigger
from peercron.core.state import ClusterState


def note_probe(state: ClusterState, job: Job, observer: str) -> None:
    """A node's word about what the trigger probes has changed; the first word of all is no edge.

    The last verdict is remembered over sessions and leaders, so that an edge is one also where nodes come and go.
    """
    trigger = job.definition.trigger
    assert isinstance(trigger, ProbeTrigger), "only such a trigger has this check"
    own = isinstance(trigger.check.probe, FileProbe)
    verdict = _word(state, job, observer) if own else _majority(state, job)
    if verdict is None:
        return
    edges, scope = state.edges.setdefault(job.uid, {}), observer if own else ""
    before, edges[scope] = edges.get(scope), int(verdict)
    if before is not None and bool(before) is not verdict and verdict is trigger.well:
        _occur(state, job, trigger, observer)


def _occur(state: ClusterState, job: Job, trigger: ProbeTrigger, observer: str) -> None:
    if not isinstance(trigger.check.probe, FileProbe):
        occur(state, job, f"probe: became {'good' if trigger.well else 'bad'}")
        return
    path, node = trigger.check.probe.path, state.members[observer].info.name
    what = "appeared" if trigger.well else "disappeared"
    # Where the mode says which node does the work, it has the last word.
    member = observer if job.definition.mode is Mode.SINGLE else ""
    occur(state, job, f"file {path} {what} on {node}", (("path", path), ("node", node)), member=member)


def _word(state: ClusterState, job: Job, observer: str) -> bool | None:
    opinion = state.health.get(job.uid, {}).get((TRIGGER_CHECK, observer, observer))
    return opinion.well if opinion is not None else None


def _majority(state: ClusterState, job: Job) -> bool | None:
    """What more than half of the nodes that look call it; None: nothing is that clear."""
    lookers = [member for member in state.members.values() if placement.may_run(state, member, job.definition)]
    words = [_word(state, job, member.info.id) for member in lookers]
    for verdict in (True, False):
        if 2 * words.count(verdict) > len(lookers):
            return verdict
    return None
