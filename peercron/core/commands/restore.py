"""A snapshot on its way into the cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BeginRestore:
    """A snapshot of so many parts and bytes will come; a restore under way with another id is given up.

    The same once more changes nothing, so that a restore that broke off goes on. Refused (conflict) where the cluster
    has something that the snapshot would replace, unless `force`.
    """

    restore_id: str
    parts: int
    size: int
    force: bool = False
    #: Of the language that it is written in (`core.level`).
    level: int = 1


@dataclass(frozen=True, slots=True)
class StageSnapshot:
    """One part of it, in any order; a part that is there already changes nothing."""

    restore_id: str
    part: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EndRuns:
    """Before a restore by force: cancel every run, and grant nothing until the restore is over."""

    restore_id: str


@dataclass(frozen=True, slots=True)
class AdoptSnapshot:
    """Put what was staged in the place of what the cluster has. Refused while a part is missing or an attempt lives.

    `digest`: BLAKE2b (32 bytes) of all parts in their order.
    """

    restore_id: str
    parts: int
    digest: bytes
    force: bool = False


@dataclass(frozen=True, slots=True)
class AbandonRestore:
    """Give the restore up; but for runs that were ended for it, nothing has changed.

    `if_touched_ms`: only if nobody has added to it since then.
    """

    restore_id: str
    if_touched_ms: int | None = None
