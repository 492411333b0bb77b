"""The command line against a real server over a fake node, which lives in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from peercron.cli.root import cli
from peercron.clock import ManualClock
from peercron.core.commands import OpenSession
from peercron.core.level import LEVEL
from peercron.core.member import MemberInfo
from peercron.core.state import ClusterState
from peercron.http.app import serve
from peercron.settings import load
from tests.http.conftest import NOW_MS, FakeNode, free_port

T = TypeVar("T")


@dataclass
class Shell:
    """Calls peercron as a user would, with the cluster in PEERCRON_ADDR."""

    node: FakeNode
    url: str
    loop: asyncio.AbstractEventLoop

    def __call__(self, *args: str, stdin: str | bytes | None = None, **environ: str) -> Result:
        environ = {"PEERCRON_ADDR": self.url, "COLUMNS": "200"} | environ
        result = CliRunner().invoke(cli, args, input=stdin, env=environ)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def ok(self, *args: str, **more: Any) -> str:
        """stdout of a call that must succeed."""
        result = self(*args, **more)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.ok(*args, "-o", "json"))

    def node_does(self, deed: Coroutine[Any, Any, T]) -> T:
        """Run something on the node's own loop."""
        return asyncio.run_coroutine_threadsafe(deed, self.loop).result(10)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[FakeNode, Any]:
        peer = f"127.0.0.1:{free_port()}"
        settings = load({"peers": peer, "self": peer, "name": "n1", "http": f"127.0.0.1:{free_port()}"}, {})
        node = FakeNode(settings, ClusterState(), tmp_path)
        await node.do(OpenSession(MemberInfo("id-n1", "n1", peer, settings.http, "east", level=LEVEL), 1))
        return node, await serve(node, ManualClock(wall_ms=NOW_MS))

    node, server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield Shell(node, server.url, loop)
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
