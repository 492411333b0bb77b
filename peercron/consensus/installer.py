"""Installer: a replica's snapshots: its own, those it gives to followers, and the one it may need itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from peercron.consensus.arriving import Arriving, Restoration
from peercron.consensus.entry import CONFIGURATION
from peercron.consensus.journal import Journal
from peercron.consensus.membership import Membership, decode, encode
from peercron.consensus.messages import Message
from peercron.consensus.reader import Reader
from peercron.consensus.snapshots import (
    SnapshotDamaged,
    SnapshotInfo,
    SnapshotStore,
    SnapshotWriter,
    split_header,
    with_header,
)
from peercron.consensus.transfer import Transfer
from peercron.core.member import VOTING, Configuration, Role


class Machine(Protocol):
    """The state machine above the log. Each of these must not raise, but for TooOld: then nothing was done."""

    def apply(self, index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None: ...
    def configured(self, configuration: Configuration) -> None:
        """Who belongs to the cluster, from here in the log on."""

    def restore(self, chunks: Iterable[bytes]) -> None: ...
    def restoration(self) -> Restoration:
        """For `restore` a piece at a time."""


class Installer(Reader):
    """Keeps log and snapshots fitting together: whatever the log has forgotten, a durable snapshot stands for."""

    #: By the acting configuration: do we only vote, and who does not vote yet?
    is_witness = False
    _learners: tuple[str, ...] = ()

    def __init__(self, me: str, journal: Journal, store: SnapshotStore, machine: Machine, now_s: float) -> None:
        super().__init__(me, journal, now_s)
        self.store, self._machine = store, machine
        self._transfer = Transfer(store, self._arriving_writer)
        self._arriving: Arriving | None = None
        #: A follower needs a snapshot, and there is none.
        self.snapshot_wanted = False
        self.snapshot_index = self._restore()

    def begin_snapshot(self) -> SnapshotWriter:
        """The state as it is now is about to be written: a new segment begins here."""
        index = self.kernel.applied
        term = self.journal.term_at(index)
        assert term is not None
        self.journal.begin_segment(index, term)
        writer = self.store.writer(index, term)
        writer.write(with_header(encode(self.membership.at(index))))
        return writer

    def snapshot_published(self, index: int) -> None:
        """It is durable: the log before it is no longer needed."""
        self.snapshot_index = max(self.snapshot_index, index)
        self.snapshot_wanted = False
        self.journal.drop_old_segments()
        self.store.prune()

    def offer_snapshot(self, peer: str) -> None:
        offer = self._transfer.offer(self.kernel.term)
        if offer is not None:
            self.send(peer, offer)
        else:
            self.snapshot_wanted = True

    def _on_snapshot_offer(self, peer: str, message: Message) -> None:
        if (
            message["term"] == self.kernel.term
            and peer == self.kernel.leader
            and message["index"] > self.kernel.applied
        ):
            for request in self._transfer.offered(message, self._now_s):
                self.send(peer, request)

    def _on_snapshot_get(self, peer: str, message: Message) -> None:
        answer = self._transfer.serve(message)
        if answer is not None:
            self.send(peer, answer)

    def _on_snapshot_chunk(self, peer: str, message: Message) -> None:
        writer, requests = self._transfer.arrived(message, self._now_s)
        for request in requests:
            self.send(peer, request)
        if writer is None:
            return
        if writer.index <= self.kernel.applied:
            writer.discard()
            return
        self._install(writer)
        if peer == self.kernel.leader:
            self._acknowledge(peer, writer.index + 1, matched=True)

    def _arriving_writer(self, index: int, term: int) -> SnapshotWriter:
        writer = self.store.writer(index, term)
        self._arriving = Arriving(self._machine.restoration())
        writer.echo = self._arriving.feed
        return writer

    def _install(self, writer: SnapshotWriter) -> None:
        """First the snapshot is durable, then the log may forget what it stands for.

        Raises:
            TooOld: a newer version wrote it; the disk is as before.
        """
        info = writer.finish()
        arriving, self._arriving = self._arriving, None
        assert arriving is not None, "who writes is read"
        try:
            configuration, _ = self._open(info)
            arriving.take_over()
        except Exception:
            self.store.remove(info)
            raise
        self.journal.begin_segment(info.index, info.term)
        self.membership = self._found(info.index, configuration)
        self.kernel.jump_to(info.index)
        self._configure()
        self.snapshot_published(info.index)

    def _restore(self) -> int:
        """Bring the state machine to the newest readable snapshot, and the log to where it fits: the index."""
        base = self.journal.base[0]
        for info in self.store.all():
            if info.index < base:
                break
            try:
                self.store.verify(info)
            except SnapshotDamaged:
                continue
            configuration, contents = self._open(info)
            self._machine.restore(contents)
            if self.journal.term_at(info.index) != info.term:
                self.journal.begin_segment(info.index, info.term)
                self.journal.drop_old_segments()
            self.membership = self._found(info.index, configuration)
            return info.index
        if base > 1:
            raise SnapshotDamaged(f"the log begins at entry {base} and no readable snapshot reaches it")
        self.membership = self._begin()
        return base

    def _configure(self) -> None:
        """The acting configuration is another one."""
        seats = self.membership.acting.seats
        self.kernel.configure(self.membership.acting.voters, self.membership.acting.learners)
        mine = self.membership.acting.seat(self.me)
        self.votes = mine is not None and mine.role in VOTING
        self.is_witness = mine is not None and mine.role is Role.WITNESS
        self._learners = self.membership.acting.learners
        self.election.peers = self._reads.voters = self.kernel.voters
        voting = [seat for seat in seats if seat.role is not Role.LEARNER]
        self.election.order = tuple(seat.id for seat in sorted(voting, key=lambda s: (s.role is Role.WITNESS, s.id)))

    def _begin(self) -> Membership:
        """There is no snapshot: a founder's log begins with the configuration, a newcomer's with nothing."""
        command, index, _ = self.journal[0]
        configuration = Configuration()
        if command[:1] == CONFIGURATION:
            configuration = decode(command)
            self._machine.configured(configuration)
        return self._found(index, configuration)

    def _found(self, index: int, configuration: Configuration) -> Membership:
        """The configuration as of `index`, and those that follow it in the log."""
        found = Membership(index, configuration)
        found.appended(self.journal[index + 1 - self.journal.base[0] :])
        return found

    def _open(self, info: SnapshotInfo) -> tuple[Configuration, Iterator[bytes]]:
        header, contents = split_header(self.store.contents(info))
        return decode(header), contents

    def _acknowledge(self, peer: str, next_index: int, *, matched: bool) -> None:
        answer = {"type": "next_node_idx", "next_node_idx": next_index, "reset": not matched, "success": matched}
        self.send(peer, answer)
