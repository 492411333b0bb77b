"""Client: a cluster for asyncio programs: its jobs, locks, queues and shared state, through any of its nodes."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Final

from peercron.client.chores import Chores
from peercron.client.events import events
from peercron.client.jobs import Jobs
from peercron.client.link import Link
from peercron.client.lock import Lock, Wanted
from peercron.client.owner import process_name, thread_name
from peercron.client.queue import Queue
from peercron.client.session import Session
from peercron.client.state import State
from peercron.client.tenure import OnLost
from peercron.client.words import Duration, seconds
from peercron.errors import ConfigError, Problem

DEFAULT_ADDRESS: Final = "http://127.0.0.1:8400"


class Client:
    """Use it as a context manager, in one event loop.

    >>> async with Client(["http://a:8400", "http://b:8400"]) as client:         # doctest: +SKIP
    ...     await client.state.put("stock", 7)
    ...     async with client.lock("reports/db", wait="10s") as lock:
    ...         await write_report(fencing_token=lock.token)

    Requests go to the node that answered last; where it cannot, the others are asked until `timeout` is over. Writes
    carry an idempotency key, so that asking twice does nothing twice.

    Locks and what is received from queues live as long as the client's session, which is opened when the first of
    them needs it, kept alive in the background, and ended by `close`. Where it is lost, whoever holds one is told.

    Args:
        addresses: HTTP of any nodes; default: PEERCRON_ADDR, or within a run PEERCRON_URL, or this machine.
        token: access token; default: PEERCRON_TOKEN, which a run has, or what stands in the file PEERCRON_TOKEN_FILE.
        label: what this program is called, as node/process, or as process alone; default: host/pid.
        timeout: for a request with all its tries.
        ca_file: authority (PEM) of https addresses.
        attempt: run id and fencing token of the attempt that this program is: its locks end with it, at once.
        session_ttl: how long the cluster keeps what the session holds when it does not hear of this program.
        on_lost: is called with the reason when the session was lost, in the event loop: it must not block.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        label: str | None = None,
        timeout: Duration = "5s",
        ca_file: str | None = None,
        attempt: tuple[str, int] | None = None,
        session_ttl: Duration = "30s",
        on_lost: OnLost | None = None,
    ) -> None:
        self._attempt = attempt or ("", 0)
        chosen = addresses if addresses is not None else _usual_addresses()
        self._link = Link(
            chosen.split(",") if isinstance(chosen, str) else chosen,
            token=token if token is not None else _usual_token(),
            ca_file=ca_file,
            timeout_s=seconds(timeout),
        )
        self.label = process_name(label)
        self._session = Session(self._link, self.label, seconds(session_ttl), on_lost)
        self._chores = Chores()
        self.state = State(self._link)
        self.jobs = Jobs(self._link)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back what is held, end the session, close the connections."""
        await self._chores.close()
        await self._session.close()
        await self._link.close()

    async def status(self) -> dict[str, Any]:
        """The cluster on one screen: leader, quorum, members. Needs no leader."""
        found: dict[str, Any] = (await self._link.ask("GET", "/v1/status")).json
        return found

    def events(
        self, *, after: str | None = None, kinds: Sequence[str] = (), name: str = ""
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What happens in the cluster, each once and in order, for ever; it goes on at another node when one fails.

        >>> async for event in client.events(kinds=["run"], name="nightly"):             # doctest: +SKIP
        ...     print(event["at"], event["what"], event.get("node"))

        Args:
            after: id of the last that was seen; None: from now on.
            kinds: only these: "job", "run", "member", …; none: all.
            name: only of the job, the node, … of this name; empty: of all.

        Raises:
            Compacted: some that came after it are not kept any more; go on after `str(error.index)`.
        """
        return events(self._link, after, kinds, name)

    def lock(
        self,
        name: str,
        *,
        ttl: Duration | None = None,
        wait: Duration | None = None,
        kind: str | None = None,
        permits: int = 1,
        shared: bool = False,
        owner: str | None = None,
        on_lost: OnLost | None = None,
    ) -> Lock:
        """A lock, to be held in an `async with` block; see `Lock`.

        Args:
            name: in the namespace "default", or written namespace/name.
            ttl: it has a time of its own, and comes free by itself when it was not renewed for so long; None: it lives
                as long as this client's session, or the attempt that this program is.
            wait: how long to stand in line; None: as long as it takes.
            kind: "mutex", "semaphore" or "rw"; default: what `permits` and `shared` say.
            permits: how many may hold a semaphore at the same time.
            shared: of a "rw" lock: to read, beside others that read.
            owner: default: node/process/thread, in an event loop its task.
            on_lost: is called with the reason when it was lost, in the event loop: it must not block.
        """
        wanted = Wanted(name, ttl, wait, kind, permits, shared, *self._attempt, on_lost)
        return Lock(self._link, self._session, self._chores, wanted, self._owner(owner))

    def queue(self, name: str, *, owner: str | None = None) -> Queue:
        """A queue, in the namespace "default", or written namespace/name. `owner`: of what is received, as of locks."""
        return Queue(self._link, self._session, name, self._owner(owner))

    def _owner(self, given: str | None) -> str:
        return given or f"{self.label}/{thread_name()}"


def _usual_addresses() -> str:
    return os.environ.get("PEERCRON_ADDR") or os.environ.get("PEERCRON_URL") or DEFAULT_ADDRESS


def _usual_token() -> str:
    """What the environment says; ConfigError: the file that it names cannot be read."""
    own, path = os.environ.get("PEERCRON_TOKEN", ""), os.environ.get("PEERCRON_TOKEN_FILE", "")
    if own or not path:
        return own
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise ConfigError([Problem("PEERCRON_TOKEN_FILE", f"cannot read {path}: {error.strerror}")]) from None
