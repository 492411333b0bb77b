"""The language of the replicated data: it grows when all members speak more of it, and never shrinks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import pytest

from peercron.core import apply as apply_package
from peercron.core.apply import apply, apply_proposal
from peercron.core.apply.configuration import configure
from peercron.core.commands import OpenSession, Proposal
from peercron.core.level import LEVEL, RELEASES, level_of, objection, spoken
from peercron.core.member import Configuration, MemberInfo, Role, Seat
from peercron.core.since import SINCE
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict
from tests.core.builders import code, done, info
from tests.wire.rows import COMMANDS

VERSIONS = {1: "0.1.0", 2: "0.2.0", 3: "0.3.0"}


def opened(state: ClusterState, name: str, level: int, session: int = 1) -> Verdict:
    return apply(state, OpenSession(info(name, level=level, version=VERSIONS[level]), session), 1_000)


def seated(*names: str, **roles: Role) -> ClusterState:
    state = ClusterState()
    seats = [Seat(f"id-{n}", n, f"{n}:7400", roles.get(n, Role.VOTER)) for n in (*names, *roles)]
    configure(state, Configuration(tuple(seats)))
    return state


# What is in force.


def test_a_level_comes_into_force_when_the_last_seat_speaks_it() -> None:
    state = seated("a", "b", w=Role.WITNESS)
    opened(state, "a", 2)
    opened(state, "b", 3)
    assert state.level == 1  # of w nobody knows anything yet
    opened(state, "w", 1)
    assert state.level == 1
    opened(state, "w", 2, session=2)
    assert state.level == 2


def test_a_learner_counts_too() -> None:
    state = seated("a", b=Role.LEARNER)
    opened(state, "a", 2)
    assert state.level == 1
    opened(state, "b", 2)
    assert state.level == 2


def test_the_last_one_who_was_behind_is_removed() -> None:
    state = seated("a", "b", "c")
    for name, level in (("a", 2), ("b", 2), ("c", 1)):
        opened(state, name, level)
    assert state.level == 1
    configure(state, Configuration(tuple(state.seats.values())[:2]))
    assert state.level == 2  # though the row of c, whose session is open, is still there
    configure(state, Configuration((*state.seats.values(), Seat("id-c", "c", "c:7400"))))
    assert state.level == 2  # and c, which is behind, belongs to it again


def test_a_level_never_falls() -> None:
    state = seated("a", "b")
    opened(state, "a", 2)
    opened(state, "b", 2)
    newcomer = Seat("id-c", "c", "c:7400", Role.LEARNER)
    configure(state, Configuration((*state.seats.values(), newcomer)))
    assert state.level == 2
    assert code(opened(state, "c", 1)) is Refusal.UNSUPPORTED
    configure(state, Configuration((newcomer,)))
    assert state.level == 2


def test_without_seats_the_members_count() -> None:
    state = ClusterState()
    for name in ("a", "b"):
        opened(state, name, 1)
    assert opened(state, "a", 2, session=2) == Done(3, 2)
    assert state.level == 1
    opened(state, "b", 2, session=2)
    assert state.level == 2


def test_the_command_that_raises_the_level_is_of_the_level_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that does not speak the new level applies this command like all others, and stops behind it."""
    state = seated("a")
    seen = []
    session_module = apply_package.session  # type: ignore[attr-defined]
    monkeypatch.setattr(session_module, "_give_up", lambda state, *_: seen.append(state.level))
    opened(state, "a", 2)
    assert (seen, state.level) == ([1], 2)


def test_who_does_not_speak_the_level_in_force_gets_no_session() -> None:
    state = seated("a", "b")
    opened(state, "a", 2)
    opened(state, "b", 2)
    verdict = opened(state, "b", 1, session=2)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.UNSUPPORTED
    assert verdict.detail == (
        "b runs 0.1.0, which speaks level 1; the cluster went on to level 2 and cannot go back (a runs 0.2.0)"
    )
    assert state.members["id-b"].session == 1


