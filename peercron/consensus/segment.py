"""Segment: how frames lie in a journal's file, and what is sound of one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

MAGIC: Final = b"PCJ1"
HEADER: Final = struct.Struct(">4sII")
#: A length beyond this is damage, not a frame.
FRAME_BYTES_MAX: Final = 64 << 20
#: Of a new segment, which repeats all that the log has behind a snapshot, however much that is.
PORTION_BYTES: Final = 1 << 20


def frame(payload: bytes) -> bytes:
    """The payload with magic, length and CRC-32 in front."""
    assert len(payload) <= FRAME_BYTES_MAX, f"a frame of {len(payload)} bytes could never be read"
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def frame_at(raw: bytes, offset: int) -> bytes | None:
    """The payload of the sound frame at this place; None: there is none."""
    if offset + HEADER.size > len(raw):
        return None
    magic, length, crc = HEADER.unpack_from(raw, offset)
    start = offset + HEADER.size
    if magic != MAGIC or length > FRAME_BYTES_MAX or start + length > len(raw):
        return None
    payload = raw[start : start + length]
    return payload if zlib.crc32(payload) == crc else None


def sound_frame_after(raw: bytes, offset: int) -> bool:
    """Is there a sound frame at this place or anywhere behind it?"""
    while (offset := raw.find(MAGIC, offset)) >= 0:
        if frame_at(raw, offset) is not None:
            return True
        offset += 1
    return False


def portions(records: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Records, cut into what makes frames of moderate size; what is long in one stands at its end."""
    portion: list[tuple[Any, ...]] = []
    size = 0
    for record in records:
        portion.append(record)
        size += len(record[-1]) if isinstance(record[-1], bytes) else 0
        if size >= PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
