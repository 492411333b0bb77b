"""A service over HTTP that refuses a write with a stale fencing token, which comes in a header.

Two ways, and a service needs one of them:

- `Fences` keeps the largest token that it has seen of each lock and refuses smaller ones. It is as safe as what it
  keeps is durable: keep it where the data are.
- `holds` asks the cluster whether the token holds the lock at this moment. It needs no memory, and is as safe as the
  write is quick: between the answer and the write the lock can pass on.

>>> fences = Fences()
>>> fences.admit("default/db", 7), fences.admit("default/db", 9), fences.admit("default/db", 7)
(True, True, False)
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Lock
from typing import Final
from urllib.parse import quote
from urllib.request import urlopen

#: As PEERCRON_FENCING_TOKEN is called where HTTP tasks get it as a header.
HEADER: Final = "Peercron-Fencing-Token"


class Fences:
    """The largest token of each lock that was seen."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._guard = Lock()

    def admit(self, lock: str, token: int) -> bool:
        """Whether what comes with this token may be done."""
        with self._guard:
            if token < self._newest.get(lock, 0):
                return False
            self._newest[lock] = token
            return True


def holds(cluster_url: str, lock: str, token: int) -> bool:
    """Whether the token holds the lock ("namespace/name") at this moment; any node's URL will do."""
    with urlopen(f"{cluster_url}/v1/fence/{quote(lock)}?token={token}", timeout=5) as answer:  # noqa: S310 it is http
        return not json.load(answer)["stale"]


class FencedHandler(BaseHTTPRequestHandler):
    """Takes a POST with a token that is not stale, and answers 409 to any other."""

    fences = Fences()
    lock = "default/reports"
    taken: Final[list[bytes]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = int(self.headers.get(HEADER, 0))
        if not self.fences.admit(self.lock, token):
            self.send_error(HTTPStatus.CONFLICT, f"stale fencing token {token}")
            return
        self.taken.append(content)
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()
