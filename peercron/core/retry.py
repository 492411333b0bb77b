"""Retry: whether a run gets another attempt after one that failed or was lost, when, and where it had better not be.

A pause depends on the run and the number of the attempt and on nothing else, so that all members find the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from peercron.core.job import Guarantee
from peercron.core.limits import ATTEMPTS_MAX
from peercron.core.member import Member
from peercron.core.pace import Backoff, Retry, RetryOn
from peercron.core.run import AttemptState, Run

FAILURES = frozenset({AttemptState.FAILED, AttemptState.TIMED_OUT})
#: Pauses after losses: none after the first (that is what failover is for), then these, doubled each time.
LOST_BASE_MS = 1_000
LOST_CAP_MS = 60_000


def may_retry(run: Run) -> bool:
    """Whether the run, whose last attempt has failed, gets another by its job's `retry`."""
    assert run.definition is not None, "a grant pins what the run does"
    if run.cancel_requested or run.definition.guarantee is Guarantee.AT_MOST_ONCE:
        return False
    return failures(run) <= run.definition.retry.max and len(run.attempts) < ATTEMPTS_MAX


def failures(run: Run) -> int:
    return sum(attempt.state in FAILURES for attempt in run.attempts)


def pause_after_failure_ms(run: Run) -> int:
    """How long the run waits for its next attempt after its last one failed."""
    assert run.definition is not None, "a grant pins what the run does"
    retry = run.definition.retry
    pause_ms = min(retry.cap_ms, _growing_ms(retry, failures(run)))
    return spread(pause_ms, f"{run.id}\n{len(run.attempts)}") if retry.jitter else pause_ms


def pause_after_loss_ms(run: Run) -> int:
    """How long the run waits after its last attempt was lost: what kills node after node is slowed down."""
    losses = sum(attempt.state is AttemptState.LOST for attempt in run.attempts)
    if losses < 2:
        return 0
    return spread(min(LOST_CAP_MS, LOST_BASE_MS << (losses - 2)), f"{run.id}\n{len(run.attempts)}")


def preferred(run: Run, candidates: Sequence[Member]) -> Sequence[Member]:
    """Those of the candidates where the job's `retry.on` wants the attempt after a failure; all, if none is left."""
    last = run.attempts[-1] if run.attempts else None
    if last is None or last.state not in FAILURES or run.definition is None:
        return candidates
    match run.definition.retry.on:
        case RetryOn.OTHER_NODE:
            failed_on = {attempt.member for attempt in run.attempts if attempt.state in FAILURES}
            untried = [member for member in candidates if member.info.id not in failed_on]
            wanted = untried or [member for member in candidates if member.info.id != last.member]
        case RetryOn.SAME_NODE:
            wanted = [member for member in candidates if member.info.id == last.member]
        case RetryOn.ANY:
            return candidates
    return wanted or candidates


def spread(pause_ms: int, seed: str) -> int:
    """Between half of the pause and all of it, the same for the same seed: what failed together comes back apart."""
    half_ms = pause_ms // 2
    return pause_ms - half_ms + stable(seed, half_ms + 1)


def stable(seed: str, below: int) -> int:
    """A number from 0 to below - 1 that depends on the seed alone, each about as likely. Not `hash()`, which differs
    between processes.
    """
    return int.from_bytes(blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") % below


def _growing_ms(retry: Retry, nth: int) -> int:
    match retry.backoff:
        case Backoff.FIXED:
            return retry.base_ms
        case Backoff.LINEAR:
            return retry.base_ms * nth
        case Backoff.EXPONENTIAL:
            return retry.base_ms << (nth - 1)
