"""Refusals: problem+json, and which of them each kind of route can answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from peercron.http.asking import Route
from peercron.http.openapi.operation import Operation, content_of
from peercron.http.openapi.shape import Count, Shape
from peercron.http.problems import STATUS

#: Codes beside those of STATUS, by status; `http` is what the HTTP server itself refuses.
_MORE: Final[dict[int, tuple[str, ...]]] = {
    400: ("bad_request", "http"),
    401: ("stale_token",),
    405: ("method_not_allowed",),
    408: ("bad_request",),
    412: ("conflict",),
    415: ("media_type",),
    421: ("misdirected",),
    500: ("internal", "error"),
}
_ALWAYS: Final = frozenset({400, 421, 500})
_WRITES: Final = frozenset({403, 409, 413, 422, 429, 503, 504})


def codes_of(status: int) -> list[str]:
    """What `code` can be at this status."""
    return [*(code for code, its in STATUS.items() if its == status), *_MORE.get(status, ())]


STATUSES: Final = sorted({*map(int, STATUS.values()), *_MORE})
_CODES: Final = sorted({code for status in STATUSES for code in codes_of(status)})


class ProblemItem(Shape):
    """One thing that is wrong with a request.

    path: where it stands: query.limit, header.If-Match, body, or the path of a field of the body
    message: what would be right
    """

    path: str
    message: str


class Problem(Shape):
    """An error (RFC 9457).

    title: the phrase of the status
    detail: for people
    instance: the path of the request
    code: for programs
    retryable: the same request may succeed later: nothing happened, and it was not the request's fault
    errors: what is wrong with the request, each for itself
    index: with code compacted: where the cluster stood, to list everything and go on from there
    """

    type: Annotated[str, Meta(pattern="^urn:peercron:problem:")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: str
    code: Annotated[str, Meta(extra_json_schema={"enum": _CODES})]
    retryable: bool
    errors: list[ProblemItem]
    index: Count | UnsetType = UNSET


def refusals_of(route: Route, operation: Operation) -> list[int]:
    """The statuses of what can go wrong."""
    found = set(_ALWAYS)
    if route.method != "GET":
        found |= _WRITES
    elif "consistency" in route.parameters:
        found.add(HTTPStatus.SERVICE_UNAVAILABLE)
    if "{" in route.path:
        found.add(HTTPStatus.NOT_FOUND)
    if operation.body is not None and "application/json" in content_of(operation.body).shapes:
        found.add(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if "{namespace}" in route.path:
        found.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    if route.scope is not None:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if operation.of_run is not None:
        found.add(HTTPStatus.UNAUTHORIZED)
    if "If-Match" in operation.headers:
        found.add(HTTPStatus.PRECONDITION_FAILED)
    return sorted((found | operation.refuses) - operation.spares)


def response_of(status: int) -> dict[str, Any]:
    """A refusal as a component of the document."""
    codes = ", ".join(codes_of(status))
    return {"description": f"{HTTPStatus(status).phrase}: {codes}"}
