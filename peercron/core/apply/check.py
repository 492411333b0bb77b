"""Checks: what those of a stored job must obey, told as `definition.flaw` tells it."""

from __future__ import annotations

import re

from peercron.core.check import (
    TRIGGER_CHECK,
    Check,
    CommandProbe,
    EndpointProbe,
    FileProbe,
    Probe,
    ProcessProbe,
    UrlProbe,
)
from peercron.core.limits import (
    ARGUMENT_BYTES_MAX,
    CHECK_INTERVAL_MS_MAX,
    CHECK_INTERVAL_MS_MIN,
    CHECK_STREAK_MAX,
    CHECKS_PER_JOB_MAX,
    MEMBERS_MAX,
    NAME_LENGTH_MAX,
    URL_LENGTH_MAX,
)
from peercron.core.occasion import ProbeTrigger

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
PORT_MAX = 65_535


def flaw_of_checks(checks: tuple[Check, ...]) -> str:
    """What is wrong with the checks of a job, in one sentence that begins with the key; empty: nothing."""
    if len(checks) > CHECKS_PER_JOB_MAX:
        return f"checks: {len(checks)} of them, at most {CHECKS_PER_JOB_MAX} are kept"
    if len({check.name for check in checks}) < len(checks):
        return "checks: one name is there twice"
    found = ((place, _flaw(check)) for place, check in enumerate(checks))
    return next((f"checks[{place}].{wrong}" for place, wrong in found if wrong), "")


def flaw_of_probe(probe: Probe) -> str:
    """What is wrong with a probe, in one sentence that begins with the key; empty: nothing."""
    match probe:
        case ProcessProbe(pid_file, name):
            return _process(pid_file, name)
        case CommandProbe(argv):
            size = sum(len(word.encode()) for word in argv)
            if not argv or not argv[0] or any("\0" in word for word in argv) or size > ARGUMENT_BYTES_MAX:
                return f"service.command: wants a program and its words, no NUL, at most {ARGUMENT_BYTES_MAX} bytes"
        case UrlProbe(url, expect_status):
            return _url(url, expect_status)
        case EndpointProbe(host, port):
            if not 0 < port <= PORT_MAX or not _printable(host, URL_LENGTH_MAX):
                return f"endpoint: wants host:port or :port with a port from 1 to {PORT_MAX}"
        case FileProbe(path):
            if not path.startswith("/") or not _printable(path, URL_LENGTH_MAX):
                return "file: wants an absolute path"
    return ""


def flaw_of_trigger(trigger: ProbeTrigger) -> str:
    """What is wrong with what a trigger probes, in one sentence that begins with the key; empty: nothing."""
    check, probe = trigger.check, trigger.check.probe
    if (
        check.name != TRIGGER_CHECK
        or check.observers
        or check.by_peers
        or isinstance(probe, ProcessProbe | CommandProbe)
    ):
        return "on: wants tcp, http, file, event or queue"
    wrong = _often(check) or flaw_of_probe(probe)
    return f"on.{wrong.replace('service.http', 'http').replace('endpoint', 'tcp')}" if wrong else ""


def _flaw(check: Check) -> str:
    if len(check.name) > NAME_LENGTH_MAX or _NAME.fullmatch(check.name) is None:
        return f"name: wants letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX}"
    if isinstance(check.probe, FileProbe):
        return "process: give one of process, service and endpoint"
    wrong = _often(check)
    if wrong:
        return wrong
    if not 0 <= check.observers <= MEMBERS_MAX:
        return f"observers: wants 0 (a majority) to {MEMBERS_MAX}"
    if check.observers and not check.by_peers:
        return 'observers: has a meaning only with endpoint = ":port", where the other nodes look too'
    return flaw_of_probe(check.probe)


def _often(check: Check) -> str:
    if not CHECK_INTERVAL_MS_MIN <= check.interval_ms <= CHECK_INTERVAL_MS_MAX:
        return f"interval: wants {CHECK_INTERVAL_MS_MIN} to {CHECK_INTERVAL_MS_MAX} ms"
    if not CHECK_INTERVAL_MS_MIN <= check.timeout_ms <= CHECK_INTERVAL_MS_MAX:
        return f"timeout: wants {CHECK_INTERVAL_MS_MIN} to {CHECK_INTERVAL_MS_MAX} ms"
    for key, streak in (("rise", check.rise), ("fall", check.fall)):
        if not 1 <= streak <= CHECK_STREAK_MAX:
            return f"{key}: wants 1 to {CHECK_STREAK_MAX} results in a row"
    return ""


def _process(pid_file: str, name: str) -> str:
    if bool(pid_file) == bool(name):
        return "process: wants pid_file or name, one of them"
    if pid_file and not (pid_file.startswith("/") and _printable(pid_file, URL_LENGTH_MAX)):
        return "process.pid_file: wants an absolute path"
    return "" if _printable(name, NAME_LENGTH_MAX) and "/" not in name else "process.name: wants a name, not a path"


def _url(url: str, expect_status: tuple[int, ...]) -> str:
    if not url.startswith(("http://", "https://")) or not _printable(url, URL_LENGTH_MAX):
        return f"service.http.url: wants http:// or https:// and at most {URL_LENGTH_MAX} printable characters"
    if len(expect_status) > 500 or not all(100 <= status <= 599 for status in expect_status):
        return "service.http.expect: wants statuses from 100 to 599"
    return ""


def _printable(text: str, length_max: int) -> bool:
    return len(text) <= length_max and text.isprintable()
