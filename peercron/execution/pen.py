"""pen: what a guardian gives its shepherds on their way."""

from __future__ import annotations

from typing import NamedTuple

from peercron.execution.lease import Lease


class Pen(NamedTuple):
    """What all shepherds of a guardian share."""

    attempts: str  # folder of the records
    outputs: str  # folder of the output files
    boot: str
    lock: int  # held by the guardian and its shepherds: free when the last of them is gone
    lease: Lease
    oom_score: str | None  # what the guardian had before it made itself precious
