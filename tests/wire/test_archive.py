"""The file of a snapshot: whatever happened to it on the way, it is read as it was written or not at all."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.limits import RESTORE_PART_BYTES_MAX
from peercron.core.state import ClusterState
from peercron.errors import SnapshotDamaged, SnapshotTooNew
from peercron.wire import archive
from peercron.wire.archive import CHUNK_CONTENT_BYTES, ArchiveReader, ArchiveWriter, Header, inflate
from peercron.wire.snapshot import blocks, freeze, thaw
from tests.wire.test_snapshot import golden_state, some_state

GOLDEN = Path(__file__).parent / "golden" / "archive.hex"
HEADER = Header("payroll – Köln", 17, 1, 3, 1_800_000_000_000, "0.1.0", 2, 1, 4, 1, 3)


def file_of(state: ClusterState, header: Header = HEADER) -> bytes:
    writer = ArchiveWriter()
    pieces = [writer.begin(header)]
    for block in blocks(freeze(state)):
        pieces += writer.write(block)
    pieces.append(writer.end())
    return b"".join(pieces)


def read(data: bytes, piece: int = 1 << 20) -> tuple[Header, list[bytes]]:
    reader = ArchiveReader()
    chunks = [c for at in range(0, len(data), piece) for c in reader.feed(data[at : at + piece])]
    return reader.finish(), chunks


def sealed(data: bytes) -> bytes:
    """The bytes with a digest that is theirs, as somebody would write it who means it."""
    return data + hashlib.blake2b(data, digest_size=32).digest()


SMALL = file_of(golden_state())


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 5_000))
def test_what_is_written_is_read(seed: int, commands: int, piece: int) -> None:
    state = some_state(seed, commands)
    header, chunks = read(file_of(state), piece)
    assert header == HEADER
    assert repr(thaw(inflate(chunk) for chunk in chunks)) == repr(state)


def test_chunks_fit_the_parts_of_a_restore() -> None:
    """Also what cannot be compressed at all."""
    writer, dice = ArchiveWriter(), random.Random(1)
    content = dice.randbytes(3 * CHUNK_CONTENT_BYTES + 5)
    data = b"".join([writer.begin(HEADER), *writer.write(content[:7]), *writer.write(content[7:]), writer.end()])
    _, chunks = read(data)
    assert [len(inflate(chunk)) for chunk in chunks] == [CHUNK_CONTENT_BYTES] * 3 + [5]
    assert b"".join(map(inflate, chunks)) == content
    assert max(map(len, chunks)) <= RESTORE_PART_BYTES_MAX


def test_the_format_is_the_golden_one() -> None:
    """Files like this are kept for years; how well zlib packs is not part of it, how it is laid out is."""
    assert archive.FORMAT == 1
    golden = bytes.fromhex(GOLDEN.read_text().strip())
    header, chunks = read(golden)
    assert header == HEADER
    assert thaw(map(inflate, chunks)) == golden_state()
    assert golden[:8] == b"PCSNAP\r\n"
    assert struct.unpack_from(">I", golden, 8) == (1,)
    (length,) = struct.unpack_from(">I", golden, 12)
    assert golden[16 : 16 + length].decode().startswith('{"cluster":"payroll – Köln","index":17,"generation":1,')
    assert golden[-44:-32] == struct.pack(">IQ", 0, len(golden))
    assert golden[-32:] == hashlib.blake2b(golden[:-32], digest_size=32).digest()
    assert SMALL[: 16 + length] == golden[: 16 + length]
    assert [inflate(chunk) for chunk in read(SMALL)[1]] == [inflate(chunk) for chunk in chunks]


def test_a_file_that_was_cut_anywhere_is_refused() -> None:
    for size in range(len(SMALL)):
        with pytest.raises(SnapshotDamaged):
            read(SMALL[:size])
    with pytest.raises(SnapshotDamaged, match="cut short"):
        read(SMALL[:-1])


def test_a_file_with_a_changed_byte_is_refused() -> None:
    dice = random.Random(2)
    for at in range(len(SMALL)):
        spoiled = bytearray(SMALL)
        spoiled[at] ^= dice.randrange(1, 256)
        with pytest.raises(SnapshotDamaged):
            read(bytes(spoiled), piece=dice.choice((1, 7, 1 << 20)))


@pytest.mark.parametrize("more", [b"\0", b"PCSNAP\r\n", SMALL], ids=["a byte", "a beginning", "itself"])
def test_nothing_may_follow(more: bytes) -> None:
    with pytest.raises(SnapshotDamaged):
        read(SMALL + more)


@pytest.mark.parametrize("data", [b"", b"P", b"{}", b"PCSNAP\n", SMALL.replace(b"\r\n", b"\n"), bytes(100)])
def test_other_files_are_none(data: bytes) -> None:
    with pytest.raises(SnapshotDamaged):
        read(data)


def test_bytes_that_were_changed_along_with_their_digest_are_still_read_with_care() -> None:
    """Nothing but the two errors comes out, whatever the bytes are."""
    dice = random.Random(3)
    for _ in range(2_000):
        spoiled = bytearray(SMALL[:-32])
        for _ in range(dice.choice((1, 2, 9))):
            spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
        try:
            _, chunks = read(sealed(bytes(spoiled[: dice.choice((len(spoiled), dice.randrange(len(spoiled))))])))
            for chunk in chunks:
                inflate(chunk)
        except (SnapshotDamaged, SnapshotTooNew):
            continue


def test_a_sound_file_of_a_newer_format_is_not_called_damaged() -> None:
    newer = sealed(SMALL[:8] + struct.pack(">I", 2) + b"whatever a later version puts here")
    with pytest.raises(SnapshotTooNew, match="format 2"):
        read(newer, piece=5)
    with pytest.raises(SnapshotDamaged):
        read(newer[:-1] + b"x")


def test_a_header_may_say_more_than_this_version_asks() -> None:
    text = SMALL[16 : SMALL.index(b"}") + 1]
    longer = text[:-1] + b',"locks":3}'
    body = SMALL[16 + len(text) : -44]
    head = SMALL[:12] + struct.pack(">I", len(longer)) + longer + body
    data = sealed(head + struct.pack(">IQ", 0, len(head) + 44))
    assert read(data)[0] == HEADER


@pytest.mark.parametrize("text", [b"{}", b"[1]", b"\xff", b"[" * 10_000, b'{"cluster": 1}'], ids=lambda t: repr(t[:9]))
def test_a_header_that_says_less_is_none(text: bytes) -> None:
    with pytest.raises(SnapshotDamaged, match="header"):
        read(sealed(SMALL[:12] + struct.pack(">I", len(text)) + text))


def test_a_header_of_other_types_is_none() -> None:
    for wrong in (replace(HEADER, jobs="2"), replace(HEADER, cluster=7), replace(HEADER, index=True)):  # type: ignore[arg-type]
        with pytest.raises(SnapshotDamaged, match="header"):
            read(file_of(ClusterState(), wrong))


@pytest.mark.parametrize("size", [archive.HEADER_BYTES_MAX + 1, 2**32 - 1])
def test_what_is_said_to_be_large_is_not_waited_for(size: int) -> None:
    with pytest.raises(SnapshotDamaged, match="header of"):
        ArchiveReader().feed(SMALL[:12] + struct.pack(">I", size))
    text = SMALL[: SMALL.index(b"}") + 1]
    with pytest.raises(SnapshotDamaged, match="chunk of"):
        ArchiveReader().feed(text + struct.pack(">I", size + RESTORE_PART_BYTES_MAX if size < 2**31 else size))


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"x",
        zlib.compress(bytes(CHUNK_CONTENT_BYTES + 1)),
        zlib.compress(b"abc")[:-1],
        zlib.compress(b"abc") + b"more",
        zlib.compress(bytes(10 << 20)),
    ],
    ids=["empty", "none", "too long", "cut", "followed", "a bomb"],
)
def test_a_chunk_holds_as_much_as_it_may_and_nothing_else(chunk: bytes) -> None:
    with pytest.raises(SnapshotDamaged):
        inflate(chunk)
