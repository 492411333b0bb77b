"""What a leader does as soon as somebody comes or goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from peercron.node.leadership import Leadership
from peercron.timers import PROFILES
from tests.node.staged import Driver, driver


class Stage:
    """A leader, and how often it told the others of all."""

    def __init__(self, at: Driver) -> None:
        self.told = 0
        clock: Any = SimpleNamespace(monotonic=lambda: 100.0)
        idle: Any = SimpleNamespace(lead=_nothing, follow=_nothing, stop=_nothing, resend=_nothing)
        self.reached = dict.fromkeys(at.connected, True)
        roster: Any = SimpleNamespace(send=self._send, name_of=str, reached=self.reached.copy)
        self.leadership = Leadership(at, clock, PROFILES["lan"], idle, idle, idle, idle, roster)  # type: ignore[arg-type]

    def _send(self) -> None:
        self.told += 1


def _nothing(*_: object) -> None:
    """Planning and sessions have tests of their own."""


def test_whoever_comes_is_told_of_all_at_once() -> None:
    """Or its status would call everybody but itself and the leader missing."""
    at = driver("a", "b", "c", there="ab")
    stage = Stage(at)
    stage.leadership.turn()
    stage.leadership.turn()
    assert stage.told == 1
    stage.reached["c"] = False
    stage.leadership.turn()
    stage.leadership.turn()
    assert stage.told == 2
    del stage.reached["b"]
    stage.leadership.turn()
    assert stage.told == 3


def test_whoever_answers_a_new_leader_is_told_of_at_once() -> None:
    """Or the status of its followers would miss it until the next round of news."""
    stage = Stage(driver("a", "b", "c"))
    stage.reached["c"] = False
    stage.leadership.turn()
    stage.reached["c"] = True
    stage.leadership.turn()
    assert stage.told == 2
