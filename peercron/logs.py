"""logs: one line an event on stderr, as text for people or as JSON for collectors.

A message is a short name (`leader_changed`), what belongs to it are fields (`extra={"leader": "n2"}`):

    2026-11-23T12:00:00.123Z info    n1 leader_changed leader=n2 term=7
    {"time":"2026-11-23T12:00:00.123Z","level":"info","node":"n1","event":"leader_changed","leader":"n2","term":7}
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from peercron.clock import Clock, SystemClock
from peercron.settings import Settings
from peercron.times import format_instant

#: What strangers can make libraries say again and again is said once in this time.
SELDOM_S = 60.0
SELDOM_KEPT = 256
_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _Lines(logging.Formatter):
    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def fields(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        """What the line says, in order."""
        created_ms = int(record.created * 1_000)
        # Always with milliseconds, so that lines sort as text.
        yield "time", format_instant(created_ms) if created_ms % 1_000 else format_instant(created_ms)[:-1] + ".000Z"
        yield "level", record.levelname.lower()
        yield "node", self._node
        yield "event", record.getMessage()
        yield from ((key, value) for key, value in record.__dict__.items() if key not in _OF_EVERY_RECORD)
        if record.exc_info and record.exc_info[0] is not None:
            yield "exception", self.formatException(record.exc_info)


class JsonLines(_Lines):
    """An object a line; what JSON cannot say is said as text."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(dict(self.fields(record)), default=str, separators=(",", ":"), ensure_ascii=False)


class TextLines(_Lines):
    """Time, level, node, event, then key=value; an exception follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(self.fields(record))
        time, level, node, event = (fields.pop(key) for key in ("time", "level", "node", "event"))
        exception = fields.pop("exception", "")
        rest = "".join(f" {key}={_text(value)}" for key, value in fields.items())
        # One event, one line: a line break from outside cannot forge another.
        line = f"{time} {level:<7} {node} {event}{rest}".replace("\n", "\\n").replace("\r", "\\r")
        return f"{line}\n{exception}" if exception else line


def _text(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n') else text


class Seldom(logging.Filter):
    """Lets one line of a kind through in SELDOM_S seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._said_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key, now_s = (record.name, str(record.msg)), self._clock.monotonic()
        if now_s - self._said_s.get(key, now_s - SELDOM_S) < SELDOM_S:
            return False
        if len(self._said_s) >= SELDOM_KEPT:
            self._said_s.clear()
        self._said_s[key] = now_s
        return True


def configure(settings: Settings, stream: TextIO | None = None, clock: Clock | None = None) -> None:
    """Send all logs of this process to `stream` (default: stderr) in the form that the settings ask for."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(settings.name) if settings.log_format == "json" else TextLines(settings.name))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    seldom = Seldom(clock or SystemClock())
    for name in ("aiohttp.server", "aiohttp.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.filters = [seldom]
