"""SyncClient: the same from plain threads, while the nodes live in a loop of their own."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from peercron.client import Client, Delivery, Item, Lock, Queue, SyncClient, SyncLock, SyncQueue
from peercron.client.jobs import Jobs
from peercron.client.portal import Portal, each
from peercron.client.state import State
from peercron.client.sync import SyncDelivery, SyncItem, SyncJobs, SyncState
from peercron.clock import ManualClock
from peercron.core.commands import OpenSession
from peercron.core.level import LEVEL
from peercron.core.member import MemberInfo
from peercron.core.state import ClusterState
from peercron.errors import PeercronError, Refused
from peercron.http.app import serve
from peercron.settings import load
from tests.http.conftest import NOW_MS, FakeNode, free_port


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


@pytest.fixture
def url(portal: Portal, tmp_path: Path) -> Iterator[str]:
    peer, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    settings = load({"peers": peer, "self": peer, "name": "n1", "http": http}, {})

    async def begin() -> Any:
        node = FakeNode(settings, ClusterState(), tmp_path)
        info = MemberInfo("id-n1", "n1", peer, settings.http_advertised, level=LEVEL)
        await node.do(OpenSession(info, 1))
        return await serve(node, ManualClock(wall_ms=NOW_MS))

    server = portal.call(begin())
    yield server.url
    portal.call(server.close())


#: Takes a lock; a child of it comes to its end; then it ends itself, and closes nothing.
ENDS = """
import os, sys
from peercron import SyncClient

