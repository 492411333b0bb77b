"""Nodes whose wall clock is off by what a file says, and is set while they run: `python -m peercron` otherwise.

>>> mislead(node, folder)          # before it starts   # doctest: +SKIP
>>> set_clock(node, folder, 5_000) # its clock is pushed five seconds ahead, at once   # doctest: +SKIP
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from peercron.clock import SystemClock
from tests.system.processes import Node

FILE = "WRONG_BY_FILE"


def mislead(node: Node, folder: Path) -> None:
    """It is to be started with a clock that can be set."""
    set_clock(node, folder, 0)
    at = node.command.index("peercron")
    node.command[at] = "tests.system.clocks"
    node.command = ["env", f"{FILE}={_file(node, folder)}", *node.command]


def set_clock(node: Node, folder: Path, wrong_by_ms: int) -> None:
    path = _file(node, folder)
    path.with_suffix(".new").write_text(str(wrong_by_ms), encoding="ascii")
    path.with_suffix(".new").replace(path)


def _file(node: Node, folder: Path) -> Path:
    return folder / f"{node.name}.clock"


def main() -> None:
    path, right = Path(os.environ[FILE]), SystemClock.wall_ms

    def wall_ms(clock: SystemClock) -> int:
        return right(clock) + int(path.read_text(encoding="ascii"))

    SystemClock.wall_ms = wall_ms  # type: ignore[method-assign, assignment]
    import_module("peercron.cli").main()


if __name__ == "__main__":
    main()
