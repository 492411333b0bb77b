from __future__ import annotations

import contextlib
import dataclasses
import random
import typing
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core import commands as c
from peercron.core import views
from peercron.core.change import Change
from peercron.core.job import Cursor, Job, Overlap
from peercron.core.level import late_fields
from peercron.core.member import Configuration, Invitation, Member
from peercron.core.once import Answered
from peercron.core.restore import Stage
from peercron.core.run import AttemptState, LedgerEntry, Run
from peercron.core.since import SINCE
from peercron.core.state import Key
from peercron.core.verdict import Verdict
from peercron.wire import codec
from peercron.wire.codec import UnknownRow, from_plain, pack_proposal, to_plain, unpack_proposal
from tests.wire.language import language
from tests.wire.rows import COMMANDS, DEFINITION, INTEGERS, values

GOLDEN = Path(__file__).parent / "golden" / "proposals.txt"
KINDS = typing.get_args(c.Command)
calm = settings(derandomize=True, deadline=None, max_examples=40)


def proposal(command: c.Command) -> c.Proposal:
    return c.Proposal("h:7400", 7, 41, 40, command)


def plain(data: c.Proposal) -> list[Any]:
    """A proposal's plain form, to be spoiled."""
    return list(msgpack.unpackb(pack_proposal(data), use_list=True))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@calm
@given(data=st.data())
def test_any_command_comes_back(kind: type, data: st.DataObject) -> None:
    sent = c.Proposal(
        data.draw(st.text()), data.draw(INTEGERS), data.draw(INTEGERS), data.draw(INTEGERS), data.draw(values(kind))
    )
    received = unpack_proposal(pack_proposal(sent))
    assert received == sent
    assert type(received.command) is kind


@pytest.mark.parametrize(
    "annotation",
    [Job, Cursor, Run, LedgerEntry, Member, Invitation, Configuration, Key, Stage, Verdict, Change, Answered],
    ids=str,
)
@calm
@given(data=st.data())
def test_any_row_comes_back(annotation: Any, data: st.DataObject) -> None:
    row = data.draw(values(annotation))
    carried = msgpack.unpackb(msgpack.packb(to_plain(annotation, row)), use_list=False)
    back = from_plain(annotation, carried)
    assert back == row
    hash(back)  # tuples, not lists, down to the last field: rows are frozen


def test_the_key_of_a_request_comes_along_where_there_is_one() -> None:
    sent = dataclasses.replace(proposal(c.RunJob("x")), once=c.Once("abc", b"\x01\x02"))
    assert unpack_proposal(pack_proposal(sent)) == sent
    assert plain(sent)[:-1] == plain(proposal(c.RunJob("x")))


def test_every_command_has_a_golden_example() -> None:
    assert {type(command) for command in COMMANDS} == set(KINDS)


def test_the_format_is_the_golden_one() -> None:
    """These bytes are in the journals of running clusters; they change only with FORMAT and a way to read both."""
    assert codec.FORMAT == 1
    golden = [line.split() for line in GOLDEN.read_text().splitlines()]
    assert [[codec.NAMES[type(x)], pack_proposal(proposal(x)).hex()] for x in COMMANDS] == golden


def test_golden_bytes_are_read() -> None:
    lines = GOLDEN.read_text().splitlines()
    assert [unpack_proposal(bytes.fromhex(line.split()[1])).command for line in lines] == list(COMMANDS)


def test_each_name_on_the_wire_is_one_rows() -> None:
    assert len(set(codec.NAMES.values())) == len(codec.NAMES)
    assert set(KINDS) <= set(codec.NAMES)


def optional_fields(command: c.Command) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(command) if f.default is not dataclasses.MISSING]


@pytest.mark.parametrize(
    "command", [x for x in COMMANDS if optional_fields(x)], ids=lambda command: type(command).__name__
)
def test_fields_that_an_older_version_did_not_write_take_their_defaults(command: c.Command) -> None:
    fields, optional = dataclasses.fields(command), optional_fields(command)
    spoiled = plain(proposal(command))
    spoiled[-1][1] = spoiled[-1][1][: len(fields) - len(optional)]
    older = dataclasses.replace(command, **{f.name: f.default for f in optional})  # type: ignore[arg-type]
    assert unpack_proposal(msgpack.packb(spoiled)).command == older


def test_an_older_definition_takes_defaults_too() -> None:
    spoiled = plain(proposal(c.PutJob(DEFINITION)))
    spoiled[-1][1][0] = spoiled[-1][1][0][:3]
    command = unpack_proposal(msgpack.packb(spoiled)).command
    assert isinstance(command, c.PutJob)
    assert command.definition == type(DEFINITION)(DEFINITION.name, DEFINITION.trigger, DEFINITION.task)


def test_the_language_is_the_released_one() -> None:
    """A line that is missing or different breaks running clusters. New ones want a level of their own: `core.level`."""
    spoken, released = language(), (GOLDEN.parent / "language.txt").read_text().splitlines()
    assert [line for line in released if line not in spoken] == []
    assert [line for line in spoken if line not in released] == [], "new: python -m tests.wire.language writes it down"


def test_what_came_later_stands_at_the_end_and_has_a_default() -> None:
    for row in {key[0] for key in SINCE if isinstance(key, tuple) and dataclasses.is_dataclass(key[0])}:
        fields = tuple(f for f in dataclasses.fields(row) if not f.metadata.get("transient"))
        late = late_fields(row)
        assert fields[len(fields) - len(late) :] == late
        assert all(f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING for f in late)


