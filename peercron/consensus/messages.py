"""Messages between members: their fields and types, checked before anything acts on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

#: Items of one forwarded proposal message and of one log entry.
BATCH_ITEMS_MAX: Final = 512
BATCH_BYTES_MAX: Final = 256 << 10
#: One proposal; larger ones are refused before they are sent.
PROPOSAL_BYTES_MAX: Final = 1 << 20
SNAPSHOT_CHUNK_BYTES: Final = 256 << 10

Message = dict[str, Any]

_OPTIONAL_INT: Final = (int, type(None))

#: Type -> field -> accepted types. "_t" and "_w", the sender's term and wall clock in ms, are stamped on all.
SCHEMA: Final[dict[str, dict[str, Any]]] = {
    "request_vote": {"term": int, "last_log_index": int, "last_log_term": int, "transfer": bool},
    "response_vote": {"term": int},
    "append_entries": {
        "term": int,
        "commit_index": int,
        "prevLogIdx": _OPTIONAL_INT,
        "prevLogTerm": _OPTIONAL_INT,
        "entries": (tuple, list),
        "quiet": bool,
        "step": int,
    },
    "next_node_idx": {"next_node_idx": int, "reset": bool, "success": bool, "step": int},
    "timeout_now": {"term": int},
    "prevote": {"round": int, "term": int, "last_log_index": int, "last_log_term": int},
    "prevote_ok": {"round": int},
    "term_notice": {"term": int},
    "position": {"last_log_index": int, "last_log_term": int},
    "read": {"id": int},
    "read_at": {"id": int, "index": _OPTIONAL_INT},
    "propose": {"items": tuple},
    "busy": {"seqs": tuple},
    "snapshot_offer": {"term": int, "index": int, "last_term": int, "size": int, "digest": bytes},
    "snapshot_get": {"index": int, "last_term": int, "offset": int},
    "snapshot_chunk": {"index": int, "last_term": int, "offset": int, "data": bytes},
    "mail": {"kind": str, "body": (tuple, dict, int, str, bytes, type(None))},
}


class ProtocolError(Exception):
    """A peer sent something that no member of this version would send: {detail}."""


def check(message: object) -> Message:
    """Return the message if it is of the form its type demands.

    Raises:
        ProtocolError: it is not; the connection it came by is to be closed.
    """
    if not isinstance(message, dict):
        raise ProtocolError(f"a message that is a {type(message).__name__}")
    kind = message.get("type")
    fields = SCHEMA.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ProtocolError(f"a message of unknown type {str(kind)[:40]!r}")
    if not isinstance(message.get("_t"), int) or not isinstance(message.get("_w"), int):
        raise ProtocolError(f"{message['type']} without a term or a time")
    for name, accepted in fields.items():
        if name not in message or not isinstance(message[name], accepted):
            raise ProtocolError(f"{message['type']} without a sound {name}")
    if message["type"] == "append_entries":
        _check_entries(message)
    if message["type"] == "propose" and not all(_is_item(item) for item in message["items"]):
        raise ProtocolError("propose with an unsound item")
    if message["type"] == "busy" and not all(isinstance(seq, int) for seq in message["seqs"]):
        raise ProtocolError("busy with an unsound seq")
    return message


def batches(items: Iterable[tuple[int, bytes]]) -> Iterator[tuple[tuple[int, bytes], ...]]:
    """The items of a proposal, cut into messages that fit a frame."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for item in items:
        if batch and (len(batch) == BATCH_ITEMS_MAX or size + len(item[1]) > BATCH_BYTES_MAX):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(item)
        size += len(item[1])
    if batch:
        yield tuple(batch)


def _check_entries(message: Message) -> None:
    previous = message["prevLogIdx"]
    if previous is None:
        if message["entries"]:
            raise ProtocolError("append_entries with entries that follow nothing")
        return
    for position, entry in enumerate(message["entries"]):
        sound = isinstance(entry, tuple) and len(entry) == 3 and isinstance(entry[0], bytes) and entry[0] != b""
        if not sound or entry[1] != previous + 1 + position or not isinstance(entry[2], int):
            raise ProtocolError(f"append_entries with an unsound entry at place {position}")


def _is_item(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], int) and isinstance(item[1], bytes)
