"""Clients at the nodes that remember what they asked for, when, and what they were told."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from tests.linearizable import Operation, ends
from tests.system.caller import Answer, Caller
from tests.system.processes import Node

#: A client that waits longer than this gives up, and does not know what came of it.
PATIENCE_S = 2.0
#: After a refusal that says "not now", at most.
BACK_OFF_S = 0.05
#: What may be asked again is asked so often in all, each time another node.
TRIES = 3
#: After so long everybody goes on to new locks and queues, so that no history gets long.
GENERATION_S = 8.0
_NOT_NOW = frozenset({429, 503})


class Came(Enum):
    """What came of a request."""

    ANSWER = "an answer"
    NOTHING = "nothing happened, for certain"
    UNKNOWN = "nobody knows"


class PerhapsHappened(Exception):
    """The answer is no, and does not say that it was no all the time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request, asked at `call`, answered at `end` with this result."""

    came: Came
    call: float
    end: float
    result: Any = None


@dataclass(slots=True)
class History:
    """What all clients saw, on one clock (CLOCK_MONOTONIC: all hosts are on one machine)."""

    begun: float = field(default_factory=time.monotonic)
    #: Each kind of thing has a log of its own.
    logs: dict[str, list[Operation]] = field(
        default_factory=lambda: {name: [] for name in ("register", "lock", "semaphore", "queue")}
    )
    came: Counter[Came] = field(default_factory=Counter)
    #: (log, key, who holds it) -> until when that was promised, and the delay after it; see `linearizable.ends`.
    promises: dict[tuple[str, str, Hashable], tuple[float, float | None]] = field(default_factory=dict)
    #: (log, its end) of what somebody may have got who was not told of it.
    untold: list[tuple[str, Operation]] = field(default_factory=list)
    #: Answers that no request of these clients may get.
    surprises: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(map(len, self.logs.values()))

    @property
    def generation(self) -> int:
        return int((time.monotonic() - self.begun) / GENERATION_S)

    def promise(self, log: str, key: str, holder: Hashable, until: float, delay: float | None = None) -> None:
        """The holder was told that it has it until then, at least."""
        place = log, key, holder
        self.promises[place] = max(until, self.promises.get(place, (0.0, None))[0]), delay

    def lose(self, log: str, key: str, holder: Hashable, moment: float, delay: float | None = None) -> None:
        """The holder may have got it, and was not told; then it ends no earlier than that."""
        self.untold += [(log, end) for end in ends(key, holder, moment, delay)]

    def whole(self, log: str) -> list[Operation]:
        """One log with the ends that may have come, each no earlier than promised."""
        told = [ends(key, holder, *promise) for (of, key, holder), promise in self.promises.items() if of == log]
        return [
            *self.logs[log],
            *(end for each in told for end in each),
            *(end for of, end in self.untold if of == log),
        ]


class Client(threading.Thread):
    """One thread that asks one thing after another, until it is told to stop: its own node, others when it must."""

    def __init__(
        self, nodes: Sequence[Node], home: int, name: str, history: History, stopped: threading.Event, pace_s: float
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._nodes, self._home, self._pace_s = nodes, home, pace_s
        self._callers: dict[int, Caller] = {}
        self.history = history
        self.random = random.Random(name)
        self._stopped = stopped
        #: What it does, one of these at a time.
        self.acts: list[Callable[[], None]] = []
        self._count = 0

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def run(self) -> None:
        try:
            while not self.stopped:
                self.random.choice(self.acts)()
                self.pause(self._pace_s)
        finally:
            for caller in self._callers.values():
                caller.close()

    def pause(self, seconds_max: float) -> None:
        self._stopped.wait(self.random.uniform(0, seconds_max))

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def unique(self) -> str:
        """A name that nobody else gives to anything."""
        self._count += 1
        return f"{self.name}:{self._count}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        understand: Callable[[Answer], Any],
        detour: int = 0,
    ) -> Reply:
        """One request; `understand` makes an answer the result. A detour goes to a node that is so much further on."""
        place = (self._home + detour) % len(self._nodes)
        if place not in self._callers:
            self._callers[place] = self._nodes[place].caller(PATIENCE_S)
        call = time.monotonic()
        answer = self._callers[place].request(method, path, body, headers)
        reply = Reply(came_of(answer), call, time.monotonic())
        if reply.came is Came.ANSWER:
            try:
                reply = replace(reply, result=understand(answer))
            except PerhapsHappened:
                reply = replace(reply, came=Came.UNKNOWN)
            except (LookupError, TypeError, ValueError):
                self.history.surprises.append(f"{method} {path} at {self.name}: {answer}")
                reply = replace(reply, came=Came.UNKNOWN)
        self.history.came[reply.came] += 1
        if reply.came is not Came.ANSWER:
            self.pause(BACK_OFF_S)
        return reply

    def insist(self, *how: Any, **more: Any) -> Reply:
        """The same, up to TRIES times: for what is done once however often it is asked for; one request in all."""
        replies: list[Reply] = []
        while len(replies) < TRIES and not self.stopped:
            replies.append(self.ask(*how, **more, detour=len(replies)))
            if replies[-1].came is Came.ANSWER:
                return replace(replies[-1], call=replies[0].call)
        if not replies:
            now = time.monotonic()
            return Reply(Came.NOTHING, now, now)
        unknown = any(reply.came is Came.UNKNOWN for reply in replies)
        return replace(replies[-1], call=replies[0].call, came=Came.UNKNOWN if unknown else Came.NOTHING)

    def note(self, log: str, key: Hashable, kind: str, argument: Any, reply: Reply, result: Any = None) -> None:
        """Write it down, unless nothing happened. `result` where it is another than the reply's."""
        if reply.came is Came.ANSWER:
            told = reply.result if result is None else result
            self.history.logs[log].append(Operation(self.name, key, reply.call, reply.end, kind, argument, told))
        elif reply.came is Came.UNKNOWN:
            self.history.logs[log].append(Operation(self.name, key, reply.call, None, kind, argument))


def came_of(answer: Answer) -> Came:
    if answer.status == 0:
        return Came.UNKNOWN if answer.sent else Came.NOTHING
    # Whoever stood in line at a node that was given up may have had the lock, and lost it.
    if answer.code == "stale_session":
        return Came.UNKNOWN
    if answer.status in _NOT_NOW:
        return Came.NOTHING
    return Came.UNKNOWN if answer.status == 504 else Came.ANSWER
