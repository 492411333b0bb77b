"""Producers and consumers of one queue on real nodes, and what has to be true of all that they saw together."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.system.caller import Answer, Caller
from tests.system.processes import Cluster, Node

QUEUE = "/v1/queues/default/work"
#: A delivery that was lost with its leader comes back after this.
VISIBILITY = "3s"
AT_ONCE = 10
#: A node that does not answer in this time is left for the next.
PATIENCE_S = 6.0
REDIAL_S = 0.05


@dataclass(slots=True)
class Seen:
    """What all clients saw: receipts as (token, group, n), and what became of their acks."""

    receipts: list[tuple[int, str, int]] = field(default_factory=list)
    #: (group, n) -> acks that the cluster said yes to.
    acked: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: Acks without an answer, or with a no after one without an answer: they may have counted.
    unknown: set[tuple[str, int]] = field(default_factory=set)
    refused: int = 0

    def wrong(self, groups: Sequence[str], each: int) -> list[str]:
        """Sentences about items that are lost, done twice or out of order; empty: all is well."""
        wanted = set(itertools.product(groups, range(each)))
        done = set(self.acked)
        problems = [f"{item} was acknowledged {n} times" for item, n in self.acked.items() if n != 1]
        problems += [f"{item} was never acknowledged" for item in sorted(wanted - done - self.unknown)]
        problems += [f"{item} was never put" for item in sorted((done | self.unknown) - wanted)]
        return problems + [problem for group in groups for problem in self._out_of_order(group)]

    def _out_of_order(self, group: str) -> Iterator[str]:
        """Tokens are the order in which the cluster handed out; one item after the other, again only without an ack."""
        handed = [n for _, of, n in sorted(self.receipts) if of == group]
        for before, after in itertools.pairwise(handed):
            if after < before or after > before + 1:
                yield f"{group}: {after} was handed out after {before}"
        again = [n for n, times in Counter(handed).items() if times > 1 and self.acked[group, n] > 1]
        yield from (f"{group}: {n} was done twice" for n in again)


class Client(threading.Thread):
    """One that asks some node, and the next when that one does not answer."""

    def __init__(self, nodes: Sequence[Node], place: int) -> None:
        super().__init__(daemon=True)
        self._nodes, self._place = nodes, place
        self._caller: Caller | None = None

    def run(self) -> None:
        try:
            self.work()
        finally:
            if self._caller is not None:
                self._caller.close()

    def work(self) -> None:
        raise NotImplementedError

    def ask(self, path: str, body: dict[str, Any]) -> Answer:
        self._caller = self._caller or self._nodes[self._place % len(self._nodes)].caller(PATIENCE_S)
        answer = self._caller.request("POST", path, body)
        if answer.status in (0, 429, 503, 504):
            self._caller.close()
            self._caller, self._place = None, self._place + 1
            time.sleep(REDIAL_S)
        return answer


class Producer(Client):
    """Puts the items of its groups in order; a put without an answer is put again, and its key makes that one."""

    def __init__(self, nodes: Sequence[Node], place: int, groups: Sequence[str], each: int) -> None:
        super().__init__(nodes, place)
        self._groups, self._each = groups, each

    def work(self) -> None:
        for n in range(self._each):
            for group in self._groups:
                item = {"payload": {"group": group, "n": n}, "group": group, "key": f"{group}-{n}"}
                while not self.ask(f"{QUEUE}/items", item).ok:
                    pass


class Consumer(Client):
    """Takes some items, and acks what it took; until the queue has been empty for a while."""

    def __init__(self, nodes: Sequence[Node], place: int, seen: Seen, stopped: threading.Event) -> None:
        super().__init__(nodes, place)
        self._seen, self._stopped = seen, stopped

    def work(self) -> None:
        while not self._stopped.is_set():
            answer = self.ask(f"{QUEUE}:receive", {"max": AT_ONCE, "wait": "1s", "visibility": VISIBILITY})
            if answer.ok and answer.body["token"] is not None:
                token = int(answer.body["token"])
                items = [(str(i["payload"]["group"]), int(i["payload"]["n"])) for i in answer.body["items"]]
                self._seen.receipts += [(token, *item) for item in items]
                self._ack(token, items)

    def _ack(self, token: int, items: list[tuple[str, int]]) -> None:
        """Until the cluster has said yes or no."""
        doubtful = False
        while True:
            answer = self.ask(f"{QUEUE}:ack", {"token": token})
            if answer.ok:
                self._seen.acked.update(items)
                return
            if answer.status == 409:
                self._seen.refused += 1
                if doubtful:
                    self._seen.unknown.update(items)
                return
            doubtful = doubtful or answer.status in (0, 504)


def fill(cluster: Cluster, groups: Sequence[str], each: int, producers: int = 8) -> None:
    """Put `each` items of each group."""
    cluster.request("PUT", QUEUE, {"visibility": VISIBILITY, "max_attempts": 0})
    shares: dict[int, list[str]] = defaultdict(list)
    for place, group in enumerate(groups):
        shares[place % producers].append(group)
    threads = [Producer(cluster.nodes, place, share, each) for place, share in shares.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def counts(cluster: Cluster) -> dict[str, Any]:
    """How many items are where."""
    told: dict[str, Any] = cluster.request("GET", QUEUE)
    return told
