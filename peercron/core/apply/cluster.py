"""The cluster as a whole: its schedules stop and go on by an operator's word."""

from __future__ import annotations

from peercron.core.commands import PauseCluster, ResumeCluster
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Verdict


def pause_cluster(state: ClusterState, command: PauseCluster) -> Verdict:
    """Slots are skipped with the reason until the cluster is resumed. What runs or waits goes on, and so does what is
    run by hand: this stops schedules, and draining a node stops a node.
    """
    return _set(state, paused=True)


def resume_cluster(state: ClusterState, command: ResumeCluster) -> Verdict:
    return _set(state, paused=False)


def _set(state: ClusterState, *, paused: bool) -> Verdict:
    if state.paused is not paused:
        state.paused = paused
        state.happened("cluster", "paused" if paused else "resumed", "")
        # Slots of the pause that no plan has reached yet must not fire late.
        state.paused_through_ms = state.paused_through_ms if paused else state.now_ms
        for uid in state.slices:
            state.touch(uid)
    return Done(state.index)
