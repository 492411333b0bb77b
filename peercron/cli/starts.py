"""What starts a job, in a word or two for a table."""

from __future__ import annotations

from peercron.cli.output import Row


def started_by(row: Row) -> str:
    """Of a job's JSON; "–": nobody but who asks for it.

    >>> started_by({"after": ["ingest", "clean"]})
    'after ingest, clean'
    """
    if "schedule" in row:
        return f"{row['schedule']}  {row['timezone']}" if "timezone" in row else str(row["schedule"])
    if "after" in row:
        return f"after {', '.join(row['after'])}"
    if "on" in row:
        return f"on {next(iter(row['on']))}"
    words = (f"{what} {row[what]}" for what in ("every", "at", "when", "queue") if what in row)
    return next(words, "webhook" if row.get("webhook") else "–")
