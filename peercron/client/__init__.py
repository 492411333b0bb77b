"""client: how programs outside the cluster talk to it, over HTTP and with several addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peercron.client.blocking import Answer, Connection

if TYPE_CHECKING:
    from peercron.client.client import Client
    from peercron.client.lock import Lock
    from peercron.client.queue import Delivery, Item, Queue
    from peercron.client.state import Change, Entry, Listing
    from peercron.client.sync import SyncClient, SyncLock, SyncQueue

__all__ = [
    "Answer",
    "Change",
    "Client",
    "Connection",
    "Delivery",
    "Entry",
    "Item",
    "Listing",
    "Lock",
    "Queue",
    "SyncClient",
    "SyncLock",
    "SyncQueue",
]

#: Name -> module that has it. Read when they are asked for: they need aiohttp, and the command line does not.
_FROM = {
    "Change": "state",
    "Client": "client",
    "Delivery": "queue",
    "Entry": "state",
    "Item": "queue",
    "Listing": "state",
    "Lock": "lock",
    "Queue": "queue",
    "SyncClient": "sync",
    "SyncLock": "sync",
    "SyncQueue": "sync",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
