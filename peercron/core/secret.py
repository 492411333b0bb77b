"""Secret: where the node that needs a value finds it; the value itself never enters the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SecretSource(StrEnum):
    """Where the running node finds the value of an environment entry."""

    LITERAL = "literal"
    FILE = "file"
    ENV = "env"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class EnvEntry:
    """One environment variable; a secret is a reference that the running node resolves, never a value in the log."""

    name: str
    source: SecretSource
    value: str
