"""Mode single: the least loaded member."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from peercron.core.job import Job
from peercron.core.member import Member
from peercron.core.placement.choice import Choice, untried
from peercron.core.run import Run
from peercron.core.state import ClusterState


def least_loaded(state: ClusterState, job: Job, run: Run, candidates: Sequence[Member]) -> Choice:
    """Fewest live attempts; the run's own hash decides among equals, so that equals share evenly.

    Who just lost the run gets it again only if there is nobody else: what broke there may break again. Where one that
    failed goes, `retry.on` says.
    """
    others = untried(run, candidates)
    loads = [load(state, member) for member in others]
    least = min(loads)
    equals = [member for member, running in zip(others, loads, strict=True) if running == least]
    chosen = equals[0] if len(equals) == 1 else max(equals, key=lambda member: weight(run.id, member.info.name))
    return Choice(chosen, _why(len(candidates), len(others), len(equals), least))


def load(state: ClusterState, member: Member) -> int:
    """Live attempts that the member holds."""
    return len(state.live_attempts.get(member.info.id, ()))


def weight(run_id: str, name: str) -> bytes:
    """Rendezvous hashing: the largest wins. Not `hash()`, which differs between processes."""
    return blake2b(f"{run_id}\n{name}".encode(), digest_size=8).digest()


def _why(candidates: int, others: int, equals: int, least: int) -> str:
    if others == 1:
        return "the only node that may run it" + (" and has not just lost or failed it" if candidates > 1 else "")
    lot = f"; by lot among {equals} equals" if equals > 1 else ""
    return f"the least loaded of {others}, with {least} running{lot}"
