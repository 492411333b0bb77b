"""Assembly: parts of a node as its settings ask for them."""

from __future__ import annotations

import random
import ssl

from peercron import __version__
from peercron.address import peer_names, split_address
from peercron.consensus.disk import FolderDisk
from peercron.consensus.journal import Journal
from peercron.consensus.membership import founding
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotStore
from peercron.consensus.transport import Listener, Transport
from peercron.core.member import Configuration, MemberInfo, Role, Seat
from peercron.machine import Machine
from peercron.settings import Settings
from peercron.wire.frames import secret_key


def open_replica(settings: Settings, machine: Machine, now_s: float) -> Replica:
    """The consensus, from what the data directory holds.

    Raises:
        JournalDamaged, SnapshotDamaged: that is unreadable.
    """
    disk = FolderDisk(settings.data_dir / "log", durable=settings.durability == "fsync")
    names = peer_names(settings.peers)  # not what we know of ourselves: the same on all founders
    seats = tuple(Seat(address, names[address], address) for address in sorted(settings.peers))
    journal = Journal(disk, founding(Configuration(seats)))
    store = SnapshotStore(disk)
    return Replica(settings.self_address, journal, store, machine, settings.timers, random.Random(), now_s)


def describe(settings: Settings) -> MemberInfo:
    """What this member says of itself when it opens a session."""
    address, http = settings.self_address, settings.http_advertised
    role = Role(settings.role)
    return MemberInfo(address, settings.name, address, http, settings.dc, settings.tags, role, __version__)


def make_transport(
    settings: Settings,
    cluster: str,
    listener: Listener,
    server_tls: ssl.SSLContext | None,
    client_tls: ssl.SSLContext | None,
) -> Transport:
    """The connections to the other peers; they begin when it is started."""
    others = {peer: split_address(peer) for peer in settings.peers if peer != settings.self_address}
    key = secret_key(settings.secret or b"")
    return Transport(
        settings.self_address, others, cluster, key, listener, server_tls=server_tls, client_tls=client_tls
    )
