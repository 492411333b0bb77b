"""A replica meets what a newer version wrote: it stops before it, also after a restart, and goes on once upgraded."""

from __future__ import annotations

import typing
from dataclasses import dataclass

import pytest

from peercron.consensus.entry import CONFIGURATION, Entry
from peercron.consensus.snapshots import SnapshotStore, with_header
from peercron.core import apply as apply_package
from peercron.core import commands, level, since
from peercron.core.apply import apply
from peercron.core.commands import OpenSession, Proposal, PutKey
from peercron.core.member import MemberInfo
from peercron.core.state import ClusterState
from peercron.core.verdict import Verdict
from peercron.core.views import digest
from peercron.errors import TooOld
from peercron.machine import Machine
from peercron.wire import codec
from peercron.wire.plain import pack, unpack
from tests.consensus.staged import Stage, command, voters

OURS = level.LEVEL
NEXT = level.LEVEL + 1


@dataclass(frozen=True, slots=True)
class Touch:
    """A command of the next version."""

    key: str


def touch(state: ClusterState, command: Touch) -> Verdict:
    state.index -= 1  # the write below is this command
    return apply(state, PutKey("touched", command.key, b"!"), state.now_ms)


def upgrade(patch: pytest.MonkeyPatch) -> None:
    """From here on this process runs the next version."""
    patch.setattr(level, "LEVEL", NEXT)
    patch.setitem(level.RELEASES, NEXT, "9.9.9")
    patch.setitem(since.SINCE, Touch, NEXT)
    patch.setattr(commands, "Command", typing.Union[commands.Command, Touch])  # noqa: UP007 - one that can be computed
    patch.setitem(apply_package.APPLY, Touch, touch)  # type: ignore[misc]
    patch.setitem(codec.NAMES, Touch, "touch")
    patch.setitem(codec._TYPES, "touch", Touch)
    codec._plan.cache_clear()
    encode, decode = codec._plan(Proposal)
    patch.setattr(codec, "_encode_proposal", encode)
    patch.setattr(codec, "_decode_proposal", decode)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        yield patch
    codec._plan.cache_clear()


def told(member: str, seq: int, what: commands.Command, session: int = 1) -> bytes:
    return codec.pack_proposal(Proposal(member, session, seq, seq, what))


def opening(member: str, speaks: int, session: int = 1) -> bytes:
    info = MemberInfo(member, member, f"{member}:1", f"{member}:2", version="9.9.9", level=speaks)
    return told(member, session, OpenSession(info, session), session)


def log_of_both_versions(speaks: int) -> list[Entry]:
    """Written by b and c, which run the next version; what it knows of a is what that spoke when it came last."""
    with pytest.MonkeyPatch.context() as patch:
        upgrade(patch)
        written = [
            command(opening("a", speaks), opening("b", NEXT), opening("c", NEXT)),
            command(told("b", 2, PutKey("default", "k", b"1")), told("c", 2, PutKey("default", "k", b"2"))),
            command(told("b", 3, PutKey("default", "k", b"3")), told("c", 3, Touch("x"))),  # type: ignore[arg-type]
            command(told("b", 4, PutKey("default", "k", b"4"))),
        ]
    codec._plan.cache_clear()
    return [(content, index, 1) for index, content in enumerate(written, 2)]


@dataclass(frozen=True)
class Case:
    """A log, and where a member of this version must stop in it."""

    log: list[Entry]
    stop: int
    said: str


#: Nobody proposes a command that not all know; if somebody does, who does not know it stops there and nobody else does.
UNKNOWN = Case(log_of_both_versions(OURS), 4, "entry 4 of the log holds the command 'touch' of c, .* upgrade it")
#: This member ran the next version before, and the cluster went on to that.
OUTGROWN = Case(log_of_both_versions(NEXT), 3, f"entry 3 of the log is in level {NEXT} .*b runs 9.9.9.* upgrade it")
each_case = pytest.mark.parametrize("case", [UNKNOWN, OUTGROWN], ids=["unknown", "outgrown"])


def stage(case: Case) -> Stage:
    """Member a, on whose disk the whole log is, of which it knows nothing to be committed."""
    found = Stage("b", "c", machine=lambda: Machine("a"))
    found.append("b", 1, (1, 0), *case.log)
    assert found.replica.journal.last == (5, 1)
    return found


def commit(member: Stage, index: int) -> None:
    """The leader b tells how far the log is committed, and the member applies as far as it can."""
    member.append("b", 1, (5, 1), commit=index)


