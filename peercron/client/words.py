"""Words that callers use, as the routes want them: durations, values, and names within namespaces."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from urllib.parse import quote

from peercron.errors import ConfigError, Problem
from peercron.times import DURATION_FORM, parse_duration_ms

#: "30s" or "1m30s", a number of seconds, or a timedelta.
Duration = str | float | timedelta
DEFAULT_NAMESPACE = "default"
#: How deep a value is searched for what JSON does not know.
DEPTH_MAX = 100


def seconds(duration: Duration) -> float:
    """Seconds of a duration.

    >>> seconds("1m30s"), seconds(2), seconds(timedelta(milliseconds=5))
    (90.0, 2.0, 0.005)
    """
    if isinstance(duration, str):
        return parse_duration_ms(duration) / 1_000
    found_s = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not math.isfinite(found_s):
        raise ConfigError([Problem("duration", f"{found_s} is no time that ends: {DURATION_FORM}, or seconds")])
    return found_s


def written(duration: Duration) -> str:
    """As the routes read it.

    >>> written(1.5)
    '1500ms'
    """
    return f"{round(seconds(duration) * 1_000)}ms"


def as_json(value: object, what: str = "") -> bytes:
    """The value as JSON. ConfigError: it has numbers in it that JSON does not know. `what`: how the value is called.

    >>> as_json({"n": 1})
    b'{"n": 1}'
    """
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError as error:
        strange = [
            Problem(where, f"{n} is no number of JSON, which knows neither nan nor inf")
            for where, n in _odd(value, what)
        ]
        raise ConfigError(strange or [Problem(what, f"cannot be JSON: {error}")]) from None


def _odd(value: object, where: str, depth: int = 0) -> Iterator[tuple[str, float]]:
    """Where in a value there are numbers that JSON does not know, and which."""
    parts: Iterable[tuple[str, object]] = ()
    if isinstance(value, float) and not math.isfinite(value):
        yield where, value
    elif isinstance(value, Mapping):
        parts = ((f"{where}.{key}" if where else str(key), each) for key, each in value.items())
    elif isinstance(value, list | tuple):
        parts = ((f"{where}[{n}]", each) for n, each in enumerate(value))
    if depth < DEPTH_MAX:
        for path, each in parts:
            yield from _odd(each, path, depth + 1)


def key_path(key: str, deed: str = "") -> str:
    """The route of a key of the shared state, which is in the namespace "default", or written namespace:key.

    >>> key_path("ops:a/b", ":incr")
    '/v1/state/ops/a%2Fb:incr'
    """
    return _path("state", key_parts(key), deed)


def name_path(kind: str, name: str, deed: str = "") -> str:
    """The route of a lock or a queue, which is in the namespace "default", or written namespace/name.

    >>> name_path("locks", "reports/db", ":acquire"), name_path("queues", "mail", "/items")
    ('/v1/locks/reports/db:acquire', '/v1/queues/default/mail/items')
    """
    return _path(kind, name_parts(kind.removesuffix("s"), name), deed)


def key_parts(key: str) -> tuple[str, str]:
    """Namespace and name of a key. ConfigError: there is none."""
    return _parted("key", key, ":")


def name_parts(what: str, name: str) -> tuple[str, str]:
    """Namespace and name of a lock or a queue (`what`). ConfigError: there is none."""
    namespace, inner = _parted(what, name, "/")
    if "/" in inner:
        form = "NAME, which is in the namespace default, or NAMESPACE/NAME, with one slash"
        raise ConfigError([Problem(what, f"{name!r:.99} is not {form}")])
    return namespace, inner


def path(kind: str, name: str, deed: str = "") -> str:
    """The route of a job, a run, a member, …, with the namespace in its name if it has one.

    >>> path("jobs", "ops/beat", ":run")
    '/v1/jobs/ops%2Fbeat:run'
    """
    if not all(name.split("/")):
        raise _empty(kind.removesuffix("s"), name)
    return f"/v1/{kind}/{quote(name, safe='')}{deed}"


def _parted(what: str, name: str, sign: str) -> tuple[str, str]:
    namespace, parted, inner = name.partition(sign)
    parts = (namespace, inner) if parted else (DEFAULT_NAMESPACE, name)
    if not all(parts):
        raise _empty(what, name)
    return parts


def _path(kind: str, parts: tuple[str, str], deed: str) -> str:
    return f"/v1/{kind}/{'/'.join(quote(part, safe='') for part in parts)}{deed}"


def _empty(what: str, given: str) -> ConfigError:
    of_both = f"{given!r:.99}: neither the name nor its namespace may be empty"
    return ConfigError([Problem(what, of_both if given else "the name must not be empty")])
