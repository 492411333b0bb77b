"""Roster: how the cluster looks from here: what the leader knows of all members, sent around.

Every other second, and when somebody comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from peercron.consensus.clocks import Moved
from peercron.consensus.driver import Driver
from peercron.core.level import LEVEL, RELEASES, behind
from peercron.core.member import VOTING, Invitation, Role, Seat
from peercron.core.state import ClusterState
from peercron.node.attendance import Attendance
from peercron.node.renewal import Renewal
from peercron.times import format_duration

ROSTER_S: Final = 2.0
#: An older roster says nothing about now.
FRESH_S: Final = 5.0
#: Silence that is worth a note: nothing that a restart explains.
SILENCE_NOTED_MS: Final = 30_000
#: States of a member that is well.
WELL: Final = frozenset({"leader", "follower", "learner"})


class Fact(NamedTuple):
    """What the leader knows of one member."""

    #: The entry up to which its log is known to be the leader's; 0: it has not told this leader; None: it is not there.
    match: int | None
    rtt_ms: float | None
    clock_ms: int | None
    #: For how long it was not heard of.
    silent_ms: int


class Roster:
    """Status JSON of interfaces.md, for leader and follower alike."""

    def __init__(
        self,
        cluster: str,
        driver: Driver,
        renewal: Renewal,
        attendance: Attendance,
        state: Callable[[], ClusterState],
        now_s: Callable[[], float],
    ) -> None:
        self._cluster, self._driver, self._renewal, self._attendance = cluster, driver, renewal, attendance
        self._state, self._now_s = state, now_s
        #: Member id -> what the leader last told, and when.
        self._told: dict[str, Fact] = {}
        self._told_s = float("-inf")

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Everybody who belongs to the cluster, by the newest configuration that we know."""
        return self._driver.replica.configuration.seats

    def send(self) -> None:
        """Where we lead: tell the others. Followers have nothing to say, but every message shows its sender's clock."""
        kernel = self._driver.replica.kernel
        kind, body = "clock", None
        if kernel.is_leader:
            kind, body = "roster", tuple((member, *fact) for member, fact in self._facts().items())
        for peer in sorted(self._driver.connected):
            self._driver.replica.mail(peer, kind, body)
        self._driver.kick()

    def on_mail(self, body: Any, now_s: float) -> None:
        self._told = {member: Fact(*fact[:4]) for member, *fact in body}
        self._told_s = now_s

    def status(self) -> dict[str, Any]:
        """Who is there, who leads, and how many more may fail."""
        replica, now_s = self._driver.replica, self._now_s()
        kernel = replica.kernel
        fresh = kernel.leader is not None and now_s - self._told_s < FRESH_S
        facts = self._facts() if kernel.is_leader else self._told if fresh else {}
        members = [self._member(seat, facts, kernel.leader) for seat in self.seats]
        voting = {seat.id for seat in self.seats if seat.role in VOTING}
        quorum = len(voting) // 2 + 1
        well = sum(1 for m in members if m["id"] in voting and m["state"] in WELL)
        has_leader = kernel.leader is not None and self._driver.halt_reason is None
        return {
            "cluster": self._cluster,
            "node": self.name_of(kernel_id(self._driver)),
            "healthy": has_leader and all(m["state"] in WELL for m in members),
            "leader": self.name_of(kernel.leader) if has_leader else None,
            "term": kernel.term,
            "index": self._state().index,
            "level": self._state().level,
            "voters": len(voting),
            "quorum": quorum,
            "survives": max(0, well - quorum) if has_leader else 0,
            "halted": self._driver.halt_reason,
            "paused": self._state().paused,
            "notes": self._notes(members),
            "members": [*members, *self._leaving(), *map(invited, self._state().invitations.values())],
        }

    def name_of(self, member: str | None) -> str | None:
        if member is None:
            return None
        row = self._state().members.get(member)
        if row is not None:
            return row.info.name
        seat = self._driver.replica.configuration.seat(member)
        return seat.name if seat is not None else member

    def reached(self) -> dict[str, bool]:
        """Whom we reach, and whether it has answered us as its leader."""
        kernel = self._driver.replica.kernel
        return {peer: kernel.match_index(peer) > 0 for peer in self._driver.connected}

    def reach(self) -> str:
        """Whom we reach, and how many are missing to a quorum, as a sentence."""
        voters = [seat.id for seat in self.seats if seat.role in VOTING]
        here = {kernel_id(self._driver), *self._driver.connected}
        missing = sorted(member for member in voters if member not in here)
        quorum, there, all_ = len(voters) // 2 + 1, len(voters) - len(missing), len(voters)
        if not voters:
            return "this node has not been given the log of its cluster yet"
        if there >= quorum:
            return f"{there} of {all_} voters reach each other, an election is due"
        names = ", ".join(self.name_of(member) or member for member in missing)
        return f"this node reaches {there} of {all_} voters, itself included; a quorum is {quorum}; missing: {names}"

    def _facts(self) -> dict[str, Fact]:
        """As the leader knows it."""
        kernel, told, now_s = self._driver.replica.kernel, self._renewal.told, self._now_s()
        facts = {kernel_id(self._driver): Fact(kernel.commit, 0.0, 0, 0)}
        for peer in kernel.followers:
            if peer in self._driver.connected:
                facts[peer] = Fact(kernel.match_index(peer), *told.get(peer, (None, None)), 0)
            else:
                facts[peer] = Fact(None, None, None, int(self._attendance.silent_s(peer, now_s) * 1000))
        return facts

    def _member(self, seat: Seat, facts: dict[str, Fact], leader: str | None) -> dict[str, Any]:
        state = self._state()
        row = state.members.get(seat.id)
        silent_ms = int(self._attendance.silent_s(seat.id, self._now_s()) * 1000)
        fact = facts.get(seat.id, Fact(None, None, None, silent_ms))
        commit = max((each.match or 0 for each in facts.values()), default=0)
        word = self._state_of(seat, leader, fact.match, fresh=bool(facts))
        return {
            "name": self.name_of(seat.id),
            "id": seat.id,
            "address": seat.address,
            "http": row.info.http if row else None,
            "dc": row.info.dc if row else "",
            "role": str(seat.role),
            "state": word,
            "drained": seat.id in state.drained,
            "session": row.session if row else None,
            "session_open": bool(row and row.open),
            "applied": fact.match or None,
            "behind": max(0, commit - fact.match) if fact.match else None,
            "silent_ms": fact.silent_ms if word == "unreachable" else None,
            "rtt_ms": None if fact.rtt_ms is None else round(fact.rtt_ms, 3),
            "clock_ms": fact.clock_ms,
            "running": len(state.live_attempts.get(seat.id, ())),
            "version": row.info.version if row else None,
            "level": row.info.level if row else None,
        }

    def _state_of(self, seat: Seat, leader: str | None, match: int | None, *, fresh: bool) -> str:
        here = seat.id == kernel_id(self._driver)
        if self._driver.halt_reason is not None and here:
            return "halted"
        if seat.id == leader:
            return "leader"
        if match:
            return "learner" if seat.role is Role.LEARNER else "follower"
        if fresh:
            # A connection outlives a process that hangs or a cable that is cut; only an answer says that it is well.
            return "unreachable" if match is None else "connected"
        # Nobody leads, so nobody knows of all; but we know whom we reach.
        return "up" if here else "connected" if seat.id in self._driver.connected else "unreachable"

    def _leaving(self) -> list[dict[str, Any]]:
        """Who was removed and may still run what it was given."""
        state, seats = self._state(), {seat.id for seat in self.seats}
        leaving = [row for row in state.members.values() if row.info.id not in seats and row.open]
        return [
            {"name": row.info.name, "id": row.info.id, "address": row.info.address, "role": str(row.info.role)}
            | {"state": "removed", "running": len(state.live_attempts.get(row.info.id, ()))}
            for row in leaving
        ]

    def _notes(self, members: list[dict[str, Any]]) -> list[str]:
        notes, replica = [], self._driver.replica
        if self._driver.halt_reason is not None:
            notes.append(f"this node has stopped: {self._driver.halt_reason}")
        elif replica.kernel.leader is None:
            notes.append(f"no leader: {self.reach()}")
        if frail := frailty(self.seats):
            notes.append(frail)
        for member in members:
            if (member["silent_ms"] or 0) >= SILENCE_NOTED_MS:
                silence = format_duration(member["silent_ms"] // 1000 * 1000)
                notes.append(f"{member['name']} has not been heard of for {silence}")
        if replica.clocks.suspect:
            off_ms = replica.clocks.deviation_ms()
            notes.append(f"the clock of this node is {off_ms} ms off the median of all: it does not lead")
        elif moved := replica.clocks.moved():
            notes.append(_apart(replica.clocks.apart_ms(), moved))
        level = self._state().level
        if level < LEVEL:
            missing = ", ".join(behind(self._state(), LEVEL))
            notes.append(f"level {level} is in force until all members run {RELEASES[LEVEL]} or newer: {missing}")
        return notes


def _apart(apart_ms: int, moved: Moved) -> str:
    """What is to be known of two clocks that came apart."""
    whose = {
        Moved.OURS: "this one was set, so the other counts until they agree",
        Moved.THEIRS: "that one leapt, so this one counts until they agree",
    }.get(moved, "nobody can say which is wrong")
    return f"the clock of this node is {apart_ms} ms off that of the only other one: {whose}"


def frailty(seats: Iterable[Seat]) -> str:
    """What everybody should know of a cluster that a single loss stops; empty: this is none."""
    voting = [seat.role for seat in seats if seat.role in VOTING]
    if len(voting) != 2:
        return ""
    two = "one voter and one witness" if Role.WITNESS in voting else "two voters and no witness"
    return f"{two}: losing either stops everything that needs a quorum; jobs in slices go on"


def invited(invitation: Invitation) -> dict[str, Any]:
    """Somebody who is expected, as a member row."""
    return {
        "name": invitation.name,
        "id": None,
        "address": invitation.address,
        "role": str(invitation.role),
        "state": "invited",
        "running": 0,
    }


def kernel_id(driver: Driver) -> str:
    """Our own member id."""
    return driver.replica.me
