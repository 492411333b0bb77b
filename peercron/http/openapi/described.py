"""Described: what is said of all routes, by noun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from peercron.http.openapi import (
    catalogs,
    clients,
    cluster,
    dashboard,
    documents,
    events,
    health,
    jobs,
    locks,
    members,
    occasions,
    overview,
    queues,
    runs,
    state,
    tokens,
)
from peercron.http.openapi.operation import Operation

_NOUNS: Final[Mapping[str, ModuleType]] = {
    "jobs": jobs,
    "runs": runs,
    "health": health,
    "documents": documents,
    "occasions": occasions,
    "catalogs": catalogs,
    "locks": locks,
    "queues": queues,
    "state": state,
    "clients": clients,
    "members": members,
    "cluster": cluster,
    "overview": overview,
    "events": events,
    "tokens": tokens,
    "dashboard": dashboard,
}
#: Method and path of a route -> what is to be said of it.
OPERATIONS: Final[Mapping[str, Operation]] = {
    key: operation for noun in _NOUNS.values() for key, operation in noun.OPERATIONS.items()
}
#: The same -> its noun; and what each noun is.
TAG_OF: Final = {key: name for name, noun in _NOUNS.items() for key in noun.OPERATIONS}
TAGS: Final = {name: noun.__doc__ or "" for name, noun in _NOUNS.items()}
#: Shape -> what is to be added to its schema, where its type does not say all.
REFINED: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {**jobs.REFINED, **queues.REFINED}
