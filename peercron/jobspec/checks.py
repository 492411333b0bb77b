"""Health checks from their tables, and back."""

from __future__ import annotations

from typing import Any, Final

from peercron.address import join_address, split_address
from peercron.core import limits
from peercron.core.check import (
    CHECK_FALL,
    CHECK_INTERVAL_MS,
    CHECK_RISE,
    CHECK_TIMEOUT_MS,
    Check,
    CommandProbe,
    EndpointProbe,
    FileProbe,
    Probe,
    ProcessProbe,
    UrlProbe,
)
from peercron.jobspec.shapes import CheckTable, ProcessTable, ServiceTable
from peercron.jobspec.tasks import statuses_of
from peercron.jobspec.wrong import Wrong, duration_ms
from peercron.times import format_duration

#: Stands in where a probe is wrong, so that the rest can be judged.
_SOME: Final = ProcessProbe(name="x")


def read_checks(tables: tuple[CheckTable, ...], wrong: Wrong) -> tuple[Check, ...]:
    return tuple([_check(table, f"checks[{place}]", wrong) for place, table in enumerate(tables)])


def render_check(check: Check) -> dict[str, Any]:
    """The table that `read_checks` made this of: only what differs from the defaults."""
    table = {"name": check.name} | _rendered(check.probe)
    for key, value_ms, usual_ms in (
        ("interval", check.interval_ms, CHECK_INTERVAL_MS),
        ("timeout", check.timeout_ms, CHECK_TIMEOUT_MS),
    ):
        if value_ms != usual_ms:
            table[key] = format_duration(value_ms)
    for key, value, usual in (
        ("rise", check.rise, CHECK_RISE),
        ("fall", check.fall, CHECK_FALL),
        ("observers", check.observers, 0),
    ):
        if value != usual:
            table[key] = value
    return table


def often_of(key: str, text: str | None, usual_ms: int, wrong: Wrong) -> int:
    """An interval or a time-out of a probe, in ms."""
    low, high = limits.CHECK_INTERVAL_MS_MIN, limits.CHECK_INTERVAL_MS_MAX
    return usual_ms if text is None else duration_ms(key, text, wrong, min_ms=low, max_ms=high)


def split_endpoint(text: str, key: str, wrong: Wrong) -> tuple[str, int]:
    """Host and port; where it is wrong, some that are right."""
    try:
        return split_address(text)
    except ValueError as error:
        wrong(key, str(error))
        return "wrong", 1


def _check(table: CheckTable, path: str, wrong: Wrong) -> Check:
    return Check(
        table.name,
        _probe(table, path, wrong),
        interval_ms=often_of(f"{path}.interval", table.interval, CHECK_INTERVAL_MS, wrong),
        timeout_ms=often_of(f"{path}.timeout", table.timeout, CHECK_TIMEOUT_MS, wrong),
        rise=table.rise,
        fall=table.fall,
        observers=table.observers,
    )


def _probe(table: CheckTable, path: str, wrong: Wrong) -> Probe:
    given = [key for key in ("process", "service", "endpoint") if getattr(table, key) is not None]
    if len(given) != 1:
        found = f"not {' and '.join(given)}" if given else "none is there"
        wrong(f"{path}.{given[1] if given else 'process'}", f"give one of process, service and endpoint; {found}")
        return _SOME
    if table.process is not None:
        return _process(table.process, f"{path}.process", wrong)
    if table.service is not None:
        return _service(table.service, f"{path}.service", wrong)
    return _endpoint(table.endpoint or "", f"{path}.endpoint", wrong)


def _process(table: ProcessTable, path: str, wrong: Wrong) -> Probe:
    if bool(table.pid_file) == bool(table.name):
        wrong(path, 'give one of pid_file = "/run/x.pid" and name = "x"')
        return _SOME
    return ProcessProbe(table.pid_file or "", table.name or "")


def _service(table: ServiceTable, path: str, wrong: Wrong) -> Probe:
    if (table.command is None) == (table.http is None):
        wrong(path, 'give one of command = ["pg_isready"] and http = {url = …}')
        return _SOME
    if table.http is not None:
        return UrlProbe(table.http.url, statuses_of(table.http.expect, wrong, f"{path}.http.expect"))
    return CommandProbe(table.command or ())


def _endpoint(text: str, path: str, wrong: Wrong) -> Probe:
    try:
        host, port = split_address(f"node{text}" if text.startswith(":") else text)
    except ValueError as error:
        wrong(path, f"must be host:port, or :port on the node itself ({error})")
        return _SOME
    return EndpointProbe("" if text.startswith(":") else host, port)


def _rendered(probe: Probe) -> dict[str, Any]:
    match probe:
        case ProcessProbe(pid_file, name):
            return {"process": {"pid_file": pid_file} if pid_file else {"name": name}}
        case CommandProbe(argv):
            return {"service": {"command": list(argv)}}
        case UrlProbe(url, expect_status):
            expect = {"expect": list(expect_status)} if expect_status else {}
            return {"service": {"http": {"url": url} | expect}}
        case EndpointProbe(host, port):
            return {"endpoint": join_address(host, port)}
        case FileProbe():
            raise AssertionError("no check looks for a file")
