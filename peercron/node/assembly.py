"""Assembly: parts of a node as its settings ask for them."""

from __future__ import annotations

import logging
import random
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from peercron import __version__
from peercron.address import peer_names
from peercron.clock import Clock, SystemClock
from peercron.consensus.disk import Disk, FolderDisk
from peercron.consensus.entry import BLANK
from peercron.consensus.journal import TAIL_ENTRIES_MAX, Journal
from peercron.consensus.membership import founding
from peercron.consensus.port import Carrier
from peercron.consensus.replica import Replica
from peercron.consensus.scribe import SNAPSHOT_JOURNAL_BYTES
from peercron.consensus.snapshots import SnapshotStore
from peercron.consensus.transport import Gate, Listener, Transport
from peercron.core import level
from peercron.core.member import Configuration, MemberInfo, Role, Seat
from peercron.errors import DataDirError
from peercron.execution.port import AttemptResult, Executor
from peercron.execution.supervisor import Supervisor
from peercron.health.probes import Prober
from peercron.health.watches import Looks
from peercron.identity import DataDir, Identity
from peercron.machine import Machine
from peercron.settings import Settings
from peercron.wire.frames import secret_key

log = logging.getLogger(__name__)

OnStarted = Callable[[str, int, int], None]
OnFinished = Callable[[AttemptResult], None]


class Network(Carrier, Protocol):
    """The connections to the other peers."""

    async def start(self, host: str, port: int) -> None:
        """Listen and begin to dial. OSError: the address cannot be had."""

    def set_peers(self, peers: Mapping[str, tuple[str, int]], hints: tuple[tuple[str, int], ...] = ()) -> None:
        """These are the peers now, at these addresses; and somebody may be at those."""

    def review(self) -> None:
        """More is known of the members: ask the gate again about each connection."""


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

    def pass_key(self, data_dir: DataDir) -> bytes:
        """What the passes of root and of runs are made with: where the cluster has no secret, this node has its own."""
        return self.settings.secret or data_dir.own_secret()

    def disk(self) -> Disk:
        """Where log and snapshots are."""
        return FolderDisk(self.settings.data_dir / "log", durable=self.settings.durability == "fsync")

    def slice_disk(self) -> Disk:
        """Where is written what was done in slices, before the cluster knows."""
        return FolderDisk(self.settings.data_dir / "slices", durable=self.settings.durability == "fsync")

    def fresh_id(self) -> str:
        """A random id that nobody has."""
        return secrets.token_hex(8)

    def network(self, identity: Identity, listener: Listener, gate: Gate) -> Network:
        """The connections to the other members; who they are is told later, and nothing begins before it is started."""
        return Transport(
            identity.member,
            {},
            identity.cluster,
            secret_key(self.settings.secret or b""),
            listener,
            incarnation=identity.incarnation,
            gate=gate,
            rng=self.rng,
            server_tls=self._server_tls,
            client_tls=self._client_tls,
        )

    def executor(self, on_started: OnStarted, on_finished: OnFinished) -> Executor:
        """Who runs this member's attempts."""
        settings = self.settings
        return Supervisor(
            settings.data_dir,
            settings.name,
            self.clock,
            on_started,
            on_finished,
            modules=settings.imports,
            ca=settings.tls_ca,
        )

    def prober(self) -> Looks:
        """Who makes the probes of checks."""
        return Prober()


def identify(settings: Settings, parts: Parts, data_dir: DataDir) -> Identity:
    """Who this node is.

    Raises:
        ConfigError, DataDirError: it cannot be what it was told to be.
    """
    identity = data_dir.identify(settings.cluster, settings.self_address, settings.peers, parts.fresh_id)
    if settings.peers and set(settings.peers) != set(identity.founders):
        since = f"the cluster began with {', '.join(identity.founders)}, and knows its members by itself since"
        log.info("peers_not_needed", extra={"reason": f"{since}: --peers only says where somebody may be found"})
    return identity


def open_replica(parts: Parts, identity: Identity, machine: Machine) -> Replica:
    """The consensus, from what the data directory holds.

    Raises:
        DataDirError: our address is that of another member.
        JournalDamaged, SnapshotDamaged: what it holds is unreadable.
        TooOld: a newer version wrote it.
    """
    disk = parts.disk()
    birth = founding(founders(identity.founders)) if identity.founded else BLANK
    journal = Journal(disk, birth, tail_entries=parts.tail_entries)
    store, now_s = SnapshotStore(disk), parts.clock.monotonic()
    replica = Replica(identity.member, journal, store, machine, parts.settings.timers, parts.rng, now_s)
    _refuse_anothers_address(parts.settings, identity, replica.configuration)
    return replica


def founders(addresses: tuple[str, ...]) -> Configuration:
    """The configuration with which a cluster of these begins: the same on all of them."""
    names = peer_names(addresses)  # not what we know of ourselves
    return Configuration(tuple(Seat(address, names[address], address) for address in sorted(addresses)))


def _refuse_anothers_address(settings: Settings, identity: Identity, configuration: Configuration) -> None:
    mine = configuration.seat(identity.member)
    for seat in configuration.seats:
        if seat.address == identity.address and seat.id != identity.member:
            owner = mine.address if mine is not None else identity.member
            raise DataDirError(
                f"{settings.data_dir} belongs to {owner}, this node is {identity.address}, which is the address of "
                f"member {seat.name}; see --self and --data-dir"
            )


def describe(settings: Settings, identity: Identity, name: str, role: Role) -> MemberInfo:
    """What this member says of itself when it opens a session."""
    return MemberInfo(
        identity.member,
        name,
        identity.address,
        settings.http_advertised,
        settings.dc,
        settings.tags,
        role,
        __version__,
        level.LEVEL,
        identity.incarnation,
    )
