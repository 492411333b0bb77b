"""Token: who may do what, once there is any: a name, the digest of a secret, and scopes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: Of SHA-256. A token is long and random, so that nothing slower is needed.
DIGEST_BYTES: Final = 32


class Scope(StrEnum):
    """A part of what can be asked of a cluster."""

    READ = "read"
    DATA = "data"
    RUN = "run"
    JOBS = "jobs"
    ADMIN = "admin"


#: What each lets its holder do, for people.
MAY: Final[dict[Scope, str]] = {
    Scope.READ: "look at everything, and save snapshots",
    Scope.DATA: "use state, locks, queues, client sessions, and emit events",
    Scope.RUN: "run, cancel, retry, backfill, pause and resume a job that is there",
    Scope.JOBS: "define jobs, calendars and pools, which is to run code on the nodes",
    Scope.ADMIN: "do everything: members, leadership, restores, tokens, the pause of all",
}
#: What each has with it: nobody can work with what he cannot see, and who may define a job may run it. Whoever may
#: read sees a lot, so a webhook had better have a secret of its own than a token.
WITH: Final[dict[Scope, frozenset[Scope]]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.DATA: frozenset({Scope.READ, Scope.DATA}),
    Scope.RUN: frozenset({Scope.READ, Scope.RUN}),
    Scope.JOBS: frozenset({Scope.READ, Scope.RUN, Scope.JOBS}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of one. `expires_ms`: from then on it lets nobody in; 0: it stays until it is revoked."""

    name: str
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int = 0

    def alive(self, now_ms: int) -> bool:
        return not self.expires_ms or now_ms < self.expires_ms


def allowed(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """All that these scopes let one do.

    >>> sorted(allowed([Scope.DATA, Scope.RUN]))
    ['data', 'read', 'run']
    """
    return frozenset().union(*map(WITH.__getitem__, scopes))


assert MAY.keys() == WITH.keys() == set(Scope)
