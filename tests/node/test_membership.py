"""A node's own place: what it says of itself, whom it meets, and when it has to go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from peercron.consensus.entry import BATCH, NO_OP, Entry
from peercron.consensus.membership import encode
from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.commands import OpenSession, Proposal, PutKey
from peercron.core.member import Configuration, MemberInfo, Role, Seat
from peercron.core.state import ClusterState
from peercron.errors import NoLeader, Refused
from peercron.identity import Identity
from peercron.node import membership as membership_module
from peercron.node.membership import Membership
from peercron.node.remembered import incarnations
from peercron.settings import load
from peercron.wire.codec import pack_proposal
from peercron.wire.frames import Claim
from peercron.wire.plain import pack
from tests.node.staged import driver, until

A, B, NEW = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:9"


class Desk:
    """Where errands are brought."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: list[Any] = []
        self.done: Callable[[], None] = lambda: None

    async def ask(self, errand: str, body: Any, seconds: float) -> Any:
        self.asked.append((errand, body))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.done()
        return answer


class Contacts:
    def __init__(self) -> None:
        self.peers: dict[str, tuple[str, int]] = {}
        self.hints: tuple[tuple[str, int], ...] = ()
        self.reviews = 0

    def set_peers(self, peers: Any, hints: Any = ()) -> None:
        self.peers, self.hints = dict(peers), tuple(hints)

    def review(self) -> None:
        self.reviews += 1


class Place:
    """Member `a` of a cluster of founders at A and B, with what the user said this time."""

    def __init__(self, address: str = A, **flags: str) -> None:
        self.driver = driver("a")
        self.driver.replica.configuration = Configuration((Seat("a", "one", A), Seat("b", "two", B)))
        self.driver.replica.committed_configuration = self.driver.replica.configuration
        self.state, self.desk, self.contacts = ClusterState(), Desk(), Contacts()
        configure(self.state, self.driver.replica.configuration)
        settings = load({"peers": f"{A},{B}", "self": address} | flags, {})
        identity = Identity("peercron-x", "a", "born", address, ("a", "b"), 1)
        self.changes = 0
        driven: Any = self.driver
        desk: Any = self.desk
        known = {"b": "kept"}
        self.mine = Membership(settings, identity, driven, desk, lambda: self.state, self.changed, known)
        self.mine.begin(self.contacts)

    def changed(self) -> None:
        self.changes += 1

    def seat(self, **seats: Seat) -> None:
        self.driver.replica.configuration = Configuration(tuple(seats.values()))

    def joined(self, id_: str, name: str, incarnation: str) -> None:
        apply(self.state, OpenSession(MemberInfo(id_, name, f"{id_}:1", "", incarnation=incarnation), 1), 0)


def test_the_connections_follow_the_configuration() -> None:
    at = Place()
    assert at.contacts.peers == {"b": ("127.0.0.1", 2)}
    assert at.contacts.hints == (("127.0.0.1", 2),)
    at.seat(a=Seat("a", "one", A), c=Seat("c", "three", NEW))
    at.mine.turn(reconfigured=False)
    assert at.contacts.peers == {"b": ("127.0.0.1", 2)}
    at.mine.turn(reconfigured=True)
    assert at.contacts.peers == {"c": ("127.0.0.1", 9)}
    assert at.changes == 1


def test_connections_are_reviewed_when_more_is_known_of_the_members() -> None:
    at = Place()
    at.mine.turn(reconfigured=False)
    at.mine.turn(reconfigured=False)
    assert at.contacts.reviews == 1
    at.joined("b", "two", "x")
    at.mine.turn(reconfigured=False)
    assert at.contacts.reviews == 2


