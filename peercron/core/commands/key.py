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


@dataclass(frozen=True, slots=True)
class DeleteKey:
    namespace: str
    key: str
    if_revision: int | None = None
