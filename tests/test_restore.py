"""The machine behind the log: a restore is read by every member from the same bytes, however it came by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from peercron.core.commands import (
    AbandonRestore,
    AdoptSnapshot,
    BeginRestore,
    Command,
    OpenSession,
    Proposal,
    PutKey,
    StageSnapshot,
)
from peercron.core.level import LEVEL
from peercron.core.member import MemberInfo
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict
from peercron.core.views import digest
from peercron.errors import TooOld
from peercron.machine import Machine
from peercron.wire.codec import pack_proposal
from tests.wire.test_snapshot import some_state
from tests.wire.test_staging import digest_of, large_state, newer, parts_of

NOW = 2_000_000


class Members:
    """Machines that are fed one log."""

    def __init__(self, *names: str) -> None:
        self.machines = {name: Machine(name) for name in names}
        self.seq = 0
        self.say(OpenSession(MemberInfo("a", "a", "a:1", "a:2", level=LEVEL), 1))

    def say(self, command: Command) -> Verdict:
        """Apply it everywhere; all give the same verdict, and stand equal."""
        self.seq += 1
        payload = pack_proposal(Proposal("a", 1, self.seq, self.seq, command))
        for machine in self.machines.values():
            machine.apply(self.seq, NOW + self.seq, (payload,))
        first = self.machines["a"]
        ((session, seq, verdict),) = first.verdicts
        first.verdicts = []
        assert (session, seq) == (1, self.seq)
        assert len({digest(machine.state) for machine in self.machines.values()}) == 1
        return verdict

    def done(self, command: Command) -> Done:
        verdict = self.say(command)
        assert isinstance(verdict, Done), verdict
        return verdict

    @property
    def state(self) -> ClusterState:
        return self.machines["a"].state


def commands(parts: tuple[bytes, ...], restore_id: str = "r") -> Iterator[Command]:
    yield BeginRestore(restore_id, len(parts), sum(map(len, parts)))
    for number, part in enumerate(parts):
        yield StageSnapshot(restore_id, number, part)
    yield AdoptSnapshot(restore_id, len(parts), digest_of(parts))


def test_all_members_adopt_the_same_state() -> None:
    old, members = large_state(), Members("a", "b", "c")
    parts = parts_of(old)
    *staging_commands, adopt = commands(parts)
    for command in staging_commands:
        members.done(command)
    generations = [machine.generation for machine in members.machines.values()]
    assert members.done(adopt).value == 2
    assert members.state.keys == old.keys
    assert members.state.jobs == old.jobs
    assert [machine.generation for machine in members.machines.values()] == [g + 1 for g in generations]
    assert all(machine.state.staged_state is None for machine in members.machines.values())


def test_a_member_that_got_a_snapshot_in_the_middle_has_the_stage_too() -> None:
    old, members = large_state(), Members("a", "b")
    sequence = list(commands(parts_of(old)))
    for command in sequence[:4]:
        members.done(command)
    late = members.machines["late"] = Machine("late")
    late.restore(members.machines["a"].frozen())
    for command in sequence[4:]:
        members.done(command)
    assert late.state.keys == old.keys


def test_a_restore_that_was_given_up_leaves_nothing_behind() -> None:
    old, other, members = large_state(), some_state(12, 200), Members("a", "b")
    first = list(commands(parts_of(old)))
    for command in first[:5]:
        members.done(command)
    members.done(AbandonRestore("r"))
    assert isinstance(members.say(first[5]), Refused)
    # The same name again, other content: nothing that was read before counts.
    for command in commands(parts_of(other)):
        members.done(command)
    assert members.state.jobs == other.jobs
    assert "large" not in members.state.keys


@pytest.mark.parametrize("part", [b"no chunk", b""], ids=["no chunk", "half of one"])
def test_parts_that_hold_no_snapshot_are_refused_by_all(part: bytes) -> None:
    members = Members("a", "b")
    parts = (part,) if part else (parts_of(large_state())[0],)
    *staging_commands, adopt = commands(parts)
    for command in staging_commands:
        members.done(command)
    for _ in range(2):
        verdict = members.say(adopt)
        assert isinstance(verdict, Refused)
        assert verdict.code is Refusal.INVALID
    members.done(PutKey("default", "k", b"v"))
    assert members.state.generation == 1


def test_a_member_that_cannot_read_what_others_adopt_stops() -> None:
    """It must not answer no where a newer member says yes: from there on they would be two clusters."""
    members = Members("a")
    *staging_commands, adopt = commands(newer())
    for command in staging_commands:
        members.done(command)
    with pytest.raises(TooOld, match="moods"):
        members.say(adopt)


def test_what_is_adopted_twice_is_adopted_once() -> None:
    members = Members("a", "b")
    *staging_commands, adopt = commands(parts_of(large_state()))
    for command in staging_commands:
        members.done(command)
    members.done(adopt)
    members.done(PutKey("default", "later", b"v"))
    assert members.done(adopt).value == 2
    assert "later" in members.state.keys["default"]
