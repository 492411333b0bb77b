"""Assembly: parts of a node as its settings ask for them."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from peercron import __version__
from peercron.address import peer_names, split_address
from peercron.clock import Clock, SystemClock
from peercron.consensus.disk import Disk, FolderDisk
from peercron.consensus.driver import SNAPSHOT_JOURNAL_BYTES
from peercron.consensus.journal import TAIL_ENTRIES_MAX, Journal
from peercron.consensus.membership import founding
from peercron.consensus.port import Carrier
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotStore
from peercron.consensus.transport import Listener, Transport
from peercron.core import level
from peercron.core.member import Configuration, MemberInfo, Role, Seat
from peercron.execution.port import AttemptResult, Executor
from peercron.execution.supervisor import Supervisor
from peercron.identity import DataDir
from peercron.machine import Machine
from peercron.settings import Settings
from peercron.wire.frames import secret_key

OnStarted = Callable[[str, int, int], None]
OnFinished = Callable[[AttemptResult], None]


class Network(Carrier, Protocol):
    """The connections to the other peers."""

    async def start(self, host: str, port: int) -> None:
        """Listen and begin to dial. OSError: the address cannot be had."""


class Parts:
    """What a node stands on: time, chance, disk, network, processes. A simulator puts its own in place of each.

    Args:
        settings: what the node was told.
        clock: monotonic and wall time.
        rng: chance, for time-outs.
        server_tls, client_tls: for the connections between peers, or None.
    """

    #: The newest segment of the journal has grown to this: time for a snapshot.
    journal_bytes_max: int = SNAPSHOT_JOURNAL_BYTES
    #: Entries before a snapshot that stay at hand for followers that are a little behind.
    tail_entries: int = TAIL_ENTRIES_MAX

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Final = clock or SystemClock()
        self.rng: Final = rng or random.Random()
        self._server_tls, self._client_tls = server_tls, client_tls

    def data_dir(self) -> DataDir:
        """Who this member is, held for this process. DataDirError: it cannot be used."""
        return DataDir(self.settings.data_dir)

    def disk(self) -> Disk:
        """Where log and snapshots are."""
        return FolderDisk(self.settings.data_dir / "log", durable=self.settings.durability == "fsync")

    def network(self, cluster: str, listener: Listener) -> Network:
        """The connections to the other peers; they begin when it is started."""
        settings = self.settings
        others = {peer: split_address(peer) for peer in settings.peers if peer != settings.self_address}
        return Transport(
            settings.self_address,
            others,
            cluster,
            secret_key(settings.secret or b""),
            listener,
            server_tls=self._server_tls,
            client_tls=self._client_tls,
        )

    def executor(self, on_started: OnStarted, on_finished: OnFinished) -> Executor:
        """Who runs this member's attempts."""
        return Supervisor(self.settings.data_dir, self.settings.name, self.clock, on_started, on_finished)


def open_replica(parts: Parts, machine: Machine) -> Replica:
    """The consensus, from what the data directory holds.

    Raises:
        JournalDamaged, SnapshotDamaged: that is unreadable.
        TooOld: a newer version wrote it.
    """
    settings, disk = parts.settings, parts.disk()
    names = peer_names(settings.peers)  # not what we know of ourselves: the same on all founders
    seats = tuple(Seat(address, names[address], address) for address in sorted(settings.peers))
    journal = Journal(disk, founding(Configuration(seats)), tail_entries=parts.tail_entries)
    store, now_s = SnapshotStore(disk), parts.clock.monotonic()
    return Replica(settings.self_address, journal, store, machine, settings.timers, parts.rng, now_s)


def describe(settings: Settings) -> MemberInfo:
    """What this member says of itself when it opens a session."""
    address, http = settings.self_address, settings.http_advertised
    role = Role(settings.role)
    return MemberInfo(address, settings.name, address, http, settings.dc, settings.tags, role, __version__, level.LEVEL)
