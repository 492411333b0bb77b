"""Mode parallel: on which members the shards of a run go; mode contend: who is asked."""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.job import Definition
from peercron.core.member import Member
from peercron.core.placement.single import load, weight
from peercron.core.run import Run
from peercron.core.state import ClusterState


def shared_by(state: ClusterState, definition: Definition, run: Run, candidates: Sequence[Member]) -> list[Member]:
    """One shard for each of these: those of `order` in that order, else the `count` least loaded, else all."""
    if definition.order:
        here = {member.info.name: member for member in candidates}
        return [here[name] for name in definition.order if name in here]
    if not definition.count:
        return list(candidates)
    return sorted(candidates, key=lambda member: (load(state, member), weight(run.id, member.info.name)))[
        : definition.count
    ]


def why_there(definition: Definition, shard: Run) -> str:
    """Why a shard's attempt is where it is."""
    if definition.order:
        return f"number {shard.shard + 1} of {shard.shards} in the job's order"
    if definition.count:
        return f"one of the {shard.shards} least loaded (count {definition.count})"
    return f"one shard on each of the {shard.shards} nodes that may run it"
