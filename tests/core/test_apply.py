"""apply is total, numbers what it applies, and never lets time go back."""

from __future__ import annotations

from typing import Any, cast

import pytest

from peercron.core import apply as applying
from peercron.core.apply import apply
from peercron.core.commands import Command, PutKey
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused
from tests.core.builders import NOW


def test_each_command_has_a_number_of_its_own_refused_or_not() -> None:
    state = ClusterState()
    indexes = [apply(state, PutKey("default", "k", b"", if_revision=0), NOW).index for _ in range(3)]
    assert indexes == [1, 2, 3]


def test_time_does_not_go_back() -> None:
    state = ClusterState()
    apply(state, PutKey("default", "k", b""), NOW)
    apply(state, PutKey("default", "k", b""), NOW - 5)
    assert state.now_ms == NOW


def test_a_defect_is_a_refusal_that_reads_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_state: ClusterState, _command: Any) -> None:
        raise ValueError(object())  # its text has an address in it

    monkeypatch.setitem(applying.APPLY, PutKey, broken)
    assert apply(ClusterState(), PutKey("default", "k", b""), NOW) == Refused(1, Refusal.INTERNAL, "ValueError")


def test_what_is_no_command_is_refused() -> None:
    verdict = apply(ClusterState(), cast("Command", "reboot"), NOW)
    assert verdict == Refused(1, Refusal.INTERNAL, "KeyError")


def test_a_machine_out_of_memory_does_not_go_on_as_if_nothing_were(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(_state: ClusterState, _command: Any) -> None:
        raise MemoryError

    monkeypatch.setitem(applying.APPLY, PutKey, starved)
    with pytest.raises(MemoryError):
        apply(ClusterState(), PutKey("default", "k", b""), NOW)
