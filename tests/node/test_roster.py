"""How the cluster looks from a node: who belongs, who is there, and how many more may fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from peercron.consensus.clocks import Moved
from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.commands import DrainMember, Invite, OpenSession
from peercron.core.member import Configuration, MemberInfo, Role
from peercron.core.state import ClusterState
from peercron.node.attendance import Attendance
from peercron.node.roster import Roster
from tests.http.promises import hold_shape
from tests.node.staged import Driver, driver


class View:
    """The roster of leader `a`, or of a follower, at second 100; who is away has been since second 10."""

    def __init__(self, at: Driver) -> None:
        self.at, self.state, self.attendance = at, ClusterState(), Attendance()
        seats = at.replica.configuration.seats
        configure(self.state, at.replica.configuration)
        for seat in seats:
            self.open(seat.id)
        self.attendance.look([seat.id for seat in seats], [seat.id for seat in seats], 10.0)
        self.attendance.look([seat.id for seat in seats], {"a", *at.connected}, 100.0)
        told: Any = SimpleNamespace(told={"b": (1.25, 3)})
        self.roster = Roster("c", at, told, self.attendance, lambda: self.state, lambda: 100.0)  # type: ignore[arg-type]

    def open(self, member: str) -> None:
        apply(self.state, OpenSession(MemberInfo(member, member.upper(), f"{member}:7400", f"{member}:8400"), 1), 0)

    @property
    def members(self) -> dict[str, Any]:
        return {row["name"]: row for row in self.status()["members"]}

    def status(self) -> dict[str, Any]:
        status = self.roster.status()
        hold_shape("Status", status)
        return status


def test_the_leader_sees_who_is_there() -> None:
    view = View(driver("a", "b", "c", there="ab"))
    status = view.status()
    assert (status["healthy"], status["voters"], status["quorum"], status["survives"]) == (False, 3, 2, 0)
    assert [row["state"] for row in status["members"]] == ["leader", "follower", "unreachable"]
    assert (view.members["B"]["behind"], view.members["B"]["rtt_ms"], view.members["B"]["silent_ms"]) == (2, 1.25, None)
    assert view.members["C"]["silent_ms"] == 90_000
    assert "C has not been heard of for 1m30s" in status["notes"]


def test_whoever_has_not_answered_a_new_leader_is_not_called_well() -> None:
    """The connection of a node that hangs stands for seconds after an election that it took no part in."""
    view = View(driver("a", "b", "c"))
    view.at.replica.kernel.unheard = {"c"}
    status = view.status()
    assert (status["healthy"], status["survives"]) == (False, 0)
    assert [row["state"] for row in status["members"]] == ["leader", "follower", "connected"]
    assert (view.members["C"]["applied"], view.members["C"]["behind"]) == (None, None)
    assert view.roster.reached() == {"b": True, "c": False}
    view.roster.send()
    following = View(driver("a", "b", "c"))
    following.at.replica.kernel.is_leader = False
    following.roster.on_mail(view.at.replica.mails[0][2], 100.0)
    assert [row["state"] for row in following.status()["members"]] == ["leader", "follower", "connected"]
    view.at.replica.kernel.unheard.clear()
    assert view.status()["healthy"] is True


def test_a_follower_repeats_what_the_leader_told() -> None:
    leading, following = View(driver("a", "b", "c", there="ab")), View(driver("a", "b", "c"))
    leading.roster.send()
    ((peer, kind, body),) = leading.at.replica.mails
    assert (peer, kind) == ("b", "roster")
    following.at.replica.kernel.is_leader = False
    following.roster.on_mail(tuple((*each, "of a newer version") for each in body), 100.0)
    assert [row["state"] for row in following.status()["members"]] == ["leader", "follower", "unreachable"]
    assert following.members["C"]["silent_ms"] == 90_000
    following.at.replica.kernel.leader = None
    assert [row["state"] for row in following.status()["members"]] == ["up", "connected", "connected"]


def test_without_a_leader_it_says_what_it_sees_itself() -> None:
    view = View(driver("a", "b", "c", there="ab"))
    view.at.replica.kernel.leader, view.at.replica.kernel.is_leader = None, False
    assert [row["state"] for row in view.status()["members"]] == ["up", "connected", "unreachable"]
    assert view.roster.reach() == "2 of 3 voters reach each other, an election is due"
    view.at.connected = {"z"}  # whom we do not know counts for nothing
    assert "reaches 1 of 3 voters, itself included; a quorum is 2; missing: B, C" in view.roster.reach()


def test_learners_and_witnesses_are_told_apart() -> None:
    view = View(driver("a", "b", l=Role.LEARNER, w=Role.WITNESS))
    status = view.status()
    assert (status["healthy"], status["voters"], status["survives"]) == (True, 3, 1)
    assert {name: (row["role"], row["state"]) for name, row in view.members.items()} == {
        "A": ("voter", "leader"),
        "B": ("voter", "follower"),
        "L": ("learner", "learner"),
        "W": ("witness", "follower"),
    }


def test_the_drained_the_invited_and_the_leaving_are_shown() -> None:
    view = View(driver("a", "b", "c"))
    apply(view.state, DrainMember("b"), 0)
    apply(view.state, Invite("n:7400", Role.WITNESS, "N"), 0)
    left = Configuration(view.at.replica.configuration.seats[:2])
    view.at.replica.configuration = left
    configure(view.state, left)
    assert view.members["B"]["drained"] is True
    assert (view.members["N"]["state"], view.members["N"]["id"]) == ("invited", None)
    assert view.members["C"]["state"] == "removed"
    assert view.status()["healthy"] is True


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (driver("a", "b"), "two voters and no witness"),
        (driver("a", w=Role.WITNESS), "one voter and one witness"),
        (driver("a", "b", w=Role.WITNESS), ""),
        (driver("a"), ""),
    ],
)
def test_two_votes_are_no_better_than_one(at: Driver, said: str) -> None:
    notes = " ".join(View(at).status()["notes"])
    assert (said in notes) if said else ("losing either" not in notes)


def test_who_has_no_log_yet_says_so() -> None:
    view = View(driver())
    view.at.replica.kernel.leader = None
    assert "has not been given the log" in view.status()["notes"][0]


def test_a_wrong_clock_is_said() -> None:
    view = View(driver("a", "b", "c"))
    view.at.replica.clocks.suspect = True
    assert "the clock of this node is 7000 ms off" in view.status()["notes"][0]


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (Moved.OURS, "this one was set, so the other counts"),
        (Moved.THEIRS, "that one leapt, so this one counts"),
        (Moved.UNKNOWN, "nobody can say which is wrong"),
        (Moved.NEVER_AGREED, "nobody can say which is wrong"),
    ],
)
def test_of_two_clocks_that_came_apart_is_said_which_counts(moved: Moved, said: str) -> None:
    view = View(driver("a", "b"))
    view.at.replica.clocks.two = moved
    (note,) = [note for note in view.status()["notes"] if "clock" in note]
    assert note.startswith("the clock of this node is 7000 ms off that of the only other one: ")
    assert said in note
