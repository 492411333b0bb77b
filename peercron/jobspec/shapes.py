"""The shapes of tables inside a job that say what is looked at: checks, and what starts it."""

from __future__ import annotations

import msgspec

from peercron.core.check import CHECK_FALL, CHECK_RISE


class Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table of jobs.toml, or an object of a JSON body."""


class ExpectTable(Table):
    status: int | tuple[int, ...]


class ProcessTable(Table):
    pid_file: str | None = None
    name: str | None = None


class CheckUrlTable(Table):
    url: str
    expect: int | tuple[int, ...] | ExpectTable = ()


class ServiceTable(Table):
    command: tuple[str, ...] | None = None
    http: CheckUrlTable | None = None


class CheckTable(Table):
    """One check; exactly one of process, service and endpoint."""

    name: str
    process: ProcessTable | None = None
    service: ServiceTable | None = None
    endpoint: str | None = None
    observers: int = 0
    interval: str | None = None
    timeout: str | None = None
    rise: int = CHECK_RISE
    fall: int = CHECK_FALL


class OnTable(Table):
    """What starts a job; exactly one of tcp, http, file, event and queue."""

    tcp: str | None = None
    http: CheckUrlTable | None = None
    file: str | None = None
    event: str | None = None
    queue: str | None = None
    becomes: str | None = None
    interval: str | None = None
    timeout: str | None = None
    rise: int | None = None
    fall: int | None = None
