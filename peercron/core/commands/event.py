"""Commands about what happens outside and starts jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallHook:
    """Somebody called the webhook of this job; it runs with these params."""

    key: str
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """An event of this name happened: each job that waits for it runs, with these params."""

    namespace: str
    name: str
    params: tuple[tuple[str, str], ...] = ()
