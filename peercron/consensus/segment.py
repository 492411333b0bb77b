"""Segment: how frames lie in a journal's file, and what is sound of one."""

from __future__ import annotations

import struct
import zlib
from typing import Final

MAGIC: Final = b"PCJ1"
HEADER: Final = struct.Struct(">4sII")
#: A length beyond this is damage, not a frame.
FRAME_BYTES_MAX: Final = 64 << 20


def frame(payload: bytes) -> bytes:
    """The payload with magic, length and CRC-32 in front."""
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
