"""peercron: cron that outlives its machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peercron.client import Client, SyncClient
    from peercron.jobs import Job, PlainRunContext, RunContext, cron, every, once

__all__ = ["Client", "Job", "PlainRunContext", "RunContext", "SyncClient", "__version__", "cron", "every", "once"]

__version__ = "0.2.0"

#: Name -> module that has it. Read when they are asked for: whoever only wants the command line must not wait for them.
_FROM = {
    **dict.fromkeys(("Client", "SyncClient"), "peercron.client"),
    **dict.fromkeys(("Job", "PlainRunContext", "RunContext", "cron", "every", "once"), "peercron.jobs"),
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_FROM[name]), name)
