"""jobfile: jobs.toml as text, read into plain values and written from them; jobspec knows what the keys mean."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

from peercron.errors import ConfigError, Problem

#: Far above any honest file; a wrong path must not fill the memory.
FILE_BYTES_MAX = 64 * 1024 * 1024
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def read_jobs_file(path: str) -> dict[str, Any]:
    """The content of a TOML or JSON file ("-": standard input) as plain values; ConfigError names line and column."""
    where = "standard input" if path == "-" else path
    try:
        text = (sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if path == "-" else _bytes(Path(path))).decode()
        if len(text) > FILE_BYTES_MAX:
            raise ConfigError([Problem(where, f"is longer than {FILE_BYTES_MAX} bytes")])
        return parse_jobs(text)
    except OSError as error:
        raise ConfigError([Problem(where, f"cannot be read: {error.strerror}")]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([Problem(where, f"is not valid: {error}")]) from None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX + 1)


def parse_jobs(text: str) -> dict[str, Any]:
    """Plain values of TOML, or of JSON where the text begins with a brace; ValueError says where it is broken."""
    if text.lstrip().startswith("{"):
        document = json.loads(text)
        return document if isinstance(document, dict) else {}
    import tomllib

    return {key: _plain(value) for key, value in tomllib.loads(text).items()}


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case date() | time():  # datetime is a date
            return value.isoformat()
        case _:
            return value


def to_toml(document: Mapping[str, Any]) -> str:
    """TOML of a jobs document: its plain keys first, then one [[jobs]] each; tables inside a job are written inline.

    >>> print(to_toml({"version": 1, "jobs": [{"name": "a", "http": {"url": "http://x/"}}]}))
    version = 1
    <BLANKLINE>
    [[jobs]]
    name = "a"
    http = {url = "http://x/"}
    <BLANKLINE>
    """
    lines = [f"{_key(key)} = {_value(value)}" for key, value in document.items() if key != "jobs"]
    for job in document.get("jobs", ()):
        lines += ["", "[[jobs]]", *(f"{_key(key)} = {_value(value)}" for key, value in job.items())]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case Mapping():
            return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_value(each) for each in value) + "]"
        case _:
            return str(value)


def _string(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _unicode(c)) for c in text) + '"'


def _unicode(character: str) -> str:
    return f"\\U{ord(character):08x}"
