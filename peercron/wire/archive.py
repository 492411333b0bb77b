"""Archive: a snapshot as a file of its own, made to be kept; sans-IO, and light enough for the command line.

    magic 8, format 4 | length 4, header (JSON) | length 4, chunk | … | 0 in 4 | bytes of the whole file 8 | digest 32

Numbers are big-endian. A chunk is up to CHUNK_CONTENT_BYTES of `wire.snapshot` blocks, cut anywhere, compressed by
itself (zlib); it fits a part of a restore as it is. The digest is BLAKE2b of all before it. In every format the file
ends with that digest, so that a sound file of a newer version can be told from a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from peercron.core.limits import RESTORE_PART_BYTES_MAX
from peercron.errors import SnapshotDamaged, SnapshotTooNew

#: The line ends show what a transfer as text does to a file.
MAGIC: Final = b"PCSNAP\r\n"
FORMAT: Final = 1
DIGEST_BYTES: Final = 32
CHUNK_CONTENT_BYTES: Final = 120 * 1024
HEADER_BYTES_MAX: Final = 64 * 1024
#: Fast: most of what can be saved is saved by the weakest level.
COMPRESSION: Final = 1
_HEAD: Final = struct.Struct(">8sII")
_LENGTH: Final = struct.Struct(">I")
_SIZE: Final = struct.Struct(">Q")

assert CHUNK_CONTENT_BYTES + 1024 <= RESTORE_PART_BYTES_MAX, "what cannot be compressed grows a little"


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says of itself. Instants are milliseconds since 1970, UTC; the rest are counts and names."""

    cluster: str
    #: state.index, its generation, and the term in which it was read.
    index: int
    generation: int
    term: int
    created_ms: int
    #: Of peercron.
    version: str
    jobs: int
    runs: int
    ledger: int
    keys: int
    members: int


class ArchiveWriter:
    """The bytes of one file, in order: `begin`, `write` for each block, `end`."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._content = bytearray()
        self.written = 0

    def begin(self, header: Header) -> bytes:
        text = json.dumps(asdict(header), ensure_ascii=False, separators=(",", ":")).encode()
        return self._counted(_HEAD.pack(MAGIC, FORMAT, len(text)) + text)

    def write(self, block: bytes) -> Iterator[bytes]:
        """The chunks that are full with this block."""
        self._content += block
        while len(self._content) >= CHUNK_CONTENT_BYTES:
            content = bytes(self._content[:CHUNK_CONTENT_BYTES])
            del self._content[:CHUNK_CONTENT_BYTES]
            yield self._chunk(content)

    def end(self) -> bytes:
        last = self._chunk(bytes(self._content)) if self._content else b""
        size = self.written + _LENGTH.size + _SIZE.size + DIGEST_BYTES
        return last + self._counted(_LENGTH.pack(0) + _SIZE.pack(size)) + self._hash.digest()

    def _chunk(self, content: bytes) -> bytes:
        data = zlib.compress(content, COMPRESSION)
        return self._counted(_LENGTH.pack(len(data)) + data)

    def _counted(self, data: bytes) -> bytes:
        self._hash.update(data)
        self.written += len(data)
        return data


class ArchiveReader:
    """One file on its way in. Nothing that it gives out is to be believed before `finish` has returned.

    >>> reader = ArchiveReader()                            # doctest: +SKIP
    >>> chunks = [c for piece in file for c in reader.feed(piece)]   # doctest: +SKIP
    >>> header = reader.finish()                            # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        #: The last bytes so far: the digest, if nothing more comes.
        self._tail = b""
        self._buffer = bytearray()
        self._header: Header | None = None
        self._header_length: int | None = None
        self._too_new: int | None = None
        #: Behind the chunks: what the file says of its own size.
        self._size_told: int | None = None
        self.size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the chunks that are complete with them, compressed as they are.

        Raises:
            SnapshotDamaged: no file of this kind goes on like this.
        """
        self.size += len(data)
        tail = self._tail + data
        self._hash.update(tail[:-DIGEST_BYTES])
        self._tail = tail[-DIGEST_BYTES:]
        if self._too_new is not None:
            return []
        self._buffer += data
        if self._header is None and not self._read_head():
            return []
        return list(self._chunks())

    def finish(self) -> Header:
        """Nothing more comes: the header of a file that is whole and sound.

        Raises:
            SnapshotDamaged: it is cut short, or not what was written.
            SnapshotTooNew: it is sound, and of a format that this version does not know.
        """
        sound = len(self._tail) == DIGEST_BYTES and self._tail == self._hash.digest()
        if self._too_new is not None and sound:
            raise SnapshotTooNew(f"format {self._too_new}; this version reads up to {FORMAT}")
        if self._too_new is not None:
            raise SnapshotDamaged("neither its format nor its checksum is known")
        if self._header is None or self._size_told is None or len(self._buffer) < DIGEST_BYTES:
            raise SnapshotDamaged(f"it is cut short: it ends after {self.size} bytes, before its own end")
        if len(self._buffer) > DIGEST_BYTES or self._size_told != self.size:
            raise SnapshotDamaged(f"it has {self.size} bytes and was written with {self._size_told}")
        if not sound:
            raise SnapshotDamaged("its checksum is not that of its content")
        return self._header

    def _read_head(self) -> bool:
        """Once all of it is here: the header. False: more is wanted."""
        if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
            raise SnapshotDamaged("it does not begin like a peercron snapshot")
        if len(self._buffer) < _HEAD.size:
            return False
        _, version, length = _HEAD.unpack_from(self._buffer)
        if version != FORMAT:
            self._too_new = version
            self._buffer.clear()
            return False
        if length > HEADER_BYTES_MAX:
            raise SnapshotDamaged(f"a header of {length} bytes")
        if len(self._buffer) < _HEAD.size + length:
            return False
        self._header = _header(bytes(self._buffer[_HEAD.size : _HEAD.size + length]))
        del self._buffer[: _HEAD.size + length]
        return True

    def _chunks(self) -> Iterator[bytes]:
        while self._size_told is None and len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > RESTORE_PART_BYTES_MAX:
                raise SnapshotDamaged(f"a chunk of {length} bytes")
            end = _LENGTH.size + (length or _SIZE.size)
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            if not length:
                (self._size_told,) = _SIZE.unpack(body)
            else:
                yield body


def inflate(chunk: bytes) -> bytes:
    """The content of a chunk.

    Raises:
        SnapshotDamaged: it is none.
    """
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(chunk, CHUNK_CONTENT_BYTES)
    except zlib.error as error:
        raise SnapshotDamaged(f"a chunk that cannot be read: {error}") from None
    if not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise SnapshotDamaged("a chunk that is longer or shorter than it may be")
    return content


def _header(text: bytes) -> Header:
    try:
        told: Any = json.loads(text)
        known = {field.name: told[field.name] for field in fields(Header)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotDamaged(f"its header is unreadable: {error!r}") from None
    texts = ("cluster", "version")
    if not all(isinstance(value, str) if name in texts else type(value) is int for name, value in known.items()):
        raise SnapshotDamaged("its header is unreadable")
    return Header(**known)
