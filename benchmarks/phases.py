"""phases: what was measured of each large thing that a cluster does, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stalls import Slow, inside


@dataclass(slots=True)
class Phase:
    """One large thing. Times in ms but for `took_s`."""

    name: str
    leader: str = ""
    took_s: float = 0.0
    note: str = ""
    #: Of the leader's loop: the callback that took longest, and the one that worked most.
    longest: Slow | None = None
    hardest: Slow | None = None
    outside_ms: float = 0.0
    write_gap_ms: float = 0.0
    slow: dict[str, list[Slow]] = field(default_factory=dict)
    resident_mb: dict[str, float] = field(default_factory=dict)


def longest(path: Path, from_ns: int, to_ns: int) -> tuple[Slow | None, Slow | None]:
    """The callback that took longest, and the one that worked most; None: all were short."""
    callbacks = [slow for slow in inside(path, from_ns, to_ns) if not slow.what.startswith("collector")]
    return next(iter(callbacks), None), max(callbacks, key=lambda slow: slow.cpu_ms, default=None)


def table(phases: list[Phase]) -> str:
    """Markdown, aligned for a terminal."""
    head = ["phase", "took s", "longest ms", "most work ms", "outside ms", "write gap ms", "MB", "most work in"]
    rows = [head, *(_row(phase) for phase in phases)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rows.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in padded)


def _row(phase: Phase) -> list[str]:
    worst = max(phase.resident_mb.values(), default=0.0)
    name = f"{phase.name} ({phase.note})" if phase.note else phase.name
    longest_ms = f"{phase.longest.wall_ms:.0f}" if phase.longest else "<5"
    work_ms = f"{phase.hardest.cpu_ms:.0f}" if phase.hardest else "<5"
    figures = [f"{phase.took_s:.1f}", longest_ms, work_ms, f"{phase.outside_ms:.0f}", f"{phase.write_gap_ms:.0f}"]
    return [name, *figures, f"{worst:.0f}", phase.hardest.what if phase.hardest else ""]
