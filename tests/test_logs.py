"""One line an event, in two forms."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from peercron import logs
from peercron.clock import ManualClock
from peercron.settings import load


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, level, handlers = logging.getLogger(), logging.getLogger().level, logging.getLogger().handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    for name in ("aiohttp.server", "aiohttp.access", "asyncio"):
        logging.getLogger(name).filters.clear()


def configured(**flags: str) -> tuple[io.StringIO, ManualClock]:
    stream, clock = io.StringIO(), ManualClock()
    settings = load({"peers": "127.0.0.1:1", "self": "127.0.0.1:1", "name": "n1"} | flags, {})
    logs.configure(settings, stream, clock)
    return stream, clock


def test_text_has_the_event_and_its_fields() -> None:
    stream, _ = configured()
    logging.getLogger("x").info("leader_changed", extra={"leader": "n2", "why": "a b", "none": ""})
    expected = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info    n1 leader_changed leader=n2 why="a b" none=""\n'
    assert re.fullmatch(expected, stream.getvalue())


def test_json_is_an_object_a_line() -> None:
    stream, _ = configured(log_format="json")
    logging.getLogger("x").warning("cut", extra={"bytes": 3, "path": io})
    line = json.loads(stream.getvalue())
    assert line["time"].endswith("Z")
    assert (line["level"], line["node"], line["event"], line["bytes"]) == ("warning", "n1", "cut", 3)


def test_an_exception_keeps_its_traceback() -> None:
    for form in ("json", "text"):
        stream, _ = configured(log_format=form)
        try:
            raise ZeroDivisionError("why")
        except ZeroDivisionError:
            logging.getLogger("x").exception("crashed")
        assert "ZeroDivisionError: why" in stream.getvalue()
        assert "Traceback" in stream.getvalue()


def test_nobody_forges_a_line() -> None:
    stream, _ = configured()
    logging.getLogger("x").info("said\n2026 error forged", extra={"by": "a\nb"})
    assert stream.getvalue().count("\n") == 1


def test_the_level_is_kept() -> None:
    stream, _ = configured(log_level="warning")
    logging.getLogger("x").info("quiet")
    assert stream.getvalue() == ""


def test_what_strangers_cause_is_said_once_in_a_while() -> None:
    stream, clock = configured()
    for _ in range(100):
        logging.getLogger("aiohttp.server").error("Error handling request from %s", "1.2.3.4")
    assert stream.getvalue().count("Error handling") == 1
    clock.advance(logs.SELDOM_S)
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "1.2.3.4")
    assert stream.getvalue().count("Error handling") == 2
