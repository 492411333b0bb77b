"""Queues: their settings, what is put in and taken out, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PutQueue:
    """Make a queue, or give it other settings (see `Queue`). `if_revision`: as for PutKey. The answer: the revision."""

    namespace: str
    name: str
    visibility_ms: int
    max_attempts: int
    dead_letters: str = ""
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteQueue:
    """Forget a queue that is empty."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class PutItem:
    """Put an item into a queue, which is made if it is not there. The answer is the item's id.

    While an item with this `key` is there, and a while after it was done, nothing is put, and the answer is its id.
    """

    namespace: str
    name: str
    payload: bytes
    #: The payload is bytes; otherwise it is the text of a JSON value.
    binary: bool = False
    key: str = ""
    priority: int = 0
    group: str = ""
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReceiveItems:
    """Take up to `most` items for a time. The answer is the token of the delivery; None: there was nothing to take."""

    namespace: str
    name: str
    most: int = 1
    #: 0: as long as the queue says.
    visibility_ms: int = 0
    #: What the receiver calls itself, for people.
    owner: str = ""
    #: Client session that the delivery ends with; 0: it stands for itself.
    client: int = 0


@dataclass(frozen=True, slots=True)
class AckItems:
    """These items of a delivery are done and gone; none named: all of them. The answer is how many are left of it."""

    token: int
    items: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NackItems:
    """These items of a delivery are given back; none named: all of them. The answer is how many are left of it.

    `unseen`: nobody got to see them, so that this does not count as an attempt.
    """

    token: int
    items: tuple[int, ...] = ()
    delay_ms: int = 0
    reason: str = ""
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class ExtendDelivery:
    """The receiver wants so much time from now on, and from each renewal on."""

    token: int
    visibility_ms: int


@dataclass(frozen=True, slots=True)
class TakeItem:
    """The leader found an item in a job's queue, and a node that has room for it: it becomes a run."""

    job_uid: str


@dataclass(frozen=True, slots=True)
class PurgeQueue:
    """Drop all items of a queue, also those in somebody's hands. The answer is how many."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ReplayItems:
    """Put dead letters of a queue back into it, the oldest first, at most `most`. The answer is how many."""

    namespace: str
    name: str
    most: int
