"""Words that callers use, as the routes want them: durations, and names within namespaces."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from peercron.times import parse_duration_ms

#: "30s" or "1m30s", a number of seconds, or a timedelta.
Duration = str | float | timedelta
DEFAULT_NAMESPACE = "default"


def seconds(duration: Duration) -> float:
    """Seconds of a duration.

    >>> seconds("1m30s"), seconds(2), seconds(timedelta(milliseconds=5))
    (90.0, 2.0, 0.005)
    """
    if isinstance(duration, str):
        return parse_duration_ms(duration) / 1_000
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def written(duration: Duration) -> str:
    """As the routes read it.

    >>> written(1.5)
    '1500ms'
    """
    return f"{round(seconds(duration) * 1_000)}ms"


def key_path(key: str, deed: str = "") -> str:
    """The route of a key of the shared state, which is in the namespace "default", or written namespace:key.

    >>> key_path("ops:a/b", ":incr")
    '/v1/state/ops/a%2Fb:incr'
    """
    return _path("state", *_parted(key, ":"), deed)


def name_path(kind: str, name: str, deed: str = "") -> str:
    """The route of a lock or a queue, which is in the namespace "default", or written namespace/name.

    >>> name_path("locks", "reports/db", ":acquire"), name_path("queues", "mail", "/items")
    ('/v1/locks/reports/db:acquire', '/v1/queues/default/mail/items')
    """
    return _path(kind, *_parted(name, "/"), deed)


def _parted(name: str, sign: str) -> tuple[str, str]:
    namespace, parted, inner = name.partition(sign)
    return (namespace, inner) if parted else (DEFAULT_NAMESPACE, name)


def _path(kind: str, namespace: str, name: str, deed: str) -> str:
    return f"/v1/{kind}/{quote(namespace, safe='')}/{quote(name, safe='')}{deed}"