def test_what_was_not_said_is_as_it_was() -> None:
    assert (Place().mine.name, Place().mine.role) == ("one", Role.VOTER)
    said = Place(name="uno", role="witness")
    assert (said.mine.name, said.mine.role) == ("uno", Role.WITNESS)
    at = Place()
    at.seat(a=Seat("a", "one", A, Role.WITNESS))
    assert at.mine.role is Role.WITNESS
    at.seat()
    assert (at.mine.name, at.mine.role) == ("127.0.0.1-1", Role.VOTER)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"address": NEW}, ("", NEW, "")),
        ({"name": "uno"}, ("uno", A, "")),
        ({"role": "witness"}, ("", A, "witness")),
    ],
)
async def test_the_leader_is_told_what_has_changed(flags: dict[str, str], told: tuple[str, str, str]) -> None:
    at = Place(**flags)
    keeping = asyncio.ensure_future(at.mine.keep())
    await until(lambda: at.desk.asked)
    assert at.desk.asked == [("reseat", told)]
    keeping.cancel()


async def test_nothing_is_told_when_the_seat_says_it_all() -> None:
    at = Place(name="one", role="voter")
    keeping = asyncio.ensure_future(at.mine.keep())
    at.seat(a=Seat("a", "one", A, Role.LEARNER, Role.VOTER))
    at.mine.turn(reconfigured=True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert at.desk.asked == []
    at.seat()  # not yet in the log, or not any more
    at.mine.turn(reconfigured=True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert at.desk.asked == []
    keeping.cancel()


async def test_what_was_not_heard_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership_module, "REFUSED_PAUSE_S", 0.0)
    at = Place(name="uno")
    at.desk.answers = [NoLeader(), Refused("not_ready", "the name uno would be there twice")]
    keeping = asyncio.ensure_future(at.mine.keep())
    at.desk.done = lambda: at.seat(a=Seat("a", "uno", A))
    await until(lambda: len(at.desk.asked) == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(at.desk.asked) == 3
    keeping.cancel()


def test_who_was_removed_or_wiped_is_sent_away() -> None:
    at = Place()
    at.joined("b", "two", "x")
    claim = Claim("b", "peercron-x", "x")
    assert at.mine.judge(claim) is None
    assert at.mine.judge(Claim("b", "peercron-x", "")) is None, "an older version does not say"
    assert at.mine.judge(Claim("z", "peercron-x", "z")) is None, "others may know a newer configuration"
    code, detail = at.mine.judge(Claim("b", "peercron-x", "y")) or ("", "")
    assert (code, "`peercron member remove two`" in detail) == ("wiped", True)
    at.seat(a=Seat("a", "one", A), b=Seat("b", "two", B), c=Seat("c", "three", NEW))
    assert f"--join {NEW}" in (at.mine.judge(Claim("b", "peercron-x", "y")) or ("", ""))[1], "nobody joins himself"
    configure(at.state, Configuration((Seat("a", "one", A),)))
    code, detail = at.mine.judge(claim) or ("", "")
    assert (code, "two was removed from this cluster" in detail) == ("removed", True)


def test_a_founder_that_was_removed_and_wiped_after_it_joined_again_is_told_of_its_heir() -> None:
    at = Place()
    configure(at.state, Configuration((Seat("a", "one", A), Seat(B, "two", B))))
    configure(at.state, Configuration((Seat("a", "one", A),)))
    at.seat(a=Seat("a", "one", A))
    assert "to come back as a new member, start it" in (at.mine.judge(Claim(B, "peercron-x", "x")) or ("", ""))[1]
    at.seat(a=Seat("a", "one", A), cafe=Seat("cafe", "deux", B))
    code, detail = at.mine.judge(Claim(B, "peercron-x", "x")) or ("", "")
    assert code == "removed"
    assert f"{B} was removed from this cluster, and at its address there is member deux now" in detail
    assert detail.endswith(f"`peercron member remove deux`, then start it with an empty --data-dir and --join {A}")


def test_who_was_wiped_is_sent_away_before_it_is_known_how_much_of_the_log_is_committed() -> None:
    at = Place()
    assert at.mine.judge(Claim("b", "peercron-x", "kept")) is None
    assert (at.mine.judge(Claim("b", "peercron-x", "new")) or ("",))[0] == "wiped"
    at.joined("b", "two", "new")
    assert at.mine.judge(Claim("b", "peercron-x", "new")) is None, "what is committed is surer"


def logged(*incarnations_of_b: str) -> list[Entry]:
    opened = [OpenSession(MemberInfo("b", "two", "b:1", "", incarnation=i), 1) for i in incarnations_of_b]
    said = (Proposal("b", 1, seq, 1, command) for seq, command in enumerate(opened))
    other = Proposal("b", 1, 9, 1, PutKey("x", "open", b""))
    payloads = tuple(map(pack_proposal, (*said, other)))
    return [(BATCH + pack((1, 0, payloads)), 7, 1), (BATCH + b"open", 8, 1), (NO_OP, 9, 1)]


def test_the_log_says_whose_directory_is_whose() -> None:
    assert incarnations(logged("", "first", "second"), 0) == {"b": "first"}
    recovered = encode(Configuration((Seat("b", "two", B),), recoveries=1)), 10, 2
    assert incarnations([*logged("first"), recovered], 0) == {}
    assert incarnations([*logged("first"), recovered], 1) == {"b": "first"}


@pytest.mark.parametrize(
    ("code", "detail", "ends"),
    [
        ("wiped", "your data are gone", "your data are gone"),
        ("removed", "a was removed", "one was removed"),
        ("new", "what?", ""),
    ],
)
async def test_who_is_sent_away_goes(code: str, detail: str, ends: str) -> None:
    at = Place()
    at.mine.refused("b", code, detail)
    assert at.mine.ended.is_set() is bool(ends)
    assert ends in at.mine.expelled
    at.mine.refused("b", "wiped", "another reason")
    assert ends in at.mine.expelled, "the first word counts"


async def test_who_sees_its_own_removal_goes() -> None:
    at = Place()
    at.driver.replica.removed = True
    at.mine.turn(reconfigured=True)
    assert "was removed from this cluster" in at.mine.expelled


@pytest.mark.parametrize(("code", "goes"), [("removed", True), ("wiped", True), ("copied", True), ("conflict", False)])
async def test_who_may_not_open_a_session_goes(code: str, goes: bool) -> None:
    at = Place()
    at.mine.session_refused(code, "the directory is another one")
    assert bool(at.mine.expelled) is goes


REQUEST = {"type": "admit", "id": "cafe", "name": "", "address": NEW, "role": "witness"}


async def test_a_guest_is_answered_by_the_leader() -> None:
    at = Place()
    at.desk.answers = [{"name": "nine", "members": [A]}]
    assert await at.mine.guest(REQUEST) == {
        "type": "admitted", "name": "nine", "members": [A], "cluster": "peercron-x", "founders": ("a", "b"),
    }  # fmt: skip
    assert at.desk.asked == [("admit", ("cafe", "", NEW, "witness"))]


async def test_a_guest_is_told_no_or_not_now_and_whom_else_to_ask() -> None:
    at = Place()
    at.desk.answers = [Refused("conflict", "taken"), NoLeader("nobody leads")]
    assert await at.mine.guest(REQUEST) == {"type": "refused", "code": "conflict", "detail": "taken"}
    assert await at.mine.guest(REQUEST) == {"type": "later", "detail": "nobody leads", "members": [A, B]}
    for unreadable in ({"id": 1}, 7):
        assert (await at.mine.guest(unreadable))["code"] == "invalid"


async def test_removing_oneself_is_done_when_one_is_told_so() -> None:
    at = Place()
    never = asyncio.Event()

    async def ask(*_: object) -> None:
        await never.wait()

    at.desk.ask = ask  # type: ignore[method-assign]
    removing = asyncio.ensure_future(at.mine.remove("a", 5.0))
    await asyncio.sleep(0)
    at.mine.refused("b", "removed", "x")
    await removing


async def test_removing_another_is_the_leaders_to_say() -> None:
    at = Place()
    at.desk.answers = [None, Refused("not_ready", "no"), Refused("not_ready", "no")]
    await at.mine.remove("b", 5.0)
    for member in ("a", "b"):
        with pytest.raises(Refused):
            await at.mine.remove(member, 5.0)
    assert [about for _, about in at.desk.asked] == ["b", "a", "b"]
