"""Writers that remember which of their writes were acknowledged, and the question whether those are still there."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from tests.system.processes import Cluster, Node

#: A node that does not answer is tried again after this.
REDIAL_S = 0.02


class Writers:
    """One thread a node, each writing keys of its own one after another, until stopped.

    >>> with Writers(cluster.nodes) as writers:    # doctest: +SKIP
    ...     cluster.nodes[0].kill()                # doctest: +SKIP
    >>> writers.missing(cluster)                   # doctest: +SKIP
    []
    """

    def __init__(self, nodes: Sequence[Node], name: str = "w", size: int = 0) -> None:
        #: Key -> value of every acknowledged write.
        self.acknowledged: dict[str, bytes] = {}
        self._name = name
        self._padding = b"." * size
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(node,)) for node in nodes]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _write(self, node: Node) -> None:
        n = 0
        while not self._stopped.is_set():
            n += 1
            key, value = f"{self._name}-{node.name}-{n}", f"{node.name} {n} ".encode() + self._padding
            status, _ = node.request("PUT", f"/v1/state/load/{key}", value, timeout=3.0)
            if 200 <= status < 300:
                self.acknowledged[key] = value
            else:
                time.sleep(REDIAL_S)

    def missing(self, cluster: Cluster) -> list[str]:
        """Keys of acknowledged writes that a linearizable read does not find, or finds changed."""
        reader = cluster.living[0]
        return [key for key, value in self.acknowledged.items() if value_of(reader, key) != value]


def value_of(node: Node, key: str, namespace: str = "load") -> bytes | None:
    """The bytes under a key, read so that every acknowledged write is seen."""
    status, body = node.request("GET", f"/v1/state/{namespace}/{key}")
    assert status in (200, 404), f"{key}: {status} {body}"
    return None if status == 404 else content_of(body)


def content_of(body: object) -> bytes:
    """A value as the state routes answer it."""
    return body if isinstance(body, bytes) else str(body).encode()
