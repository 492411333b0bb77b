"""How far a long transfer is: one line on stderr, drawn over and over, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click

WIDTH = 30
#: The line is drawn again after so many bytes, or this share of the whole.
STEP_BYTES = 256 * 1024
STEPS = 100


def shown(pieces: Iterable[bytes], label: str, total: int | None = None) -> Iterator[bytes]:
    """The pieces, while stderr tells how many bytes went by; a bar where it is known how many there are."""
    if not sys.stderr.isatty():
        yield from pieces
        return
    done, drawn = 0, -STEP_BYTES
    try:
        for piece in pieces:
            yield piece
            done += len(piece)
            if done - drawn >= min(STEP_BYTES, (total or STEPS * STEP_BYTES) // STEPS) or done == total:
                drawn = done
                click.echo(f"\r{label}  {line(done, total)}", err=True, nl=False)
    finally:
        click.echo("\r\033[K", err=True, nl=False)


def line(done: int, total: int | None) -> str:
    """How far it is, for people.

    >>> line(256, 512)
    '███████████████                256 B of 512 B'
    """
    if total is None:
        return size_of(done)
    filled = WIDTH * done // max(1, total)
    return f"{'█' * filled:<{WIDTH}} {size_of(done)} of {size_of(total)}"


def size_of(count: int) -> str:
    """Bytes for people.

    >>> size_of(1_536)
    '1.5 KiB'
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
