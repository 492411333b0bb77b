"""report: figures for people and for programs: percentiles, a table, a JSON file, a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of one thing measured again and again, in ms."""

    label: str
    values_ms: Sequence[float]

    def row(self) -> list[str]:
        known = sorted(self.values_ms)
        if not known:
            return [self.label, "0", "", "", "", ""]
        figures = (known[0], median(known), percentile(known, 95), known[-1])
        return [self.label, str(len(known)), *(f"{figure:.1f}" for figure in figures)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank).

    >>> percentile([1, 2, 3, 4], 95), percentile([1, 2, 3, 4], 50)
    (4, 2)
    """
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def table(title: str, series: Sequence[Series]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    rows = [[title, "n", "min", "p50", "p95", "max"], *(one.row() for one in series)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(_cells(row, widths)) + " |" for row in rows]
    ruler = "|" + "|".join("-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], ruler, *lines[1:]])


def _cells(row: list[str], widths: list[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def plot(path: Path, title: str, panels: Mapping[str, Sequence[Series]]) -> bool:
    """Cumulative shares on a logarithmic axis, one panel for each signal; False where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4), sharex=True, sharey=True, squeeze=False)
    for axis, (name, series) in zip(axes[0], panels.items(), strict=True):
        for one in series:
            known = sorted(one.values_ms)
            axis.step(known, [(i + 1) / len(known) for i in range(len(known))], where="post", label=one.label)
        axis.set(title=name, xlabel="ms", xscale="log", ylim=(0, 1.02))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(visible=True, which="both", alpha=0.2)
        axis.legend(fontsize=8, loc="lower right")
    axes[0][0].set_ylabel("share of trials")
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    return True
