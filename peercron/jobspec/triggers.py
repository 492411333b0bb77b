"""When a job runs, from its table, and back: a time, or something that happens."""

from __future__ import annotations

from typing import Any, Final

from peercron.address import join_address
from peercron.core.check import (
    CHECK_FALL,
    CHECK_INTERVAL_MS,
    CHECK_RISE,
    CHECK_TIMEOUT_MS,
    TRIGGER_CHECK,
    Check,
    EndpointProbe,
    FileProbe,
    Probe,
    UrlProbe,
)
from peercron.core.job import EnvEntry, ManualTrigger, Trigger
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.jobspec.checks import often_of, split_endpoint
from peercron.jobspec.shapes import OnTable
from peercron.jobspec.tables import JobTable
from peercron.jobspec.tasks import reference_of, statuses_of
from peercron.jobspec.wrong import Wrong
from peercron.times import format_duration

#: The keys of which a job has at most one.
TRIGGER_KEYS: Final = ("schedule", "every", "at", "when", "webhook", "on")
#: A file is looked for so often; what is there is there, so that one look is enough.
FILE_INTERVAL_MS: Final = 1_000
_OCCASIONS: Final = ("tcp", "http", "file", "event", "queue")
_FILE_EVENTS: Final = {"appears": True, "disappears": False}
_TURNS: Final = {"good": True, "bad": False}


def read_occasion(table: JobTable, wrong: Wrong) -> Trigger:
    """The trigger of a job that waits for something to happen; manual where there is none."""
    if table.webhook_secret is not None and not table.webhook:
        wrong("webhook_secret", "has a meaning only with webhook = true")
    if table.when is not None:
        return ConditionTrigger(table.when)
    if table.webhook:
        return HookTrigger(_secret(table, wrong))
    return _on(table.on, table.namespace, wrong) if table.on is not None else ManualTrigger()


def _secret(table: JobTable, wrong: Wrong) -> EnvEntry | None:
    if table.webhook_secret is None:
        return None
    found = reference_of("webhook_secret", table.webhook_secret, wrong)
    return EnvEntry("webhook_secret", *found) if found is not None else None


def _on(table: OnTable, namespace: str, wrong: Wrong) -> Trigger:
    given = [key for key in _OCCASIONS if getattr(table, key) is not None]
    if "file" in given and "event" in given:
        given.remove("event")  # what happens to the file
    if len(given) != 1:
        found = f"not {' and '.join(given)}" if given else "none is there"
        wrong("on", f"give one of {', '.join(_OCCASIONS)}; {found}")
        return ManualTrigger()
    if given[0] in ("event", "queue"):
        return _named(table, given[0], namespace, wrong)
    for key in ("becomes",) if given[0] == "file" else ():
        if getattr(table, key) is not None:
            wrong(f"on.{key}", 'has a meaning only with tcp and http; a file has event = "appears" or "disappears"')
    return ProbeTrigger(_probed(table, given[0], wrong), _wanted(table, given[0], wrong))


def _named(table: OnTable, key: str, namespace: str, wrong: Wrong) -> Trigger:
    for other in ("becomes", "interval", "timeout", "rise", "fall"):
        if getattr(table, other) is not None:
            wrong(f"on.{other}", "has a meaning only with tcp, http and file")
    before, slash, name = str(getattr(table, key)).partition("/")
    place = (before, name) if slash else (namespace, before)
    return EventTrigger(*place) if key == "event" else QueueTrigger(*place)


def _wanted(table: OnTable, key: str, wrong: Wrong) -> bool:
    words, given = (_FILE_EVENTS, table.event or "appears") if key == "file" else (_TURNS, table.becomes or "bad")
    if given not in words:
        wrong("on.event" if key == "file" else "on.becomes", f"{given!r}: must be {' or '.join(words)}")
    return words.get(given, True)


def _probed(table: OnTable, key: str, wrong: Wrong) -> Check:
    interval_ms = FILE_INTERVAL_MS if key == "file" else CHECK_INTERVAL_MS
    rise, fall = (1, 1) if key == "file" else (CHECK_RISE, CHECK_FALL)
    return Check(
        TRIGGER_CHECK,
        _probe(table, key, wrong),
        interval_ms=often_of("on.interval", table.interval, interval_ms, wrong),
        timeout_ms=often_of("on.timeout", table.timeout, CHECK_TIMEOUT_MS, wrong),
        rise=rise if table.rise is None else table.rise,
        fall=fall if table.fall is None else table.fall,
    )


def _probe(table: OnTable, key: str, wrong: Wrong) -> Probe:
    if key == "file":
        return FileProbe(table.file or "")
    if table.http is not None:
        return UrlProbe(table.http.url, statuses_of(table.http.expect, wrong, "on.http.expect"))
    host, port = split_endpoint(table.tcp or "", "on.tcp", wrong)
    return EndpointProbe(host, port)


def render_occasion(trigger: Trigger) -> dict[str, Any]:
    """The keys that `read_occasion` made this of."""
    match trigger:
        case ConditionTrigger(condition):
            return {"when": condition}
        case HookTrigger(secret):
            reference = {"webhook_secret": {str(secret.source): secret.value}} if secret is not None else {}
            return {"webhook": True} | reference
        case EventTrigger(namespace, name):
            return {"on": {"event": f"{namespace}/{name}"}}
        case QueueTrigger(namespace, name):
            return {"on": {"queue": f"{namespace}/{name}"}}
        case ProbeTrigger(check, well):
            return {"on": _rendered(check, well)}
        case _:
            return {}


def _rendered(check: Check, well: bool) -> dict[str, Any]:
    probe, usual_ms, usual = check.probe, CHECK_INTERVAL_MS, (CHECK_RISE, CHECK_FALL)
    table: dict[str, Any] = {}
    if isinstance(probe, FileProbe):
        table["file"], usual_ms, usual = probe.path, FILE_INTERVAL_MS, (1, 1)
        table |= {} if well else {"event": "disappears"}
    elif isinstance(probe, UrlProbe):
        expect = {"expect": list(probe.expect_status)} if probe.expect_status else {}
        table["http"] = {"url": probe.url} | expect
    elif isinstance(probe, EndpointProbe):
        table["tcp"] = join_address(probe.host, probe.port)
    if not isinstance(probe, FileProbe) and well:
        table["becomes"] = "good"
    if check.interval_ms != usual_ms:
        table["interval"] = format_duration(check.interval_ms)
    if check.timeout_ms != CHECK_TIMEOUT_MS:
        table["timeout"] = format_duration(check.timeout_ms)
    streaks = {
        key: n for key, n, normal in (("rise", check.rise, usual[0]), ("fall", check.fall, usual[1])) if n != normal
    }
    return table | streaks
