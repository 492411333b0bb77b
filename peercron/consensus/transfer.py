"""Transfer: a snapshot on its way to a follower that needs entries the leader no longer holds.

The leader offers; the follower asks for chunks by offset, a few at a time, and goes on where it was when a connection
broke. It runs beside the log's own messages, so heartbeats pass, and what arrives is checked before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from peercron.consensus.messages import SNAPSHOT_CHUNK_BYTES, Message
from peercron.consensus.snapshots import SnapshotInfo, SnapshotStore, SnapshotWriter

#: Chunks asked for and not yet here.
CHUNKS_AHEAD: Final = 4
#: With no chunk for this long, the follower asks again.
STALL_S: Final = 1.0


@dataclass(slots=True)
class _Receiving:
    info: SnapshotInfo
    writer: SnapshotWriter
    asked: int = 0
    progress_s: float = 0.0


class Transfer:
    """Both ends of snapshot transfers of one member."""

    def __init__(self, store: SnapshotStore, writer: Callable[[int, int], SnapshotWriter] | None = None) -> None:
        """`writer`: makes that of a snapshot that comes in, from its index and term; by default the store does."""
        self._store = store
        self._writer = writer or store.writer
        self._receiving: _Receiving | None = None

    # The leader's end.

    def offer(self, term: int) -> Message | None:
        """What to tell a follower that lacks entries; None: there is no snapshot yet."""
        newest = next(iter(self._store.all()), None)
        if newest is None:
            return None
        return {
            "type": "snapshot_offer",
            "term": term,
            "index": newest.index,
            "last_term": newest.term,
            "size": newest.size,
            "digest": newest.digest,
        }

    def serve(self, message: Message) -> Message | None:
        """Answer a request for a chunk; None: that snapshot is gone, a newer one will be offered."""
        wanted = (message["index"], message["last_term"])
        info = next((i for i in self._store.all() if (i.index, i.term) == wanted), None)
        if info is None or not 0 <= message["offset"] < info.size:
            return None
        data = self._store.chunk(info, message["offset"], SNAPSHOT_CHUNK_BYTES)
        return {
            "type": "snapshot_chunk",
            "index": info.index,
            "last_term": info.term,
            "offset": message["offset"],
            "data": data,
        }

    # The follower's end.

    def offered(self, message: Message, now_s: float) -> list[dict[str, Any]]:
        """Requests to send for an offer that we want."""
        info = SnapshotInfo(message["index"], message["last_term"], message["size"], message["digest"])
        current = self._receiving
        if current is None or current.info != info:
            if current is not None:
                current.writer.discard()
            current = self._receiving = _Receiving(info, self._writer(info.index, info.term))
            current.progress_s = now_s
            return self._ask(current)
        if now_s - current.progress_s > STALL_S:
            current.asked, current.progress_s = current.writer.written, now_s
            return self._ask(current)
        return []

    def arrived(self, message: Message, now_s: float) -> tuple[SnapshotWriter | None, list[dict[str, Any]]]:
        """(the whole and proven snapshot or None, further requests)"""
        current = self._receiving
        if current is None or (message["index"], message["last_term"]) != (current.info.index, current.info.term):
            return None, []
        if message["offset"] != current.writer.written or not message["data"]:
            return None, []  # a duplicate, or one behind a gap; the stall timer asks again
        current.writer.write(message["data"])
        current.progress_s = now_s
        if current.writer.written < current.info.size - len(current.info.digest):
            return None, self._ask(current)
        self._receiving = None
        if not current.writer.matches(current.info):
            current.writer.discard()
            return None, []
        return current.writer, []

    def _ask(self, current: _Receiving) -> list[dict[str, Any]]:
        end = current.info.size - len(current.info.digest)
        horizon = min(end, current.writer.written + CHUNKS_AHEAD * SNAPSHOT_CHUNK_BYTES)
        requests = []
        while current.asked < horizon:
            requests.append(
                {
                    "type": "snapshot_get",
                    "index": current.info.index,
                    "last_term": current.info.term,
                    "offset": current.asked,
                }
            )
            current.asked += SNAPSHOT_CHUNK_BYTES
        return requests
