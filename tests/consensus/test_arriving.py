"""A snapshot that arrives is read as it comes, whatever it is cut into, and believed in the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.consensus.arriving import Arriving
from peercron.consensus.snapshots import with_header


@dataclass
class Reading:
    """What the machine is given; it chokes on an "!"."""

    fed: list[bytes] = field(default_factory=list)
    taken: bool = False

    def feed(self, chunk: bytes) -> None:
        self.fed.append(chunk)
        if b"!" in chunk:
            raise ValueError("unreadable")

    def take_over(self) -> None:
        self.taken = True


def feed(arriving: Arriving, whole: bytes, piece: int) -> None:
    for at in range(0, len(whole), piece):
        arriving.feed(whole[at : at + piece])


@given(st.binary(max_size=40), st.binary(max_size=60), st.integers(1, 50))
def test_the_machine_gets_what_follows_the_header(header: bytes, content: bytes, piece: int) -> None:
    content = content.replace(b"!", b".")
    reading = Reading()
    arriving = Arriving(reading)
    feed(arriving, with_header(header) + content, piece)
    assert b"".join(reading.fed) == content
    assert not reading.taken
    arriving.take_over()
    assert reading.taken


def test_what_goes_wrong_counts_when_all_has_come() -> None:
    """Until it is proven these may be anybody's bytes, and a node does not stop because of those."""
    reading = Reading()
    arriving = Arriving(reading)
    feed(arriving, with_header(b"h") + b"abc!defghi", 2)
    assert b"".join(reading.fed) == b"abc!d", "nothing more was fed"
    with pytest.raises(ValueError, match="unreadable"):
        arriving.take_over()
    assert not reading.taken
