"""What clients do with the shared state: registers and counters."""

from __future__ import annotations

from tests.system.asking import Client
from tests.system.caller import Answer

LOG = "register"
REGISTERS, COUNTERS = [f"k{i}" for i in range(5)], [f"n{i}" for i in range(2)]


class Registers:
    """Reads, writes, swaps and deletes on a few keys; every value is written once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        #: Key -> the revision that this client saw last.
        self._revisions: dict[str, int] = {}

    def act(self) -> None:
        client = self._client
        key = client.random.choice(REGISTERS)
        kind = client.random.choices(("get", "put", "cas", "delete"), (45, 20, 27, 8))[0]
        value, expected = client.unique(), self._revisions.get(key, 0)
        path = f"/v1/state/chaos/{key}"
        if kind == "get":
            reply = client.ask("GET", path, understand=seen)
            client.note(LOG, key, kind, None, reply)
            self._revisions[key] = reply.result[1] if reply.result else 0
        elif kind == "put":
            reply = client.ask("PUT", path, value.encode(), understand=written)
            client.note(LOG, key, kind, value, reply)
            self._revisions[key] = reply.result or expected
        elif kind == "cas":
            reply = client.ask("PUT", path, value.encode(), condition(expected), understand=written)
            client.note(LOG, key, kind, (expected, value), reply)
            self._revisions[key] = reply.result or expected
        else:
            chosen = expected if expected and client.chance(0.5) else None
            reply = client.ask("DELETE", path, None, condition(chosen) if chosen else {}, understand=deleted)
            client.note(LOG, key, kind, chosen, reply)


class Counters:
    """Counts and looks. A count without an answer is sent again under the same Idempotency-Key, and counts once."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def act(self) -> None:
        client = self._client
        key = client.random.choice(COUNTERS)
        path = f"/v1/state/chaos/{key}"
        if client.chance(0.4):
            client.note(LOG, key, "get", None, client.ask("GET", path, understand=number))
        else:
            amount = client.random.choice([-2, 1, 5])
            headers = {"Idempotency-Key": client.unique()}
            reply = client.insist("POST", f"{path}:incr", {"by": amount}, headers, understand=counted)
            client.note(LOG, key, "incr", amount, reply)


def condition(revision: int) -> dict[str, str]:
    """The header that lets a write happen only over this revision; 0: only where there is nothing."""
    return {"If-Match": f'"{revision}"'} if revision else {"If-None-Match": "*"}


def written(answer: Answer) -> int | bool:
    """The revision of a write, or False where its condition did not hold. KeyError: neither."""
    if answer.ok and answer.etag:
        return answer.etag
    return {412: False}[answer.status]


def deleted(answer: Answer) -> bool:
    return answer.ok or {412: False, 404: False}[answer.status]


def seen(answer: Answer) -> tuple[str, int] | None:
    """What a read showed: the value and its revision."""
    if answer.ok and answer.etag:
        return answer.body.decode(), answer.etag
    return {404: None}[answer.status]


def number(answer: Answer) -> tuple[int, int] | None:
    if answer.ok and answer.etag:
        return int(answer.body), answer.etag
    return {404: None}[answer.status]


def counted(answer: Answer) -> tuple[int, int]:
    return {True: (answer.body["value"], answer.body["revision"])}[answer.ok]
