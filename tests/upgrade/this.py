"""This version with snapshots taken early, so that little data makes some: `python -m peercron` otherwise."""

from __future__ import annotations

import os
from importlib import import_module

from peercron.node.assembly import Parts

Parts.journal_bytes_max = int(os.environ.get("SNAPSHOT_BYTES", "16384"))
Parts.tail_entries = 5

if __name__ == "__main__":
    import_module("peercron.cli").main()
