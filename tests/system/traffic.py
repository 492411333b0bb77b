"""Clients at the nodes that use all that the cluster offers to programs, and what they must have seen."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tests.linearizable import FIFO, REGISTER, Lock, Model
from tests.system.asking import Client, History
from tests.system.processes import Node
from tests.system.trades.locks import DELAYED, MUTEX, SEMAPHORE, Locks
from tests.system.trades.queues import Queues
from tests.system.trades.state import Counters, Registers

CLIENTS = 16
#: Between two things that one client does, at most.
PACE_S = 0.03
#: What each log must look like.
MODELS: dict[str, Model] = {"register": REGISTER, "lock": Lock(), "semaphore": Lock(SEMAPHORE.permits), "queue": FIFO}


class Traffic:
    """So many clients, spread over the nodes, each of which does everything.

    >>> with Traffic(cluster.nodes) as traffic:     # doctest: +SKIP
    ...     time.sleep(60)                          # doctest: +SKIP
    >>> traffic.history.size                        # doctest: +SKIP
    """

    def __init__(self, nodes: Sequence[Node], clients: int = CLIENTS) -> None:
        self.history = History()
        self._stopped = threading.Event()
        self._clients = [
            Client(nodes, i % len(nodes), f"c{i}", self.history, self._stopped, PACE_S) for i in range(clients)
        ]
        for client in self._clients:
            registers, counters, queues = Registers(client), Counters(client), Queues(client)
            mutexes, delayed, semaphores = Locks(client, MUTEX), Locks(client, DELAYED), Locks(client, SEMAPHORE)
            client.acts = [*[registers.act] * 3, counters.act, *[queues.act] * 3]
            client.acts += [*[mutexes.act] * 2, delayed.act, *[semaphores.act] * 2]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for client in self._clients:
            client.join()
