"""The shared state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PutKey:
    """Write shared state. `if_revision`: None any, 0 only create, n only if the key's revision is n."""

    namespace: str
    key: str
    value: bytes
    if_revision: int | None = None
    #: The key is gone so long after this write, unless somebody writes it again; 0: it stays.
    ttl_ms: int = 0


@dataclass(frozen=True, slots=True)
class IncrKey:
    """Add `by` to the whole number that the key holds, 0 where there is none. The answer is the sum.

    `ttl_ms` is for a key that begins with this; one that is there keeps the time that it has.
    """

    namespace: str
    key: str
    by: int = 1
    ttl_ms: int = 0


@dataclass(frozen=True, slots=True)
class DeleteKey:
    namespace: str
    key: str
    if_revision: int | None = None