client = SyncClient(sys.argv[1])
lock = client.lock("db")
lock.acquire()
child = os.fork()
if not child:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
lock.check()
SyncClient(sys.argv[1]).lock("other").acquire()
raise SystemExit(sys.argv[2])
"""


def test_a_program_that_ends_gives_back_what_it_holds(url: str) -> None:
    with SyncClient(url) as client:
        program = [sys.executable, "-W", "error", "-c", ENDS, url, "its last word"]
        told = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
        assert (told.returncode, told.stderr) == (1, "its last word\n")
        with client.lock("db", wait=0), client.lock("other", wait=0):
            pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_is_interrupted_on_the_way_into_a_block_or_out_of_it_holds_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Ctrl-C, or the handler of an alarm, comes while the thread waits for its lock, or has just got it."""
    result = Future.result

    def interrupted(future: Future[Any], timeout: float | None = None) -> Any:
        if when == "after":
            result(future, timeout)
        raise KeyboardInterrupt

    with SyncClient(url) as client:
        client.queue("mail").put(1)
        (item,) = client.queue("mail").receive()
        with monkeypatch.context() as patch:
            patch.setattr(Future, "result", interrupted)
            for block in (client.lock("db"), item):
                with pytest.raises(KeyboardInterrupt), block:
                    raise AssertionError
        lock = client.lock("db", owner="another", wait="10s")
        lock.acquire()
        with monkeypatch.context() as patch:
            patch.setattr(Future, "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                lock.__exit__(None, None, None)
        with client.lock("db", owner="a third", wait="10s"):
            # Whose block was never begun is still who received it.
            assert len(client.queue("mail").receive(wait="10s" if when == "after" else 0)) == (when == "after")


def test_a_loop_over_what_comes_can_be_interrupted(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it waited for is on its way to its end when the loop is left."""
    seen: list[str] = []

    async def coming() -> AsyncGenerator[int, None]:
        try:
            yield 1
            seen.append("waits")
            await asyncio.sleep(30)
        finally:
            for _ in range(9):
                await asyncio.sleep(0)
            seen.append("closed")

    def interrupted(future: Future[Any], timeout: float | None = None) -> Any:
        patch.undo()
        while not seen:
            portal.call(asyncio.sleep(0))
        raise KeyboardInterrupt

    numbers = each(portal, coming())
    assert next(numbers) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(numbers)
    assert seen == ["waits", "closed"]


def test_state_and_jobs(url: str) -> None:
    with SyncClient(url) as client:
        revision = client.state.put("k", {"a": 1}, ttl="1m")
        assert client.state.get("k") == {"a": 1}
        client.state.cas("k", 2, revision)
        assert client.state.incr("k") == 3
        entry = client.state.entry("k")
        assert entry is not None
        assert [each.key for each in client.state.list()] == ["k"]
        assert client.state.delete("k", if_revision=entry.revision)
        client.jobs.put("hello", every="1h", shell="true")
        run = client.jobs.run("hello")
        assert client.jobs.wait(run["id"], "10ms")["id"] == client.jobs.find_run(run["id"])["id"]
        assert client.jobs.cancel(run["id"])["cancel_requested"]
        assert [client.jobs.get("hello")] == client.jobs.list()
        assert client.jobs.pause("hello")["paused"] != client.jobs.resume("hello")["paused"]
        assert client.jobs.runs("hello")[0]["id"] == run["id"]
        assert client.jobs.delete("hello")
        assert client.status()["healthy"]


def test_a_watch_from_one_thread_while_others_write(url: str) -> None:
    with SyncClient(url) as client:
        start = client.state.put("n", 0)
        writers = [threading.Thread(target=client.state.incr, args=("n",)) for _ in range(5)]
        for writer in writers:
            writer.start()
        watched = client.state.watch("n", after=start)
        assert [next(watched).value for _ in writers] == [1, 2, 3, 4, 5]
        watched.close()  # type: ignore[attr-defined]
        for writer in writers:
            writer.join()


def test_what_is_closed_says_so(url: str) -> None:
    client = SyncClient(url)
    client.close()
    with pytest.raises(PeercronError, match="closed"):
        client.status()


def test_threads_that_wait_when_it_is_closed_are_told(url: str) -> None:
    with SyncClient(url) as holder, holder.lock("db"):
        client, told, begun = SyncClient(url), [], threading.Barrier(5)

        def wait() -> None:
            begun.wait()
            try:
                client.lock("db", owner=threading.current_thread().name).acquire()
            except PeercronError as error:
                told.append(str(error))

        def pause() -> None:
            begun.wait()
            try:
                client._portal.call(asyncio.sleep(600))
            except PeercronError as error:
                told.append(str(error))

        threads = [threading.Thread(target=work) for work in (wait, wait, pause, pause)]
        for thread in threads:
            thread.start()
        begun.wait()
        client.close()
        for thread in threads:
            thread.join(10)
        assert (len(told), all("closed" in each for each in told)) == (4, True)


def test_a_fork_gets_no_client(url: str) -> None:
    with SyncClient(url) as client:
        client.status()
        child = os.fork()
        if child == 0:
            try:
                client.status()
            except PeercronError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_items_are_worked_on_by_threads(url: str) -> None:
    with SyncClient(url) as client:
        mail, done = client.queue("mail"), []
        for n in range(6):
            mail.put(n)

        def work() -> None:
            while delivery := mail.receive(wait="100ms"):
                for item in delivery:
                    with item:
                        item.check()
                        done.append((item.payload, item.token))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(payload for payload, _ in done) == list(range(6))
        assert len({token for _, token in done}) == 6
        mail.put("again")
        (item,) = mail.receive()
        item.nack()
        each = mail.items()
        assert next(each).payload == "again"
        each.close()  # type: ignore[attr-defined]
        assert mail.status()["in_flight"] == 1


def test_a_lock_says_which_thread_has_it(url: str) -> None:
    with SyncClient(url, label="a/1") as client:
        told = []

        def work() -> None:
            with client.lock("db", wait="30s") as lock:
                lock.check()
                told.append((lock.token, lock.held))
                # Ours, and nobody else's: not even under the same label.
                with pytest.raises(Refused, match=threading.current_thread().name):
                    client.lock("db", wait=0, owner="other").acquire()

        threads = [threading.Thread(target=work, name=f"Thread-{n}") for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({token for token, _ in told}) == 3
        assert all(held for _, held in told)


def test_threads_of_one_name_are_told_apart(url: str) -> None:
    """Whoever waits for a lock that its namesake has waits for somebody else, and not for itself."""
    with SyncClient(url, label="A") as client:
        both, owners = threading.Barrier(2), []

        def work() -> None:
            both.wait()
            with client.lock("db", wait="30s"):
                owners.append(client._portal.call(_owner_of("default/db", client)))

        threads = [threading.Thread(target=work, name="worker") for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process = f"{socket.gethostname()}/A-{os.getpid()}"
        assert len(set(owners)) == 2
        assert all(owner.startswith(f"{process}/worker#") for owner in owners)


async def _owner_of(key: str, client: SyncClient) -> str:
    told = await client._inner._link.ask("GET", "/v1/locks/" + key)
    owner: str = told.json["holders"][0]["owner"]
    return owner


def test_a_thread_can_look_whether_it_was_told(url: str) -> None:
    lost = threading.Event()
    with SyncClient(url) as client:
        client.lock("db", on_lost=lambda why: lost.set()).acquire()
    assert lost.wait(10)


def test_a_blocking_face_has_all_that_is_behind_it() -> None:
    for face, inner in (
        (SyncClient, Client),
        (SyncState, State),
        (SyncJobs, Jobs),
        (SyncLock, Lock),
        (SyncQueue, Queue),
        (SyncDelivery, Delivery),
        (SyncItem, Item),
    ):
        asynchronous = {name for name, it in vars(inner).items() if inspect.iscoroutinefunction(it) and name[0] != "_"}
        assert asynchronous - {"begin", "end", "freshen", "ask"} <= vars(face).keys()
    assert inspect.signature(SyncState.put) == inspect.signature(State.put)
    assert list(inspect.signature(SyncClient.__init__).parameters) == list(inspect.signature(Client).parameters)
