"""Every error as an RFC 9457 answer: one table of statuses, one function that maps."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
from aiohttp import web

from peercron.errors import Compacted, ConfigError, PeercronError, Problem

log = logging.getLogger(__name__)

#: Error code -> status; what is not here is the server's fault.
STATUS = {
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "snapshot_damaged": HTTPStatus.UNPROCESSABLE_ENTITY,
    "snapshot_too_new": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "not_ready": HTTPStatus.CONFLICT,
    "removed": HTTPStatus.CONFLICT,
    "stale_token": HTTPStatus.CONFLICT,
    "stale_plan": HTTPStatus.CONFLICT,
    "limit": HTTPStatus.CONFLICT,
    "locked": HTTPStatus.CONFLICT,
    "deadlock": HTTPStatus.CONFLICT,
    "unsupported": HTTPStatus.CONFLICT,
    "stale_session": HTTPStatus.SERVICE_UNAVAILABLE,
    "no_leader": HTTPStatus.SERVICE_UNAVAILABLE,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
    "unknown_outcome": HTTPStatus.GATEWAY_TIMEOUT,
    "compacted": HTTPStatus.GONE,
}
#: Refusals after which the same request may succeed: nothing happened, and it was not the request's fault.
RETRYABLE = frozenset({"no_leader", "busy", "stale_session", "locked"})
RETRY_AFTER_S = "1"
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class BadRequest(PeercronError):
    """The request cannot be understood. `path` names the part: "query.limit", "header.If-Match", "body"."""

    def __init__(self, path: str, message: str, *, code: str = "bad_request", status: int = 400) -> None:
        self.code = code
        self.status = status
        self.problems = (Problem(path, message),)
        super().__init__(f"{path}: {message}")


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """No error leaves as anything but problem+json; a crashed handler costs its caller an answer, never the loop."""
    try:
        return await handler(request)
    except PeercronError as error:
        return of_error(error, request)
    except web.HTTPException as error:
        return _of_http(error, request)
    except web.RequestPayloadError as error:
        told = str(error).replace("\n", "").replace("400, message:  ", "")
        return of_error(BadRequest("body", f"cannot be read: {told}"), request)
    except ConnectionError:  # the client went away: nobody reads an answer
        raise
    except Exception:
        log.exception("handler crashed: %s %s", request.method, request.path)
        return render(request, 500, "internal", "a defect of peercron; the log of this node has the details")


def of_error(error: PeercronError, request: web.Request) -> web.Response:
    """The answer to an error that was raised on purpose."""
    code = error.code
    status = int(getattr(error, "status", 0) or STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR))
    if code == "conflict" and {"If-Match", "If-None-Match"} & request.headers.keys():
        status = HTTPStatus.PRECONDITION_FAILED
    found = getattr(error, "problems", ()) if isinstance(error, BadRequest | ConfigError) else ()
    more = {"index": error.index} if isinstance(error, Compacted) else {}
    return render(request, status, code, error.message, problems=found, more=more)


def _of_http(error: web.HTTPException, request: web.Request) -> web.Response:
    code = _CODES.get(error.status, "http")
    answer = render(request, error.status, code, _of_route(error, request) or error.text or error.reason)
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def _of_route(error: web.HTTPException, request: web.Request) -> str:
    """What is wrong with the way, "" where it is something else."""
    path = f"{request.path:.200}"
    nameless = any(part[:1] in ("", ":") for part in request.path.split("/")[1:]) and request.path != "/"
    hint = ": a name in it is empty" if nameless else ""
    match error:
        case web.HTTPMethodNotAllowed():
            return f"{path} takes {error.headers.get('Allow', 'nothing')}, not {request.method}{hint}"
        case web.HTTPNotFound():
            return f"there is nothing at {path}{hint or '; /openapi.json lists what there is'}"
        case _:
            return ""


def render(
    request: web.Request,
    status: int,
    code: str,
    detail: str,
    *,
    problems: Iterable[Problem] = (),
    more: Mapping[str, Any] = MappingProxyType({}),
) -> web.Response:
    """A problem+json answer; `code` is what programs compare, `detail` what people read, `more` what only it has."""
    body = {
        "type": f"urn:peercron:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.path,
        "code": code,
        "retryable": code in RETRYABLE,
        "errors": [{"path": problem.path, "message": problem.message} for problem in problems],
        **more,
    }
    headers = {"Retry-After": RETRY_AFTER_S} if code in RETRYABLE else {}
    headers |= {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/problem+json", headers=headers
    )