@dataclasses.dataclass(frozen=True, slots=True)
class Older:
    name: str
    overlap: Overlap = Overlap.FORBID


@dataclasses.dataclass(frozen=True, slots=True)
class Newer:
    """Older, one release later."""

    name: str
    overlap: Overlap = Overlap.FORBID
    priority: int = 0
    after: tuple[Overlap, ...] = ()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SINCE, (Newer, "priority"), 2)
    monkeypatch.setitem(SINCE, (Newer, "after"), 2)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    ("row", "carried"),
    [
        (Newer("x"), ("x", "forbid")),
        (Newer("x", Overlap.ALLOW), ("x", "allow")),
        (Newer("x", priority=3), ("x", "forbid", 3)),
        (Newer("x", after=(Overlap.ALLOW,)), ("x", "forbid", 0, ("allow",))),
    ],
)
def test_a_field_of_a_later_level_is_written_only_when_it_says_something(row: Newer, carried: tuple[Any, ...]) -> None:
    assert tuple(to_plain(Newer, row)) == carried
    assert from_plain(Newer, carried) == row
    if len(carried) == 2:
        assert from_plain(Older, carried) == Older(row.name, row.overlap)
    else:
        with pytest.raises(UnknownRow, match=f"a Older of {len(carried)} fields"):
            from_plain(Older, carried)


@pytest.mark.usefixtures("later")
def test_members_of_both_versions_have_one_digest_of_it() -> None:
    assert views.plain(Newer("x"))[1:] == views.plain(Older("x"))[1:] == ("x", "forbid")
    assert views.plain(Newer("x", priority=3))[1:] == ("x", "forbid", 3)


# A row of a newer version must stop an older member. If it went on without it, it would hold another state than those
# who know the row, and nobody would notice.


def test_an_unknown_command_is_said_to_be_unknown() -> None:
    spoiled = plain(proposal(c.RunJob("x")))
    spoiled[-1][0] = "teleport"
    with pytest.raises(UnknownRow, match=r"^the command 'teleport' of h:7400$"):
        unpack_proposal(msgpack.packb(spoiled))


def test_a_known_name_at_a_wrong_place_is_unknown_there() -> None:
    spoiled = plain(proposal(c.RunJob("x")))
    spoiled[-1][0] = "cron"
    with pytest.raises(UnknownRow, match="cron"):
        unpack_proposal(msgpack.packb(spoiled))


def test_a_field_of_a_newer_version_is_unknown() -> None:
    spoiled = plain(proposal(c.PauseJob("x")))
    spoiled[-1][1].append("gently")
    with pytest.raises(UnknownRow, match="PauseJob"):
        unpack_proposal(msgpack.packb(spoiled))


def test_the_command_is_named_and_who_proposed_it() -> None:
    spoiled = plain(proposal(c.AttemptFinished("1/2", 3, AttemptState.LOST, 5)))
    spoiled[-1][1][2] = "evaporated"
    with pytest.raises(UnknownRow, match=r"^AttemptState 'evaporated' in the command 'finished' of h:7400$"):
        unpack_proposal(msgpack.packb(spoiled))


def test_a_longer_envelope_is_a_newer_version_s() -> None:
    with pytest.raises(UnknownRow, match="a Proposal of 7 fields"):
        unpack_proposal(msgpack.packb([*plain(proposal(c.RunJob("x"))), None, "traced"]))


def test_a_word_that_is_no_choice_does_not_get_into_the_log() -> None:
    """All members would take it for a newer version's and stop, and none could go on."""
    with pytest.raises(KeyError):
        pack_proposal(proposal(c.AttemptFinished("1/2", 3, "evaporated", 5)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spoiled",
    [
        [],
        ["h:7400", 7, 41, 40],
        [5, 7, 41, 40, ["run", ["x"]]],
        ["h:7400", "7", 41, 40, ["run", ["x"]]],
        ["h:7400", 7, 41, None, ["run", ["x"]]],
        ["h:7400", 7, 41, True, ["run", ["x"]]],
        ["h:7400", 7, 41, 40, "run"],
        ["h:7400", 7, 41, 40, ["run"]],
        ["h:7400", 7, 41, 40, [5, ["x"]]],
        ["h:7400", 7, 41, 40, ["run", "x"]],
        ["h:7400", 7, 41, 40, ["run", {}]],
        ["h:7400", 7, 41, 40, ["run", []]],
        ["h:7400", 7, 41, 40, ["finished", ["1/2", 3, 4, 5]]],
        ["h:7400", 7, 41, 40, ["put_job", [5]]],
    ],
    ids=repr,
)
def test_what_breaks_the_grammar_is_no_proposal_to_any_version(spoiled: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        unpack_proposal(msgpack.packb(spoiled))


def test_a_choice_of_a_newer_version_is_unknown() -> None:
    spoiled = plain(proposal(c.AttemptFinished("1/2", 3, AttemptState.LOST, 5)))
    spoiled[-1][1][2] = "evaporated"
    with pytest.raises(UnknownRow, match="evaporated"):
        unpack_proposal(msgpack.packb(spoiled))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_proposal_or_refused(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, UnknownRow)):
        unpack_proposal(data)


def test_changed_bytes_are_a_proposal_or_refused() -> None:
    dice = random.Random(1)
    for _ in range(3_000):
        data = bytearray(pack_proposal(proposal(dice.choice(COMMANDS))))
        for _ in range(dice.choice((1, 1, 2, 5))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with contextlib.suppress(ValueError, TypeError, UnknownRow):
            unpack_proposal(bytes(data))
