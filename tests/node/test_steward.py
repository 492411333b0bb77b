"""The leader's end of membership: who is taken in, who has changed, who goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.commands import OpenSession
from peercron.core.member import Invitation, MemberInfo, Role, Seat
from peercron.core.state import ClusterState
from peercron.errors import NoLeader, Refused
from peercron.node import steward as steward_module
from peercron.node.steward import Steward
from tests.node.staged import Driver, driver, until


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steward_module, "LOOK_S", 0.0)


def steward(at: Driver, state: ClusterState | None = None, resigned: list[bool] | None = None) -> Steward:
    state, resigned = state or ClusterState(), resigned if resigned is not None else []
    return Steward(at, lambda: state, lambda: resigned.append(True))  # type: ignore[arg-type]


async def refusal(work: Any) -> str:
    with pytest.raises(Refused) as caught:
        await work
    return str(caught.value)


def newcomer(name: str = "", address: str = "n:7400", role: str = "") -> tuple[str, str, str, str]:
    return ("cafe", name, address, role)


async def test_a_newcomer_gets_a_seat_without_a_vote_and_is_told_of_the_others() -> None:
    at = driver("a", "b")
    answer = await steward(at).serve("b", "admit", newcomer())
    assert at.replica.changes == [
        (*at.replica.changes[0][:2], Seat("cafe", "n", "n:7400", Role.LEARNER, Role.VOTER)),
    ]
    assert answer == {"name": "n", "members": ["a:7400", "b:7400"]}


async def test_a_host_that_repeats_is_named_with_its_port() -> None:
    at = driver("a", "b")
    answer = await steward(at).serve("b", "admit", newcomer(address="b:7401"))
    assert answer["name"] == "b-7401"


async def test_asking_twice_is_asking_once() -> None:
    at = driver("a", "b")
    one = steward(at)
    answers = await asyncio.gather(*[one.serve("b", "admit", newcomer()) for _ in range(3)])
    assert answers[0] == answers[1] == answers[2]
    assert len(at.replica.changes) == 1


async def test_the_answer_waits_for_the_commit() -> None:
    at = driver("a", "b")
    at.replica.commits = False
    one = steward(at)
    asking = asyncio.ensure_future(one.serve("b", "admit", newcomer()))
    await until(lambda: at.replica.changes)
    for _ in range(20):
        await asyncio.sleep(0)
        one.moved()
    assert not asking.done()
    at.replica.committed_configuration = at.replica.configuration
    one.moved()
    assert (await asking)["name"] == "n"


async def test_a_leader_that_leads_no_more_promises_nothing() -> None:
    at = driver("a", "b")
    at.replica.commits = False
    asking = asyncio.ensure_future(steward(at).serve("b", "admit", newcomer()))
    await until(lambda: at.replica.changes)
    at.replica.kernel.noop_applied = False
    with pytest.raises(NoLeader):
        await asking


async def test_a_change_that_has_to_wait_is_put_again() -> None:
    at = driver("a", "b")
    at.replica.holds = "leadership is being handed over"
    asking = asyncio.ensure_future(steward(at).serve("b", "admit", newcomer()))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    at.replica.holds = None
    await asking


@pytest.mark.parametrize(
    ("asked", "name", "role"),
    [
        (newcomer(), "wanted", Role.WITNESS),
        (newcomer("wanted"), "wanted", Role.WITNESS),
        (newcomer(role="witness"), "wanted", Role.WITNESS),
    ],
)
async def test_an_invitation_says_what_was_not_said(asked: tuple[str, ...], name: str, role: Role) -> None:
    at, state = driver("a", "b"), ClusterState()
    state.invitations["n:7400"] = Invitation("n:7400", Role.WITNESS, "wanted", 0)
    await steward(at, state).serve("b", "admit", asked)
    seat = at.replica.configuration.seat("cafe")
    assert seat is not None
    assert (seat.name, seat.becomes) == (name, role)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (newcomer(address="b:7400"), "is the address of member b"),
        (newcomer("b"), "the name b is that of b:7400"),
        (newcomer("expected"), "the name expected is that of other:1"),
        (newcomer("other", "invited:1"), "was invited under the name wanted, not other"),
        (newcomer(address="invited:1", role="voter"), "was invited as witness, not as voter"),
        (newcomer(address="nowhere"), "is not HOST:PORT"),
        (newcomer(address="0.0.0.0:7400"), "cannot be dialled"),
        (newcomer(address=" B:07400"), "is the address of member b"),
        (newcomer(role="boss"), "must be one of voter, witness"),
        (newcomer(role="learner"), "must be one of voter, witness"),
        (newcomer("a b"), "is no name"),
        (("", "", "n:7400", ""), "wants 1 to"),
        (("x" * 1_000, "", "n:7400", ""), "wants 1 to"),
        (("gone", "", "n:7400", ""), "was removed from this cluster"),
    ],
)
async def test_who_cannot_be_taken_in_is_told_why(asked: tuple[str, ...], said: str) -> None:
    at, state = driver("a", "b"), ClusterState()
    state.removed["gone"] = 7
    state.invitations["invited:1"] = Invitation("invited:1", Role.WITNESS, "wanted", 0)
    state.invitations["other:1"] = Invitation("other:1", Role.VOTER, "expected", 0)
    assert said in await refusal(steward(at, state).serve("b", "admit", asked))
    assert at.replica.changes == []


async def test_a_founder_goes_by_its_name_before_its_seat_does() -> None:
    at, state = driver("a", "b"), ClusterState()
    apply(state, OpenSession(MemberInfo("b", "two", "b:7400", "", incarnation="x"), 1), 0)
    said = await refusal(steward(at, state).serve("b", "admit", newcomer(address="b:7400")))
    assert "is the address of member two; if that node is gone for good, `peercron member remove two` first" in said


async def test_a_name_that_was_not_chosen_gives_way() -> None:
    at = driver("a", "b")
    one = steward(at)
    await one.serve("b", "admit", newcomer(address="b:7500"))
    assert at.replica.configuration.seats[-1].name == "b-7500"
    await one.serve("b", "admit", ("beef", "", "[::1]:7400", ""))
    assert at.replica.configuration.seats[-1].name == "1"


async def test_a_member_says_what_it_is_now() -> None:
    at = driver("a", "b", c=Role.LEARNER)
    one = steward(at)
    await one.serve("b", "reseat", ("beta", "b2:7400", "witness"))
    assert at.replica.configuration.seat("b") == Seat("b", "beta", "b2:7400", Role.WITNESS)
    await one.serve("b", "reseat", ("", "b2:7400", ""))
    assert len(at.replica.changes) == 1
    await one.serve("c", "reseat", ("", "c:7400", "witness"))
    assert at.replica.configuration.seat("c") == Seat("c", "c", "c:7400", Role.LEARNER, Role.WITNESS)
    assert "not a member" in await refusal(one.serve("z", "reseat", ("", "z:1", "")))
    assert "the name a would be there twice" in await refusal(one.serve("b", "reseat", ("a", "b:1", "")))
    assert "is no name" in await refusal(one.serve("b", "reseat", ("-", "b:1", "")))
    assert "must be one of" in await refusal(one.serve("b", "reseat", ("", "b:1", "learner")))


async def test_a_member_is_removed_once() -> None:
    at = driver("a", "b", "c")
    one = steward(at)
    for _ in range(2):
        await one.serve("b", "remove", "c")
    assert [seat.id for seat in at.replica.configuration.seats] == ["a", "b"]
    assert len(at.replica.changes) == 1


async def test_the_leader_hands_over_before_it_goes() -> None:
    at, resigned = driver("a", "b", "c"), list[bool]()
    with pytest.raises(NoLeader, match="hands leadership over first"):
        await steward(at, resigned=resigned).serve("b", "remove", "a")
    assert resigned == [True]
    assert at.replica.changes == []


@pytest.mark.parametrize(
    ("at", "goes", "said"),
    [
        (driver("a"), "a", "no voter left"),
        (driver("a", w=Role.WITNESS), "a", "no voter left"),
        (driver("a", "b", "c", there="ab"), "b", "bring back or remove c first"),
        (driver("a", "b", "c", "d", "e", there="abc"), "b", "bring back or remove d first"),
        (driver("a", "b", w=Role.WITNESS, there="aw"), "w", "bring back or remove b first"),
    ],
)
async def test_who_cannot_be_spared_is_not_removed(at: Driver, goes: str, said: str) -> None:
    assert said in await refusal(steward(at).serve("a", "remove", goes))
    assert at.replica.changes == []


@pytest.mark.parametrize(
    ("at", "goes"),
    [
        (driver("a", "b", "c", there="ab"), "c"),
        (driver("a", "b", "c", "d", there="abc"), "c"),
        (driver("a", l=Role.LEARNER, there="a"), "l"),
        (driver("a", "b", w=Role.WITNESS, there="ab"), "w"),
    ],
)
async def test_whoever_can_be_spared_is_removed(at: Driver, goes: str) -> None:
    await steward(at).serve("a", "remove", goes)
    assert at.replica.configuration.seat(goes) is None


async def test_an_errand_of_a_newer_version_is_refused() -> None:
    assert "knows no errand 'dance'" in await refusal(steward(driver("a")).serve("b", "dance", None))
