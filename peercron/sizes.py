"""sizes: amounts of memory as people write them ("256MiB"), and back."""

from __future__ import annotations

import re

_UNITS = {
    "B": 1,
    "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}  # fmt: skip
_SIZE = re.compile(rf"([0-9]{{1,15}}) ?({'|'.join(_UNITS)})")


def parse_size(text: str) -> int:
    """Bytes of a text like "256MiB" or "2GB". ValueError says which form is accepted.

    >>> parse_size("2KiB")
    2048
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size like 512MiB or 2GB")
    return int(found[1]) * _UNITS[found[2]]


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as exactly this many bytes.

    >>> format_size(256 << 20), format_size(2_000)
    ('256MiB', '2kB')
    """
    fitting = [f"{size // unit}{name}" for name, unit in _UNITS.items() if size % unit == 0]
    return min(fitting, key=len)
