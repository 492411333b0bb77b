"""Trace: one seed's history in lines that people read: what befell whom, what nodes logged, what they said."""

from __future__ import annotations

import logging
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peercron.wire.plain import unpack
from tests.sim.whole.loop import ProcessLoop

_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: Fields that all messages have, and those that are said otherwise.
_USUAL = frozenset({"type", "_t", "_w"})


class Trace:
    """Collects lines; give `tell` to a cluster.

    Args:
        messages: also what nodes say to each other.
    """

    def __init__(self, *, messages: bool = True) -> None:
        self.lines: list[str] = []
        self._messages = messages
        self._now_s = 0.0

    def tell(self, at_s: float, what: str, details: tuple[object, ...]) -> None:
        self._now_s = at_s
        if what != "send":
            self._line(f"{what} {' '.join(map(str, details))}")
        elif self._messages:
            a, b, raw = details
            self._line(f"  {str(a).partition(':')[0]} -> {str(b).partition(':')[0]} {said(unpack(raw))}")  # type: ignore[arg-type]

    def _line(self, text: str) -> None:
        self.lines.append(f"{self._now_s:10.4f}  {text}")

    @contextmanager
    def logs(self) -> Iterator[None]:
        """Take the nodes' logs, too."""
        trace, logger = self, logging.getLogger("peercron")

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                trace.log(record)

        handler, level, propagate = Handler(), logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    def log(self, record: logging.LogRecord) -> None:
        loop = events._get_running_loop()
        name = "?"
        if isinstance(loop, ProcessLoop):
            name, self._now_s = loop.host, max(self._now_s, loop.now_s)
        fields = {key: value for key, value in record.__dict__.items() if key not in _OF_EVERY_RECORD}
        self._line(f"{name} {record.levelname.lower()} {record.getMessage()} {_fields(fields)}")
        if record.exc_info and record.exc_info[1] is not None:
            self._line(f"{name} {record.exc_info[1]!r}")


@contextmanager
def silence() -> Iterator[None]:
    """What nodes log is lost: where nobody reads it, it only costs time."""
    logger = logging.getLogger("peercron")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def said(message: dict[str, Any]) -> str:
    """A message on one line.

    >>> said({"type": "prevote_ok", "round": 3, "_t": 7, "_w": 0})
    'prevote_ok t7 round=3'
    """
    rest = {key: value for key, value in message.items() if key not in _USUAL}
    if message["type"] == "append_entries":
        rest["entries"] = [(index, term) for _, index, term in message["entries"]]
        rest.pop("term")
    return f"{message['type']} t{message.get('_t')} {_fields(rest)}".rstrip()


def _fields(fields: dict[str, Any]) -> str:
    return " ".join(f"{key}={_short(value)}" for key, value in fields.items())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "..."