def test_before_that_there_is_a_way_back() -> None:
    state = seated("a", "b")
    opened(state, "a", 2)
    opened(state, "a", 1, session=2)
    opened(state, "b", 2)
    assert state.level == 1


def test_a_level_below_the_first_is_no_level() -> None:
    verdict = apply(ClusterState(), OpenSession(replace(info("a"), level=0), 1), 1_000)
    assert code(verdict) is Refusal.INVALID


# What a command needs.


class Weather(StrEnum):
    SUN = "sun"
    HAIL = "hail"


@dataclass(frozen=True, slots=True)
class Picnic:
    weather: Weather
    guests: tuple[Weather, ...] = ()
    maybe: Weather | None = None
    cake: int = 0


@dataclass(frozen=True, slots=True)
class Basket:
    content: Picnic | str = ""


@dataclass(frozen=True, slots=True)
class LaterInfo(MemberInfo):
    """With a field of level 3."""

    zone: str = ""


@dataclass(frozen=True, slots=True)
class Touch:
    """A command of level 2."""

    key: str


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    for new, level in {Touch: 2, (Weather, "hail"): 2, (Picnic, "cake"): 3, (LaterInfo, "zone"): 3}.items():
        monkeypatch.setitem(SINCE, new, level)
    monkeypatch.setitem(RELEASES, 2, "0.2.0")
    monkeypatch.setitem(apply_package.APPLY, Touch, lambda state, command: Done(state.index, command.key))


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    ("value", "level"),
    [
        (Touch("k"), 2),
        (Picnic(Weather.SUN), 1),
        (Picnic(Weather.HAIL), 2),
        (Picnic(Weather.SUN, (Weather.SUN, Weather.HAIL)), 2),
        (Picnic(Weather.SUN, maybe=Weather.HAIL), 2),
        (Picnic(Weather.SUN, maybe=Weather.SUN), 1),
        (Picnic(Weather.SUN, cake=1), 3),
        (Picnic(Weather.HAIL, cake=1), 3),
        (Basket(Picnic(Weather.HAIL)), 2),
        (Basket("hail"), 1),
    ],
    ids=repr,
)
def test_a_command_needs_the_level_of_the_newest_that_it_uses(value: object, level: int) -> None:
    assert level_of(value) == level


@pytest.mark.usefixtures("later")
def test_a_row_is_said_as_the_others_understand_it() -> None:
    said = LaterInfo("a", "a", "a:1", "a:2", level=3, zone="north")
    assert spoken(said, 2) == LaterInfo("a", "a", "a:1", "a:2", level=3)
    assert spoken(said, 3) is said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_what_this_version_writes_all_members_understand(command: object) -> None:
    assert level_of(command) <= LEVEL


@pytest.mark.usefixtures("later")
def test_a_command_above_the_level_in_force_changes_nothing() -> None:
    state = seated("a", "b", "c")
    opened(state, "a", 2)
    opened(state, "b", 1)
    verdict = apply(state, Touch("k"), 1_000)  # type: ignore[arg-type]
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.UNSUPPORTED
    assert verdict.detail == "Touch needs all members to run peercron 0.2.0 or newer; b runs 0.1.0, c has not come yet"
    assert verdict.detail == objection(state, Touch("k"))  # type: ignore[arg-type]


@pytest.mark.usefixtures("later")
def test_it_is_done_once_the_level_is_in_force() -> None:
    state = seated("a")
    opened(state, "a", 2)
    assert objection(state, Touch("k")) == ""  # type: ignore[arg-type]
    done(state, Touch("k"))  # type: ignore[arg-type]
    proposal = Proposal("id-a", 1, 7, 7, Touch("k"))  # type: ignore[arg-type]
    assert apply_proposal(state, proposal, 1_000) == Done(4, "k")


def test_each_level_has_its_release() -> None:
    assert list(RELEASES) == list(range(1, LEVEL + 1))
    assert all(1 < level <= LEVEL for level in SINCE.values())
