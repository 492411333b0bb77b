"""What the demo prints of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from peercron.times import parse_instant_ms


def began(attempt: dict[str, Any]) -> str:
    """When an attempt began, or what is nearest to that."""
    return str(attempt["started_at"] or attempt["finished_at"] or attempt["assigned_at"])


def fire(run: dict[str, Any], attempt: dict[str, Any]) -> str:
    """One line of the play: when it began, where, what, how it ended, how late it was, and what it said."""
    began_ms = parse_instant_ms(began(attempt))
    word = "ok" if attempt["state"] == "succeeded" else attempt["state"].upper()
    again = f"attempt {attempt['n']}  " if attempt["n"] > 1 else ""
    said = run["output_tail"].strip().partition("\n")[0] if attempt is run["attempts"][-1] else attempt["reason"]
    where = f"{time_of_day(began_ms)}  {attempt['node']:<3} {run['job'].removeprefix('default/'):<7}"
    return f"{where} {word:<4} {began_ms - run['slot']:+5} ms  {again}{said}"


def time_of_day(at_ms: int) -> str:
    """The clock on the wall of who looks on."""
    instant = datetime.fromtimestamp(at_ms / 1_000).astimezone()
    return instant.strftime("%H:%M:%S.") + f"{at_ms % 1_000:03}"
