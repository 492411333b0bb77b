"""Change: what became of a key and when, kept for a while for those who watch the shared state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a key, or its end. `revision` is the index of the command; a command changes one key at most."""

    revision: int
    namespace: str
    key: str
    #: None: the key was deleted, or its time was up.
    value: bytes | None