def state_after(case: Case, index: int) -> ClusterState:
    """What a machine of the next version makes of the log up to here."""
    with pytest.MonkeyPatch.context() as patch:
        upgrade(patch)
        machine = Machine("z")
        machine.configured(voters("a", "b", "c"))
        for content, at, _ in case.log:
            if at <= index:
                machine.apply(at, 0, unpack(content[1:])[2])
    codec._plan.cache_clear()
    return machine.state


@each_case
def test_it_stops_before_the_entry_and_again_after_each_restart(case: Case) -> None:
    member = stage(case)
    commit(member, case.stop - 1)
    for _ in range(3):
        with pytest.raises(TooOld, match=case.said):
            commit(member, 5)
        assert member.replica.kernel.applied == case.stop - 1
        assert digest(member.machine.state) == digest(state_after(case, case.stop - 1))
        member.lose_power()


@each_case
def test_the_same_disk_goes_on_under_the_next_version(case: Case, later: pytest.MonkeyPatch) -> None:
    member = stage(case)
    with pytest.raises(TooOld):
        commit(member, 5)
    wanted = state_after(case, 5)
    upgrade(later)
    member.lose_power()
    commit(member, 5)
    assert member.replica.kernel.applied == 5
    assert digest(member.machine.state) == digest(wanted)
    assert ("touched" in member.machine.state.keys) == (case is OUTGROWN)


@each_case
def test_it_keeps_no_entry_that_came_with_the_news_of_its_commitment(case: Case) -> None:
    """Nothing of the turn is durable, so nothing of it can be acknowledged."""
    member = Stage("b", "c", machine=lambda: Machine("a"))
    with pytest.raises(TooOld):
        member.append("b", 1, (1, 0), *case.log, commit=5)
    assert member.replica.kernel.applied == case.stop - 1
    member.lose_power()
    assert member.replica.journal.last == (1, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x07whatever", "entry 2 of the log is of kind 7"),
        (b"\x00" + pack((2, "whatever")), "entry 2 of the log is of format 2"),
    ],
)
def test_other_kinds_of_entries_stop_it_when_they_are_committed(content: bytes, said: str) -> None:
    member = Stage("b", "c")
    member.append("b", 1, (1, 0), (content, 2, 1))
    with pytest.raises(TooOld, match=said):
        member.append("b", 1, (2, 1), commit=2)
    assert member.replica.kernel.applied == 1
    # And not before: what is not committed may yet be replaced.
    member.lose_power()
    member.append("c", 2, (1, 0), (b"\x01", 2, 2), commit=2)
    assert member.replica.kernel.applied == 2


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ((2, "whatever"), "of format 2"),
        ((1, ([["a", "a", "a:1", "observer", "voter"]],)), "Role 'observer'"),
        ((1, ((), 0, "more")), "a Configuration of 3 fields"),
    ],
)
def test_a_configuration_acts_when_appended_so_it_stops_the_member_then(plain: object, said: str) -> None:
    member = Stage("b", "c")
    with pytest.raises(TooOld, match=said):
        member.append("b", 1, (1, 0), (CONFIGURATION + pack(plain), 2, 1))
    member.lose_power()
    assert member.replica.journal.last == (1, 0)


def offered(member: Stage, content: bytes) -> None:
    """The leader b sends a snapshot at entry 9."""
    store = SnapshotStore(Stage("b").disk)
    writer = store.writer(9, 1)
    writer.write(content)
    writer.seal()
    info = writer.publish()
    place = {"index": info.index, "last_term": info.term}
    member.say("b", "snapshot_offer", term=1, size=info.size, digest=info.digest, **place)
    member.say("b", "snapshot_chunk", offset=0, data=content, **place)


def test_a_newer_snapshot_is_not_installed_and_the_disk_stays_as_it_is() -> None:
    with pytest.MonkeyPatch.context() as patch:
        upgrade(patch)
        newer = Machine("b")
        newer.configured(voters("b"))
        newer.apply(2, 0, (opening("b", NEXT),))
        assert newer.state.level == NEXT
        content = with_header(CONFIGURATION + pack((1, ((),)))) + b"".join(newer.frozen())
    codec._plan.cache_clear()
    member = stage(UNKNOWN)
    commit(member, 3)
    before = dict(member.disk.files)
    with pytest.raises(TooOld, match=f"the snapshot is in level {NEXT} of the language, .*b runs 9.9.9"):
        offered(member, content)
    assert dict(member.disk.files) == before
    assert digest(member.machine.state) == digest(state_after(UNKNOWN, 3))
    member.lose_power()
    commit(member, 3)
    assert digest(member.machine.state) == digest(state_after(UNKNOWN, 3))
