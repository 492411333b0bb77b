"""http_call: one HTTP request as a task: what is sent, how far redirects are followed, what is kept of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from multidict import CIMultiDict
from yarl import URL

from peercron.core.job import HttpTask
from peercron.execution.limits import HTTP_BODY_BYTES_MAX, HTTP_CONNECT_S_MAX, HTTP_REDIRECTS_MAX
from peercron.execution.output import text_tail

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Never sent to another host than the one that the job names.
_PRIVATE = ("Authorization", "Cookie", "Proxy-Authorization", "Peercron-Token")


class Answer(NamedTuple):
    """What came back."""

    status: int
    phrase: str
    tail: str
    expected: bool


def run_headers(env: Mapping[str, str]) -> dict[str, str]:
    """The PEERCRON_* variables as headers.

    >>> run_headers({"PEERCRON_RUN_ID": "a/1", "TRACEPARENT": "00-ab-cd-01", "HOME": "/"})
    {'Peercron-Run-Id': 'a/1', 'traceparent': '00-ab-cd-01'}
    """
    return {
        _header(name): value for name, value in env.items() if name.startswith("PEERCRON_") or name == "TRACEPARENT"
    }


def _header(variable: str) -> str:
    if variable.endswith("TRACEPARENT"):
        return "traceparent"
    return "-".join(word.capitalize() for word in variable.split("_"))


def open_session() -> ClientSession:
    """A session for many calls. Each has a connection of its own: on a reused one aiohttp may send a request twice."""
    return ClientSession(
        connector=TCPConnector(limit=0, force_close=True),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=HTTP_CONNECT_S_MAX),
    )


async def call(session: ClientSession, task: HttpTask, env: Mapping[str, str]) -> Answer:
    """Make the call.

    Raises aiohttp.ClientError, OSError, TimeoutError (no connection) or ValueError (a wrong URL, header or redirect).
    Redirects are followed on http and https, never from https to http, and private headers stay with the first host.
    """
    method, url, body = task.method.upper(), URL(task.url), task.body
    headers = CIMultiDict(task.headers)
    headers.update(run_headers(env))
    for _ in range(HTTP_REDIRECTS_MAX + 1):
        async with session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as response:
            target = None if response.status in task.expect_status else _target(response)
            if target is None:
                return await _answer(response, task.expect_status)
        _check(url, target)
        if target.origin() != url.origin():
            for name in _PRIVATE:
                headers.popall(name, None)
        if response.status == 303 or (response.status in (301, 302) and method == "POST"):
            method, body = "GET" if method != "HEAD" else method, b""
            headers.popall("Content-Type", None)
        url = target
    raise ValueError(f"more than {HTTP_REDIRECTS_MAX} redirects")


def _target(response: ClientResponse) -> URL | None:
    location = response.headers.get("Location") if response.status in _REDIRECTS else None
    return response.url.join(URL(location)) if location else None


def _check(url: URL, target: URL) -> None:
    if target.scheme not in (url.scheme, "https"):
        raise ValueError(f"a redirect from {url.scheme} to {target.scheme or 'nowhere'} is not followed")


async def _answer(response: ClientResponse, expected: tuple[int, ...]) -> Answer:
    kept, read = b"", 0
    async for chunk in response.content.iter_any():
        read += len(chunk)
        kept = (kept + chunk)[-HTTP_BODY_BYTES_MAX:]
        if read >= HTTP_BODY_BYTES_MAX:
            response.close()  # the status was what mattered
            break
    good = response.status in expected if expected else 200 <= response.status < 300
    return Answer(response.status, response.reason or "", text_tail(kept), good)
