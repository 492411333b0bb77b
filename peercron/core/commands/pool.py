"""Pools."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetPool:
    """At most `size` attempts of all jobs in the pool are alive at once; those that are too many now live on."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class DeletePool:
    """Refused (conflict) while a job is in it."""

    name: str
