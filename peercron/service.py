"""Service: a node as a process: HTTP around it, signals, systemd, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from peercron.collector import Calm, resting
from peercron.consensus.journal import JournalDamaged
from peercron.consensus.raft import KernelMismatch
from peercron.consensus.snapshots import SnapshotDamaged
from peercron.errors import (
    ConfigError,
    DataDirError,
    DiskFull,
    Expelled,
    PeercronError,
    PeerRejected,
    Problem,
    ProposalError,
    Refused,
    TooOld,
)
from peercron.http.app import Server, serve
from peercron.identity import RENEWED
from peercron.node import Node
from peercron.node.assembly import Parts
from peercron.node.importing import import_jobs
from peercron.node.joining import join
from peercron.node.notify import notify, watchdog_s
from peercron.settings import Settings
from peercron.space import disk_full
from peercron.wire.snapshot import SnapshotUnreadable

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

USAGE: Final = 2
FAILED: Final = 1
#: What is to be done where there is no room. Nothing that was said to be done is lost: it is on the disk already.
MAKE_ROOM: Final = "then start this node again, unless somebody does that for it; what it acknowledged is kept"
#: How often readiness is looked at until it is there.
READY_LOOK_S: Final = 0.05
SEED_TIMEOUT_S: Final = 10.0
SEED_PAUSE_S: Final = 1.0


async def run_node(settings: Settings) -> int:
    """Run one node until SIGTERM or SIGINT; the exit code.

    0: it ended in order. 1: its data is a newer version's, another pysyncobj is installed, or its disk is full, with
    which it ends too: whoever started it starts it again, until there is room. 2: to start it again will not help: it
    was told what cannot be done, the cluster has no place for it, or its data is damaged.
    """
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    for warning in settings.warnings:
        log.warning("settings", extra={"reason": warning})
    try:
        begun = await _begin(settings, ending)
    except OSError as error:
        full = disk_full(error, settings.data_dir)
        return _say_full(full) if full is not None else _say(error, FAILED)
    except (ConfigError, DataDirError, Refused, PeerRejected) as error:
        return _say(error, USAGE)
    except (JournalDamaged, SnapshotDamaged, SnapshotUnreadable) as error:
        return _say(DataDirError(f"{settings.data_dir} is damaged: {error}; {RENEWED}"), USAGE)
    except (TooOld, KernelMismatch) as error:
        return _say(error, FAILED)
    return await _go_on(*begun, ending) if begun is not None else 0


async def _begin(settings: Settings, ending: asyncio.Event) -> tuple[Node, Server] | None:
    """A node that runs, and its HTTP; None: we were told to end before that."""
    server_tls, client_tls = _contexts(settings)
    parts = Parts(settings, server_tls=server_tls, client_tls=client_tls)
    if settings.join:
        taken = await _unless(ending, _join(parts, client_tls))
        if taken is None:
            return None
        settings = parts.settings = taken
    with resting():
        node = Node(settings, parts)
    server = await serve(node)
    await _listen(node, settings)
    return node, server


async def _go_on(node: Node, server: Server, ending: asyncio.Event) -> int:
    """Until we are told to end, or it can do nothing more."""
    calm = Calm()
    calm.begin()
    log.info("node_started", extra={"node": node.name, "address": node.settings.self_address, "http": server.url})
    duties: list[Coroutine[Any, Any, None]] = [_tell_systemd(node), _warn(node), _seed(node), import_jobs(node)]
    tasks = [asyncio.get_running_loop().create_task(duty) for duty in duties]
    await _unless(ending, _over(node))
    notify("STOPPING=1")
    log.info("node_ending", extra={"node": node.name})
    for task in tasks:
        task.cancel()
    expelled = node.membership.expelled
    if expelled:  # nothing that is asked here can be done any more, and who waits could ask elsewhere
        await asyncio.gather(node.stop(), server.close())
    else:
        await node.stop()
        await server.close()
    calm.end()
    if isinstance(node.halt_error, DiskFull):
        return _say_full(node.halt_error)
    return _say(Expelled(expelled), USAGE) if expelled else 0


async def _unless(ending: asyncio.Event, work: Coroutine[Any, Any, Answer]) -> Answer | None:
    """What comes of the work; None: we were told to end before that."""
    task, end = asyncio.ensure_future(work), asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        end.cancel()


async def _over(node: Node) -> None:
    """Wait until it can do nothing more: its cluster has no place for it, or its disk has no room."""
    waits = [asyncio.ensure_future(event.wait()) for event in (node.membership.ended, node.disk_is_full)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _join(parts: Parts, client_tls: ssl.SSLContext | None) -> Settings:
    data_dir = parts.data_dir()
    try:
        return await join(parts.settings, data_dir, parts.fresh_id, client_tls)
    finally:
        data_dir.close()


async def _listen(node: Node, settings: Settings) -> None:
    try:
        await node.start()
    except OSError as error:
        if (full := disk_full(error, settings.data_dir)) is not None:
            raise full from error
        message = f"cannot listen on {settings.self_address}: {error.strerror or error}"
        raise ConfigError([Problem("--self", message)]) from error


def _contexts(settings: Settings) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """(TLS for incoming peers, for outgoing): both ends show a certificate of the same CA."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None, None
    contexts = []
    try:
        for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH):
            context = ssl.create_default_context(purpose, cafile=settings.tls_ca)
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
            context.verify_mode = ssl.CERT_REQUIRED
            contexts.append(context)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            [Problem("--tls-cert", f"{settings.tls_cert} and its key cannot be used: {error}")]
        ) from error
    return contexts[0], contexts[1]


async def _tell_systemd(node: Node) -> None:
    """READY once we are part of the cluster; then signs of life, as long as the log can be written."""
    await _ready(node)
    notify(f"READY=1\nSTATUS=member {node.name}, leader {node.leader()}, term {node.term}")
    every_s = watchdog_s()
    while every_s is not None:
        if node.alive():
            notify(f"WATCHDOG=1\nSTATUS=leader {node.leader()}, term {node.term}")
        await asyncio.sleep(every_s)


async def _warn(node: Node) -> None:
    """Once, when it is known whether there are access tokens."""
    await _ready(node)
    if exposed := node.exposed:
        log.warning("open_to_all", extra={"reason": exposed})


async def _ready(node: Node) -> None:
    while not all(well for _, well, _ in node.ready()):  # noqa: ASYNC110 - made of several things, none of which tells
        await asyncio.sleep(READY_LOOK_S)


async def _seed(node: Node) -> None:
    """Apply --seed once, if the cluster has no jobs; the check and the deed are one command."""
    if node.settings.seed is None:
        return
    # Read late: a node without a seed need not load what reads it.
    from peercron.http.documents import seed_command

    command = seed_command(node.settings.seed)
    while True:
        try:
            await node.propose(command, SEED_TIMEOUT_S)
        except ProposalError as error:
            if not error.retryable:
                log.info("seed_not_applied", extra={"reason": str(error)})
                return
            await asyncio.sleep(SEED_PAUSE_S)
        else:
            log.info("seed_applied", extra={"file": str(node.settings.seed)})
            return


def _say_full(error: DiskFull) -> int:
    return _say(DiskFull(f"{error}; {MAKE_ROOM}"), FAILED)


def _say(error: Exception, code: int) -> int:
    text = str(error) if isinstance(error, PeercronError) else f"{type(error).__name__}: {error}"
    sys.stderr.write(f"peercron: {text}\n")
    return code
