"""Machine: the cluster's state behind the log; proposals come as bytes, verdicts of our own go to who waits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from peercron.core import level
from peercron.core.apply import apply_proposal
from peercron.core.apply.configuration import configure
from peercron.core.chronicle import Chronicle
from peercron.core.commands import AbandonRestore, AdoptSnapshot, BeginRestore, Command, Proposal, StageSnapshot
from peercron.core.member import Configuration
from peercron.core.state import ClusterState
from peercron.core.tally import Tally
from peercron.core.verdict import Verdict
from peercron.errors import SnapshotTooNew, TooOld
from peercron.wire import snapshot
from peercron.wire.codec import UnknownRow, unpack_proposal
from peercron.wire.staging import Staging

log = logging.getLogger(__name__)

#: After these the staged parts are others than before.
_STAGING = frozenset({BeginRestore, StageSnapshot, AbandonRestore})


class Machine:
    """Holds the ClusterState of one member.

    Args:
        me: member id whose verdicts are collected.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self.state = ClusterState(chronicle=Chronicle(0))
        self._staging = Staging()
        self._tally = Tally()
        #: Grows when `state` is another object or has other tables (a snapshot was put in its place).
        self.generation = 0
        #: (session, seq, verdict) of our own proposals, applied and not yet told.
        self.verdicts: list[tuple[int, int, Verdict]] = []

    def apply(self, index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
        """Apply the proposals of one log entry; bytes that are no proposal change nothing, here as on every member.

        Raises:
            TooOld: nothing of the entry was applied, since this version does not understand all of it; or it stands
                where the cluster went on to a level that this version does not speak. Nothing may follow.
        """
        before = self.state.level
        for proposal in self._read(index, payloads):
            self._understand(f"entry {index} of the log", self.state)
            verdict = self._apply(index, proposal, now_ms)
            if proposal.member == self._me:
                self.verdicts.append((proposal.session, proposal.seq, verdict))
        if self.state.level != before:
            log.info(
                "level_raised", extra={"spoken": self.state.level, "release": level.RELEASES.get(self.state.level)}
            )

    def objection(self, command: Command) -> str:
        """Why a command must not be proposed, as far as we know: not all members know it; empty: they do."""
        return level.objection(self.state, command)

    def configured(self, configuration: Configuration) -> None:
        """This is who belongs to the cluster from here in the log on. TooOld: as for `apply`."""
        self._understand("a configuration", self.state)
        configure(self.state, configuration)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Put the state of a snapshot in place of ours; verdicts it remembers for us are told.

        Raises:
            TooOld: it was written by a newer version; nothing has changed.
            SnapshotUnreadable: it is no snapshot.
        """
        restoration = self.restoration()
        for chunk in chunks:
            restoration.feed(chunk)
        restoration.take_over()

    def restoration(self) -> Restoration:
        """For `restore` a piece at a time."""
        return Restoration(self)

    def take_over(self, state: ClusterState) -> None:
        """Put this state in place of ours; verdicts it remembers for us are told. TooOld: as for `restore`."""
        self._understand("the snapshot", state)
        counting = self.state.tally is not None
        self.state = state
        state.chronicle = Chronicle(state.index)
        if counting:
            self.count()
        self._staging = Staging()
        self.generation += 1
        member = self.state.members.get(self._me)
        if member is not None:
            for seq, verdict in self.state.results.get(self._me, {}).items():
                self.verdicts.append((member.session, seq, verdict))

    def count(self) -> None:
        """Count from here on what happens: what was applied before may have been counted before this process began."""
        self._tally.take_stock(self.state)
        self.state.tally = self._tally

    def frozen(self) -> Iterator[bytes]:
        """The state as it is now, as blocks of a snapshot."""
        return snapshot.blocks(snapshot.freeze(self.state))

    def _apply(self, index: int, proposal: Proposal, now_ms: int) -> Verdict:
        """Apply one proposal. The core reads no bytes: those of a restore are read here."""
        state, kind = self.state, type(proposal.command)
        if kind is not AdoptSnapshot:
            verdict = apply_proposal(state, proposal, now_ms)
            if kind in _STAGING:
                self._staging.read_on(state)
            return verdict
        generation = state.generation
        try:
            state.staged_state = self._staging.take(state)
        except SnapshotTooNew as error:
            # Others may be able to read it, and go on where we could not follow.
            raise self.too_old(f"entry {index} of the log restores a snapshot: {error}", state) from None
        verdict = apply_proposal(state, proposal, now_ms)
        state.staged_state = None
        if state.generation != generation:
            self.generation += 1
        return verdict

    def _read(self, index: int, payloads: tuple[bytes, ...]) -> list[Proposal]:
        """All proposals of an entry, before the first is applied."""
        proposals = []
        for payload in payloads:
            try:
                proposals.append(unpack_proposal(payload))
            except UnknownRow as unknown:
                what = f"entry {index} of the log holds {unknown}, which this version does not know"
                raise self.too_old(what, self.state) from None
            except (ValueError, TypeError) as error:
                log.warning("unreadable_proposal", extra={"entry": index, "reason": str(error)})
        return proposals

    def _understand(self, what: str, state: ClusterState) -> None:
        """What follows a level that we do not speak may mean something else than we take it for."""
        if state.level > level.LEVEL:
            spoken = f"{what} is in level {state.level} of the language, this version speaks {level.LEVEL}"
            raise self.too_old(spoken, state)

    def too_old(self, what: str, state: ClusterState | None = None) -> TooOld:
        """What stops us, with the name of a member that runs a newer version, if the state (ours) knows one."""
        members = (state or self.state).members
        others = [member.info for member_id, member in members.items() if member_id != self._me]
        newer = [info for info in others if info.level > level.LEVEL]
        return TooOld(f"{what} ({newer[0].name} runs {newer[0].version})" if newer else what)


class Restoration:
    """The state of a snapshot on its way into a machine. Raises what `Machine.restore` does, and `feed` also what
    bytes bring about that nobody wrote.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine, self._thawing = machine, snapshot.Thawing()

    def feed(self, chunk: bytes) -> None:
        try:
            self._thawing.feed(chunk)
        except TooOld as error:
            raise self._machine.too_old(error.what) from None

    def take_over(self) -> None:
        self._machine.take_over(self._thawing.finish())
