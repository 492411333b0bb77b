"""Operation: what is to be said of a route beside its handler's docstring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

JSON: Final = "application/json"
#: Schemas of what has no shape. Bytes have none at all: an empty one.
TEXT: Final[Mapping[str, Any]] = {"type": "string"}
ANYTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Content:
    """A body or an answer.

    Args:
        of: its shape, or several of which it has one, or a schema; of JSON. None: see `kinds`, or there is none.
        headers: an answer's, beside those of every answer.
        kinds: media type -> shape, or a schema, where there are others.
        says: what it is, where its status does not say it.
        within: shapes of what stands within its text.
        example: one of JSON.
        required: a request is not taken without this body.
    """

    of: Any = None
    headers: tuple[str, ...] = ()
    kinds: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""
    within: tuple[type, ...] = ()
    example: Any = None
    required: bool = True

    @property
    def shapes(self) -> Mapping[str, Any]:
        """By media type."""
        return self.kinds or ({JSON: self.of} if self.of is not None else {})


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and answers.

    Args:
        id: its operationId.
        answers: status -> shape of the JSON, several, or a Content; of what goes well.
        body: shape of the JSON, or a Content; None: it takes none.
        headers: request headers that mean something to it, beside those of every write.
        parameters: of its path and its query, those that mean something else here than elsewhere: their schemas.
        refuses: statuses that it can answer beside those that all of its kind can.
        spares: statuses that all of its kind can answer, and it cannot.
        of_run: the PEERCRON_TOKEN of an attempt does more here (False), or is all that does (True).
    """

    id: str
    answers: Mapping[int, Any]
    body: Any = None
    headers: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refuses: frozenset[int] = frozenset()
    spares: frozenset[int] = frozenset()
    of_run: bool | None = None

    @property
    def contents(self) -> Mapping[int, Content]:
        return {status: content_of(answer) for status, answer in self.answers.items()}


def content_of(told: Any) -> Content:
    """A shape, or several, as what is answered in JSON."""
    return told if isinstance(told, Content) else Content(told)


def optional(shape: Any) -> Content:
    """A body that need not be there."""
    return Content(shape, required=False)
