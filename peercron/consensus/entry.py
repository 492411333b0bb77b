"""Entry: one place of the log, and the kinds of what can stand there, told by the first byte."""

from __future__ import annotations

from typing import Final

Entry = tuple[bytes, int, int]  # command, index, term: the kernel's order

#: First byte of an entry: a batch of proposals, the kernel's no-op, a configuration.
BATCH: Final = b"\x00"
#: It also stands at the place of the last entry that a snapshot covers.
NO_OP: Final = b"\x01"
CONFIGURATION: Final = b"\x02"
#: How the log of a member begins that joins a cluster: before the first entry, so that it is given a snapshot.
BLANK: Final[Entry] = (NO_OP, 0, 0)
