"""Plain: msgpack for plain values (messages between members, batches of proposals); tuples come back as tuples."""

from __future__ import annotations

from typing import Any

import msgpack


def pack(value: Any) -> bytes:
    """Plain values as bytes. TypeError: a value that is not plain."""
    return bytes(msgpack.packb(value))


def unpack(data: bytes) -> Any:
    """The value in these bytes. ValueError: they hold none, or more than one."""
    return msgpack.unpackb(data, use_list=False, strict_map_key=False)
