"""Session: what a program is to its cluster: kept alive off the log, and what it takes in its name ends with it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from peercron.client.ghosts import Ghosts
from peercron.client.link import Link
from peercron.client.tenure import PASSING, Hold, OnLost, Tenure
from peercron.client.words import written
from peercron.clock import SystemClock
from peercron.core.limits import NAME_LENGTH_MAX
from peercron.errors import Refused

CLOSED: Final = "this client was closed"


class Sitting(Tenure):
    """One session, from its beginning to its end; its id is what the cluster knows it by."""

    def __init__(self, link: Link, told: dict[str, Any], sent_s: float, on_lost: OnLost | None) -> None:
        self.id = int(told["client"])
        self._link = link
        #: Token -> what was granted under it in our name.
        self._granted: dict[int, Hold] = {}
        super().__init__(
            f"client session {self.id}", float(told["expires_in"]), sent_s, self._keep_alive, on_lost=on_lost
        )

    def granted(self, token: int, hold: Hold) -> None:
        """From now on a renewal that says nothing of this token is its end."""
        self._granted[token] = hold

    def settled(self, token: int) -> None:
        self._granted.pop(token, None)

    async def _keep_alive(self) -> float:
        answer = await self._link.ask("POST", f"/v1/clients/{self.id}:renew", {})
        told, index = answer.json, int(answer.headers["peercron-index"])
        held = frozenset(told["leases"])
        # A node that has not come so far as to know of a grant says nothing of it.
        for token in [token for token in self._granted if token <= index and token not in held]:
            hold = self._granted.pop(token)
            hold.lose(f"{hold.what} was lost: the cluster has taken it away")
        return float(told["expires_in"])


class Session:
    """The way to a sitting: opened by the first that needs one; after one was lost the next that needs one opens
    another.

    Args:
        link: the cluster.
        label: what this program is called, for people.
        ttl_s: how long the cluster keeps what is held in its name when it is not heard of any more.
        on_lost: is called whenever a sitting is lost.
    """

    def __init__(self, link: Link, label: str, ttl_s: float, on_lost: OnLost | None = None) -> None:
        self._link, self._ttl_s, self._on_lost = link, ttl_s, on_lost
        self._label = label[:NAME_LENGTH_MAX]
        self.ghosts = Ghosts()
        self._opening = asyncio.Lock()
        self._sitting: Sitting | None = None

    async def sit(self) -> Sitting:
        """The sitting in force. Raises NoLeader and its like where there is none and none can be opened."""
        async with self._opening:
            if self._sitting is None or not self._sitting.held:
                body = {"label": self._label, "ttl": written(self._ttl_s)}
                sent_s = SystemClock().monotonic()
                answer = await self._link.ask("POST", "/v1/clients", body)
                self._sitting = Sitting(self._link, answer.json, sent_s, self._on_lost)
            return self._sitting

    def ended(self, sitting: Sitting) -> None:
        """The cluster says that this one is over."""
        sitting.lose(f"{sitting.what} has ended")

    async def close(self) -> None:
        """What is held in its name is free again, and whoever still uses it is told."""
        sitting, self._sitting = self._sitting, None
        if sitting is None:
            return
        sitting.drop(CLOSED)
        await sitting.stop()
        if not sitting.lost:
            # Whom nobody could be told of is not heard of any more, which comes to the same a little later.
            with suppress(*PASSING, Refused):
                await self._link.ask("DELETE", f"/v1/clients/{sitting.id}")
