"""What is too large never enters the log: it is refused at the door, whoever brings it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from peercron.core.limits import ITEM_BYTES_MAX, VALUE_BYTES_MAX
from tests.http.conftest import Site

LONG = "x" * 1_000
VALUE, ITEM, PARAMS = "x" * VALUE_BYTES_MAX, "x" * ITEM_BYTES_MAX, {"p": "x" * 20_000}

CASES: list[tuple[str, str, Any, int, str]] = [
    ("PUT", "/v1/state/default/k", b"x" * (VALUE_BYTES_MAX + 1), 413, "value"),
    ("POST", "/v1/state/default/k:cas", {"if_revision": 0, "value": VALUE}, 413, "value"),
    ("PUT", f"/v1/state/default/{LONG}", b"v", 422, "key"),
    ("PUT", f"/v1/state/{LONG}/k", b"v", 422, "namespace"),
    ("POST", f"/v1/state/default/{LONG}:incr", {}, 422, "key"),
    ("POST", "/v1/queues/default/q/items", {"payload": ITEM}, 413, "payload"),
    (
        "POST",
        "/v1/queues/default/q/items",
        {"payload_base64": base64.b64encode(ITEM.encode() + b"x").decode()},
        413,
        "payload",
    ),
    ("POST", "/v1/queues/default/q/items", {"payload": 1, "key": LONG}, 422, "key"),
    ("POST", "/v1/queues/default/q/items", {"payload": 1, "group": LONG}, 422, "group"),
    ("POST", f"/v1/queues/default/{LONG}/items", {"payload": 1}, 422, "name"),
    ("POST", f"/v1/locks/default/{LONG}:acquire", {"owner": "a"}, 422, "name"),
    ("POST", "/v1/locks/default/l:acquire", {"owner": LONG}, 422, "owner"),
    ("POST", "/v1/locks/default/l:acquire", {"owner": "a", "request": LONG}, 422, "request"),
    ("POST", "/v1/clients", {"label": LONG}, 422, "label"),
    ("POST", "/v1/events/e", {"params": PARAMS}, 422, "params"),
    ("POST", "/v1/jobs/hello:run", {"params": PARAMS}, 422, "params"),
    ("PUT", "/v1/calendars/holidays", {"days": [LONG] * 100}, 422, "rules"),
    ("POST", "/v1/members", {"address": LONG}, 422, "address"),
    ("POST", "/v1/jobs", {"name": "big", "every": "1s", "shell": "x" * 100_000}, 422, "shell"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "field"), CASES)
async def test_it_is_refused_before_it_is_proposed(
    site: Site, method: str, path: str, body: Any, status: int, field: str
) -> None:
    await site.put_job("hello")
    index = site.node.state.index
    answer = await site.ask(method, path, body)
    assert (answer.status, answer.json["code"]) == (status, "too_large" if status == 413 else "invalid"), answer.text
    assert field in answer.text
    assert site.node.state.index == index, "it was in the log"


async def test_what_is_just_small_enough_is_taken(site: Site) -> None:
    assert (await site.ask("PUT", "/v1/state/default/k", b"x" * VALUE_BYTES_MAX)).status == 200
    assert (await site.ask("POST", "/v1/queues/default/q/items", {"payload": ITEM[2:]})).status == 201


async def test_of_the_reason_of_a_nack_the_log_gets_what_is_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.ask("POST", "/v1/queues/default/q/items", {"payload": 1})
    token = (await site.ask("POST", "/v1/queues/default/q:receive", {})).json["token"]
    heard: list[Any] = []
    propose = site.node.propose

    def listen(command: Any, *more: Any) -> Any:
        heard.append(command)
        return propose(command, *more)

    monkeypatch.setattr(site.node, "propose", listen)
    await site.ask("POST", "/v1/queues/default/q:nack", {"token": token, "reason": LONG})
    assert [len(command.reason) for command in heard] == [512]
