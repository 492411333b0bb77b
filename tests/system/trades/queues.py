"""What clients do with queues: put, receive, ack, give back, ask for more time, and say nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from tests.system.asking import Came, Client, Reply
from tests.system.caller import Answer

LOG = "queue"
#: In use at a time.
QUEUES = 2
VISIBILITY_S = 0.6, 1.2
WAIT_S = 0.2
WORK_S = 0.03
OLD_KEPT = 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a client was handed out."""

    key: str
    token: int
    value: str


class Queues:
    """Puts values, each once, and works on what it receives."""

    def __init__(self, client: Client) -> None:
        self._client = client
        #: Queues that are known to hand out for ever: no item of theirs becomes a dead letter.
        self._made: set[str] = set()
        self._old: deque[Delivery] = deque(maxlen=OLD_KEPT)

    def act(self) -> None:
        client = self._client
        key = f"q{client.history.generation}-{client.random.randrange(QUEUES)}"
        if not self._make(key):
            return
        chosen = client.random.random()
        if chosen < 0.45:
            self._put(key)
        elif chosen < 0.5 and self._old:
            self._settle(client.random.choice(self._old))
        else:
            self._receive(key)

    def _make(self, key: str) -> bool:
        if key not in self._made:
            made = self._client.ask(
                "PUT", path(key), {"max_attempts": 0}, understand=lambda answer: {True: 1}[answer.ok]
            )
            if made.came is Came.ANSWER:
                self._made.add(key)
        return key in self._made

    def _put(self, key: str) -> None:
        """A put without an answer is put again, and its key makes that one."""
        value = self._client.unique()
        item = {"payload": value, "key": value}
        reply = self._client.insist("POST", f"{path(key)}/items", item, understand=lambda answer: answer.body["id"])
        self._client.note(LOG, key, "put", value, reply)

    def _receive(self, key: str) -> None:
        client = self._client
        visibility_s, wait_s = client.random.choice(VISIBILITY_S), client.random.choice([0, WAIT_S])
        asked = {"visibility": visibility_s, "wait": wait_s}
        reply = client.ask("POST", f"{path(key)}:receive", asked, understand=received)
        if reply.came is Came.NOTHING:
            return
        name = client.unique()
        client.note(LOG, key, "receive", name, reply)
        self._lapses(key, reply, visibility_s)
        if reply.came is Came.UNKNOWN:
            # A node that finds nobody who takes the answer gives back what it got.
            client.history.lose(LOG, key, name, reply.call)
        elif reply.result is not None:
            delivery = Delivery(key, *reply.result)
            client.history.promise(LOG, key, delivery.token, reply.call + visibility_s)
            self._work_on(delivery)

    def _lapses(self, key: str, reply: Reply, visibility_s: float) -> None:
        """A receive that took longer than an item is invisible may have been handed out one before, and another one
        before that: the time of each was over when its node, cut off meanwhile, could tell anybody.
        """
        client = self._client
        for i in range(int((reply.end - reply.call) / visibility_s)):
            name = client.unique()
            client.note(LOG, key, "receive", name, replace(reply, came=Came.UNKNOWN))
            client.history.lose(LOG, key, name, reply.call + (i + 1) * visibility_s)

    def _work_on(self, delivery: Delivery) -> None:
        client = self._client
        client.pause(WORK_S)
        while client.chance(0.1) and self._say(delivery, "extend"):
            client.pause(WORK_S)
        if not client.chance(0.08):  # else it is for others again
            self._settle(delivery)
        self._old.append(delivery)

    def _settle(self, delivery: Delivery) -> None:
        self._say(delivery, self._client.random.choice(["ack", "ack", "ack", "nack"]))

    def _say(self, delivery: Delivery, deed: str) -> bool:
        body = {"token": delivery.token}
        reply = self._client.ask("POST", f"{path(delivery.key)}:{deed}", body, understand=left)
        self._client.note(LOG, delivery.key, deed, (delivery.token, delivery.value), reply, reply.result is not False)
        if deed == "extend" and reply.result:
            self._client.history.promise(LOG, delivery.key, delivery.token, reply.call + reply.result)
        return bool(reply.result)


def path(key: str) -> str:
    return f"/v1/queues/chaos/{key}"


def received(answer: Answer) -> tuple[int, str] | None:
    """(token, value), or None: there is nothing."""
    token, items = answer.body["token"], answer.body["items"]
    return None if token is None else (token, items[0]["payload"])


def left(answer: Answer) -> float | bool:
    """For how many seconds, True where that is not told; False: it is not in this delivery any more."""
    if answer.ok:
        return float(answer.body["expires_in"]) if "expires_in" in answer.body else True
    return {"stale_token": False}[answer.code]
