"""Writes the golden bytes anew: `python -m tests.wire.golden`. Only before a release, or with a new FORMAT."""

from __future__ import annotations

from peercron.wire import codec
from peercron.wire.snapshot import blocks, freeze
from tests.wire import test_archive, test_codec, test_snapshot
from tests.wire.rows import COMMANDS


def main() -> None:
    lines = [f"{codec.NAMES[type(x)]} {codec.pack_proposal(test_codec.proposal(x)).hex()}\n" for x in COMMANDS]
    test_codec.GOLDEN.write_text("".join(lines))
    state = test_snapshot.golden_state()
    test_snapshot.GOLDEN.write_text(b"".join(blocks(freeze(state))).hex() + "\n")
    test_archive.GOLDEN.write_text(test_archive.file_of(state).hex() + "\n")


main()
