"""The shapes of tables that stand inside a job's."""

from __future__ import annotations

from peercron.core.pace import Backoff, RetryOn
from peercron.jobspec.shapes import Table


class RetryTable(Table):
    max: int
    backoff: Backoff = Backoff.EXPONENTIAL
    base: str = "10s"
    cap: str = "5m"
    jitter: bool = True
    on: RetryOn = RetryOn.OTHER_NODE


class ConcurrencyTable(Table):
    per_node: int = 0
    per_job: int = 0


class TcpTable(Table):
    host: str
    port: int
    send: str = ""
    expect: str = ""


class CalendarTable(Table):
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
