"""Clients at the nodes that remember what they asked for, when, and what they were told."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.linearizable import Operation
from tests.system.caller import Answer, Caller
from tests.system.processes import Node

#: A client that waits longer than this gives up, and does not know what came of it.
PATIENCE_S = 2.0
#: Between two requests of one client, at most.
PACE_S = 0.03
#: After a refusal that says "not now".
BACK_OFF_S = 0.05
#: A lock is held for up to this long.
HOLD_S = 0.02
_NOT_NOW = frozenset({429, 503})


class Came(Enum):
    """What came of a request."""

    ANSWER = "an answer"
    NOTHING = "nothing happened, for certain"
    UNKNOWN = "nobody knows"


@dataclass(slots=True)
class History:
    """What all clients saw, on one clock (CLOCK_MONOTONIC: all hosts are on one machine)."""

    registers: list[Operation] = field(default_factory=list)
    locks: list[Operation] = field(default_factory=list)
    came: Counter[Came] = field(default_factory=Counter)
    #: Answers that no request of these clients may get.
    surprises: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.registers) + len(self.locks)


class Client(threading.Thread):
    """One thread that asks one node, one thing after another, until it is told to stop."""

    def __init__(self, node: Node, name: str, history: History, keys: Sequence[str], stopped: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._caller: Caller = node.caller(PATIENCE_S)
        self.history, self.keys = history, keys
        self.random = random.Random(name)
        self.count = 0
        self._stopped = stopped

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def run(self) -> None:
        try:
            while not self.stopped:
                self.act()
                self.pause(PACE_S)
        finally:
            self._caller.close()

    def act(self) -> None:
        raise NotImplementedError

    def pause(self, seconds_max: float) -> None:
        self._stopped.wait(self.random.uniform(0, seconds_max))

    def ask(
        self,
        log: list[Operation],
        key: str,
        kind: str,
        argument: Any,
        how: tuple[Any, ...],
        understand: Callable[[Answer], Any],
    ) -> tuple[Came, Any]:
        """One request, written down unless nothing happened; `understand` makes an answer the model's result."""
        call = time.monotonic()
        answer = self._caller.request(*how)
        end = time.monotonic()
        came = came_of(answer)
        if came is Came.ANSWER:
            try:
                result = understand(answer)
            except (LookupError, TypeError, ValueError):
                self.history.surprises.append(f"{kind} {key} at {self.name}: {answer}")
                came = Came.UNKNOWN
        self.history.came[came] += 1
        if came is Came.ANSWER:
            log.append(Operation(self.name, key, call, end, kind, argument, result))
            return came, result
        if came is Came.UNKNOWN:
            log.append(Operation(self.name, key, call, None, kind, argument))
        self.pause(BACK_OFF_S)
        return came, None


def came_of(answer: Answer) -> Came:
    if answer.status == 0:
        return Came.UNKNOWN if answer.sent else Came.NOTHING
    if answer.status in _NOT_NOW:
        return Came.NOTHING
    return Came.UNKNOWN if answer.status == 504 else Came.ANSWER


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


class StateClient(Client):
    """Reads, writes, swaps and deletes on a few keys; every value is written once."""

    def __init__(self, *rest: Any) -> None:
        super().__init__(*rest)
        #: Key -> the revision that this client saw last.
        self._revisions: dict[str, int] = {}

    def act(self) -> None:
        key = self.random.choice(self.keys)
        kind = self.random.choices(("get", "put", "cas", "delete"), (45, 20, 27, 8))[0]
        self.count += 1
        value, expected = f"{self.name}:{self.count}", self._revisions.get(key, 0)
        path, log = f"/v1/state/chaos/{key}", self.history.registers
        if kind == "get":
            _, result = self.ask(log, key, kind, None, ("GET", path), seen)
            self._revisions[key] = result[1] if result else 0
        elif kind == "put":
            _, result = self.ask(log, key, kind, value, ("PUT", path, value.encode()), written)
            self._revisions[key] = result or expected
        elif kind == "cas":
            swap = "PUT", path, value.encode(), condition(expected)
            _, result = self.ask(log, key, kind, (expected, value), swap, written)
            self._revisions[key] = result or expected
        else:
            chosen = expected if expected and self.random.random() < 0.5 else None
            how = ("DELETE", path, None, condition(chosen) if chosen else {})
            self.ask(log, key, kind, chosen, how, deleted)


def condition(revision: int) -> dict[str, str]:
    """The header that lets a write happen only over this revision; 0: only where there is nothing."""
    return {"If-Match": f'"{revision}"'} if revision else {"If-None-Match": "*"}


class LockClient(Client):
    """Takes and gives back locks: a lock is a key that names its holder, its token the key's revision."""

    def act(self) -> None:
        key = self.random.choice(self.keys)
        path, log = f"/v1/state/locks/{key}", self.history.locks
        self.count += 1
        owner = f"{self.name}:{self.count}"
        came, token = self.ask(log, key, "acquire", owner, ("PUT", path, owner.encode(), condition(0)), written)
        if came is not Came.NOTHING and not token:
            # Somebody has it: I myself, perhaps, and was not told.
            _, shown = self.ask(log, key, "show", None, ("GET", path), seen)
            token = shown[1] if shown and shown[0].startswith(f"{self.name}:") else None
        if token:
            self.pause(HOLD_S)
            self._release(key, path, token)

    def _release(self, key: str, path: str, token: int) -> None:
        """Until the answer is known: a lock that nobody gives back is nobody's."""
        how = ("DELETE", path, None, condition(token))
        while self.ask(self.history.locks, key, "release", token, how, deleted)[0] is not Came.ANSWER:
            if self.stopped:
                return


class Traffic:
    """`clients` of the state and one of the locks at each node.

    >>> with Traffic(cluster.nodes) as traffic:     # doctest: +SKIP
    ...     time.sleep(60)                          # doctest: +SKIP
    >>> traffic.history.size                        # doctest: +SKIP
    """

    def __init__(self, nodes: Sequence[Node], *, clients: int = 2, keys: int = 5, locks: int = 3) -> None:
        self.history = History()
        self._stopped = threading.Event()
        rest = self.history, [f"k{i}" for i in range(keys)], self._stopped
        self._clients: list[Client] = [StateClient(n, f"{n.name}-{i}", *rest) for n in nodes for i in range(clients)]
        rest = self.history, [f"l{i}" for i in range(locks)], self._stopped
        self._clients += [LockClient(node, f"{node.name}-lock", *rest) for node in nodes]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for client in self._clients:
            client.join()
