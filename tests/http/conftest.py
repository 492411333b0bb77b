"""A fake node over a real ClusterState, behind a real server on a free port of loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from peercron.clock import ManualClock
from peercron.core import views
from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.apply.once import answer_once
from peercron.core.chronicle import Chronicle
from peercron.core.commands import AdoptSnapshot, AttemptFinished, AttemptStarted, Command, Once, OpenSession
from peercron.core.level import LEVEL
from peercron.core.member import Configuration, MemberInfo
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState, Resource
from peercron.core.tally import Tally
from peercron.core.verdict import Done
from peercron.errors import NoLeader, PeercronError, Refused
from peercron.http.app import serve
from peercron.meters import Meters, Readings
from peercron.node.watch import Watch
from peercron.settings import Settings, load
from peercron.wire import snapshot
from peercron.wire.staging import Staging
from tests.core.builders import run_row
from tests.http.promises import hold

NOW_MS = 1_800_000_000_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class FakeNode:
    """Implements NodePort: commands are applied at once, and go wrong on request."""

    def __init__(self, settings: Settings, state: ClusterState, folder: Path, watch: Watch | None = None) -> None:
        self.settings = settings
        self.state = state
        state.chronicle = state.chronicle or Chronicle(state.index)
        self.folder = folder
        self.term = 7
        self.fails: PeercronError | None = None
        self.has_leader = True
        self.checks = [("leader", True, "n1"), ("applied", True, "0 behind")]
        self.lives = True
        self.transferred: list[str | None] = []
        self.name = settings.name
        self.barriers = 0
        #: Set whenever somebody begins to wait for a change.
        self.waiting = asyncio.Event()
        self._changed = asyncio.Condition()
        self._watch = watch or Watch(lambda: state)
        self.renewed: list[int] = []
        state.tally = state.tally or Tally()
        #: Attempts that this node gave to itself.
        self.running: list[tuple[str, int]] = []
        self._meters, self.at = Meters(), Readings(leads=True)

    @property
    def pass_key(self) -> bytes:
        return self.settings.secret or b""

    def runs_here(self, run_id: str, token: int) -> bool:
        return (run_id, token) in self.running

    def leader(self) -> str | None:
        return "n1" if self.has_leader else None

    async def propose(self, command: Command, timeout_s: float, once: Once | None = None) -> Done:
        assert timeout_s > 0
        if self.fails is not None:
            raise self.fails
        verdict = await self.do(command, once)
        if isinstance(verdict, Done):
            return verdict
        raise Refused(verdict.code.value, verdict.detail, verdict.index)

    async def do(self, command: Command, once: Once | None = None) -> Any:
        if isinstance(command, AdoptSnapshot):
            self.state.staged_state = Staging().take(self.state)
        verdict = answer_once(self.state, once, lambda: apply(self.state, command, NOW_MS))
        self.state.staged_state = None
        self._watch.turn()
        async with self._changed:
            self._changed.notify_all()
        return verdict

    async def read_barrier(self, timeout_s: float) -> None:
        self.barriers += 1
        if not self.has_leader:
            raise NoLeader

    async def wait_changed(self, index: int, timeout_s: float) -> None:
        if self.state.index <= index:
            self.waiting.set()
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.state.index > index)
        except TimeoutError:
            return

    async def wait_for(self, resource: Resource, timeout_s: float) -> bool:
        self.waiting.set()
        return await self._watch.change(resource, timeout_s)

    async def renew(self, lease: int, timeout_s: float) -> int:
        if self.fails is not None:
            raise self.fails
        row = self.state.leases.get(lease)
        if row is None:
            raise Refused("stale_token", f"lease {lease} has ended")
        self.renewed.append(lease)
        return row.ttl_ms

    def status(self) -> dict[str, Any]:
        state, leader = self.state, self.leader()
        rows = [views.member_view(state, row) for row in state.members.values()]
        seen = {"state": "leader", "applied": state.index, "behind": 0, "silent_ms": None, "rtt_ms": 0.2, "clock_ms": 0}
        here = [row | seen for row in rows if row["name"] == self.name]
        told = {"cluster": "peercron", "healthy": leader is not None, "leader": leader, "term": self.term}
        told |= {"index": state.index, "level": state.level, "voters": len(rows), "quorum": len(rows) // 2 + 1}
        told |= {"node": self.name}
        return told | {"survives": 0, "halted": None, "paused": state.paused, "notes": [], "members": here}

    def slices(self) -> dict[str, Any]:
        told = {"slot": NOW_MS, "scheduled_for": "2027-01-15T08:00:00.000Z", "outcome": "failed", "reason": "no"}
        untold = [told | {"started_at": None, "finished_at": None, "exit_code": 3}]
        known = {"nodes": ["n1"], "next": None, "running": [], "untold": untold}
        return {"node": self.name, "doubt": None, "jobs": [{"job": key, **known} for key in ("default/a", "ops/b")]}

    @property
    def meters(self) -> Meters:
        return self._meters

    def readings(self) -> Readings:
        return self.at

    def frozen(self) -> Iterator[bytes]:
        return snapshot.blocks(snapshot.freeze(self.state))

    def run_log_path(self, run_id: str, token: int) -> Path | None:
        path = self.folder / f"{token}.log"
        return path if path.exists() else None

    def alive(self) -> bool:
        return self.lives

    def ready(self) -> list[tuple[str, bool, str]]:
        return self.checks

    async def remove_member(self, member: str, timeout_s: float) -> None:
        assert timeout_s > 0
        if self.fails is not None:
            raise self.fails
        configure(self.state, Configuration(tuple(s for s in self.state.seats.values() if s.id != member)))

    async def transfer_leadership(self, to: str | None) -> None:
        self.transferred.append(to)

    async def start_attempt(self, run_id: str) -> int:
        """The live attempt of a run says that it started. Answers its token."""
        attempt = self.state.runs[run_id].attempts[-1]
        await self.do(AttemptStarted(run_id, attempt.token, NOW_MS))
        return attempt.token

    async def finish_attempt(self, run_id: str, tail: str = "", exit_code: int = 0) -> None:
        attempt = run_row(self.state, run_id).attempts[-1]
        word, why = (AttemptState.FAILED, f"exit code {exit_code}") if exit_code else (AttemptState.SUCCEEDED, "")
        ended = AttemptFinished(run_id, attempt.token, word, NOW_MS, exit_code, why, tail)
        await self.do(ended)


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Site:
    """A node with its server, and a way to ask it."""

    node: FakeNode
    url: str
    session: aiohttp.ClientSession
    clock: ManualClock = field(default_factory=ManualClock)

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        if body is not None and not isinstance(body, bytes | str):
            more["json"] = body
        elif body is not None:
            more["data"] = body
        async with self.session.request(method, self.url + path, **more) as answer:
            found = Answer(answer.status, answer.headers, await answer.read())
        hold(method, path, found.status, found.headers, found.body, more.get("json"))
        return found

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def put_job(self, name: str = "hello", **table: Any) -> Any:
        answer = await self.ask("PUT", f"/v1/jobs/{name}", {"every": "1s", "shell": "true"} | table)
        assert answer.status in (200, 201), answer.text
        return answer.json

    async def run_job(self, name: str = "hello") -> Any:
        answer = await self.ask("POST", f"/v1/jobs/{name}:run")
        assert answer.status == 202, answer.text
        return answer.json


StartSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def start_site(tmp_path: Path) -> AsyncIterator[StartSite]:
    """Starts nodes of one cluster, n1, n2 and so on, that share one state, as if replication took no time."""
    state = ClusterState()
    watch = Watch(lambda: state)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(name: str = "n1", **flags: Any) -> Site:
            peer, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
            settings = load({"peers": peer, "self": peer, "name": name, "http": http} | flags, {})
            (tmp_path / name).mkdir()
            node = FakeNode(settings, state, tmp_path / name, watch)
            info = MemberInfo(
                f"id-{name}", name, peer, settings.http_advertised, "east", (("disk", "ssd"),), level=LEVEL
            )
            await node.do(OpenSession(info, 1))
            clock = ManualClock(wall_ms=NOW_MS)
            server = await serve(node, clock)
            stack.push_async_callback(server.close)
            return Site(node, server.url, session, clock)

        yield start


@pytest.fixture
async def site(start_site: StartSite) -> Site:
    return await start_site()
