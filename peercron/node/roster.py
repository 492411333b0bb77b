"""Roster: how the cluster looks from here: what the leader knows of all members, sent around every other second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from peercron.consensus.driver import Driver
from peercron.core.level import LEVEL, RELEASES, behind
from peercron.core.member import Role
from peercron.core.state import ClusterState
from peercron.node.renewal import Renewal

ROSTER_S: Final = 2.0
#: An older roster says nothing about now.
FRESH_S: Final = 5.0


class Roster:
    """Status JSON of interfaces.md, for leader and follower alike.

    Args:
        voters: member id -> default name, for members that have not opened a session yet.
    """

    def __init__(
        self, cluster: str, voters: dict[str, str], driver: Driver, renewal: Renewal, state: Callable[[], ClusterState]
    ) -> None:
        self._cluster, self._voters = cluster, voters
        self._driver, self._renewal, self._state = driver, renewal, state
        #: Member id -> (matched index, rtt ms, clock ms) as the leader last told, and when.
        self._told: dict[str, tuple[int, float | None, int | None]] = {}
        self._told_s = float("-inf")

    def send(self) -> None:
        """Where we lead: tell the others. Followers have nothing to say, but every message shows its sender's clock."""
        kernel = self._driver.replica.kernel
        kind, body = "clock", None
        if kernel.is_leader:
            kind, body = "roster", tuple((member, *facts) for member, facts in self._facts().items())
        for peer in self._driver.connected:
            self._driver.replica.mail(peer, kind, body)
        self._driver.kick()

    def on_mail(self, body: Any, now_s: float) -> None:
        self._told = {member: (match, rtt, clock) for member, match, rtt, clock in body}
        self._told_s = now_s

    def status(self, now_s: float) -> dict[str, Any]:
        """Who is there, who leads, and how many more may fail."""
        kernel = self._driver.replica.kernel
        facts = self._facts() if kernel.is_leader else self._told if now_s - self._told_s < FRESH_S else {}
        members = [self._member(member, facts, kernel.leader) for member in sorted(self._voters)]
        quorum = len(self._voters) // 2 + 1
        well = sum(1 for m in members if m["state"] in {"leader", "follower"})
        has_leader = kernel.leader is not None and self._driver.halt_reason is None
        return {
            "cluster": self._cluster,
            "healthy": has_leader and well == len(members),
            "leader": self.name_of(kernel.leader) if has_leader else None,
            "term": kernel.term,
            "index": self._state().index,
            "level": self._state().level,
            "voters": len(self._voters),
            "quorum": quorum,
            "survives": max(0, well - quorum) if has_leader else 0,
            "halted": self._driver.halt_reason,
            "notes": self._notes(),
            "members": members,
        }

    def name_of(self, member: str | None) -> str | None:
        if member is None:
            return None
        row = self._state().members.get(member)
        return row.info.name if row else self._voters.get(member, member)

    def reach(self) -> str:
        """Whom we reach, and how many are missing to a quorum, as a sentence."""
        quorum = len(self._voters) // 2 + 1
        there = 1 + len(self._driver.connected)
        missing = sorted(m for m in self._voters if m != kernel_id(self._driver) and m not in self._driver.connected)
        names = ", ".join(self.name_of(member) or member for member in missing)
        if there >= quorum:
            return f"{there} of {len(self._voters)} voters reach each other, an election is due"
        all_ = len(self._voters)
        return f"this node reaches {there} of {all_} voters, itself included; a quorum is {quorum}; missing: {names}"

    def _facts(self) -> dict[str, tuple[int, float | None, int | None]]:
        """As the leader knows it."""
        kernel, told = self._driver.replica.kernel, self._renewal.told
        facts: dict[str, tuple[int, float | None, int | None]] = {kernel_id(self._driver): (kernel.commit, 0.0, 0)}
        for peer in kernel.followers:
            if peer in self._driver.connected:
                rtt_ms, clock_ms = told.get(peer, (None, None))
                facts[peer] = (kernel.match_index(peer), rtt_ms, clock_ms)
        return facts

    def _member(self, member: str, facts: dict[str, Any], leader: str | None) -> dict[str, Any]:
        row = self._state().members.get(member)
        match, rtt_ms, clock_ms = facts.get(member, (None, None, None))
        commit = max((fact[0] for fact in facts.values()), default=0)
        running = len(self._state().live_attempts.get(member, ()))
        return {
            "name": self.name_of(member),
            "id": member,
            "address": row.info.address if row else member,
            "http": row.info.http if row else None,
            "dc": row.info.dc if row else "",
            "role": str(row.info.role) if row else str(Role.VOTER),
            "state": self._state_of(member, leader, known=match is not None, fresh=bool(facts)),
            "session": row.session if row else None,
            "session_open": bool(row and row.open),
            "applied": match,
            "behind": None if match is None else max(0, commit - match),
            "rtt_ms": None if rtt_ms is None else round(rtt_ms, 3),
            "clock_ms": clock_ms,
            "running": running,
            "version": row.info.version if row else None,
            "level": row.info.level if row else None,
        }

    def _state_of(self, member: str, leader: str | None, *, known: bool, fresh: bool) -> str:
        if self._driver.halt_reason is not None and member == kernel_id(self._driver):
            return "halted"
        if member == leader:
            return "leader"
        if known:
            return "follower"
        if fresh:
            return "unreachable"
        # Nobody leads, so nobody knows of all; but we know whom we reach.
        here = member == kernel_id(self._driver)
        return "up" if here else "connected" if member in self._driver.connected else "unreachable"

    def _notes(self) -> list[str]:
        notes = []
        if self._driver.replica.kernel.leader is None:
            notes.append(f"no leader: {self.reach()}")
        if len(self._voters) == 2:
            notes.append("two voters and no witness: losing either stops everything that needs a quorum")
        if self._driver.replica.clocks.suspect:
            off_ms = self._driver.replica.clocks.deviation_ms()
            notes.append(f"the clock of this node is {off_ms} ms off the median of all: it does not lead")
        level = self._state().level
        if level < LEVEL:
            missing = ", ".join(behind(self._state(), LEVEL))
            notes.append(f"level {level} is in force until all members run {RELEASES[LEVEL]} or newer: {missing}")
        return notes


def kernel_id(driver: Driver) -> str:
    """Our own member id."""
    return driver.replica.me
