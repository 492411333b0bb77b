"""Pace: what of a definition says after what, how often and how many at once a job is tried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Backoff(StrEnum):
    """How the pauses between attempts grow."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RetryOn(StrEnum):
    """Where the attempt after a failed one goes, if there is a choice."""

    OTHER_NODE = "other_node"
    SAME_NODE = "same_node"
    ANY = "any"


class Require(StrEnum):
    """What a job asks of those that it comes after; see `core.order`."""

    ALL_SUCCEEDED = "all_succeeded"
    ANY_SUCCEEDED = "any_succeeded"
    ALL_DONE = "all_done"


@dataclass(frozen=True, slots=True)
class Retry:
    """Further attempts after one that failed or timed out; those after a loss are not counted here.

    The nth pause is `base_ms` (fixed), n times that (linear), or doubled each time (exponential), and at most `cap_ms`;
    with `jitter` between half of that and all of it.
    """

    #: 0: none.
    max: int = 0
    backoff: Backoff = Backoff.EXPONENTIAL
    base_ms: int = 10_000
    cap_ms: int = 300_000
    jitter: bool = True
    on: RetryOn = RetryOn.OTHER_NODE


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many attempts of the job may be alive at once, on one node and on all; 0: any number."""

    per_node: int = 0
    per_job: int = 0


#: What a definition says of it when it says nothing.
NO_RETRY: Final = Retry()
UNLIMITED: Final = Concurrency()
