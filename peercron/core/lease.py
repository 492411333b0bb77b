"""Lease: a right that ends by itself if it is not renewed; the leader counts, and only the end enters the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LeaseKind(StrEnum):
    """What ends with it."""

    CLIENT = "client"  # the session of a program outside, with all that it holds
    LOCK = "lock"  # one grant of a lock
    DELIVERY = "delivery"  # items of a queue that somebody works on
    KEY = "key"  # a key of the shared state


@dataclass(frozen=True, slots=True)
class Lease:
    """One right. Its id, the key in `ClusterState.leases`, is the index of the command that gave it.

    There is no time in it: who leads counts `ttl_ms` on its monotonic clock from the last renewal that it heard, and a
    new leader from its election, so that nothing ends early.
    """

    kind: LeaseKind
    ttl_ms: int
    #: Of the lock, the queue or the key; of a client, what it calls itself.
    namespace: str
    name: str
    #: Id of the client session that it ends with; 0: of none.
    client: int = 0
