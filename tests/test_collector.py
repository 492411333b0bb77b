"""What stays and is much is looked at once; what is young is still looked at, and what is left behind is found."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from peercron.collector import LONG_S, Calm, resting


class Loop:
    """Holds itself: only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_nothing_is_looked_at_while_much_is_made_nor_afterwards() -> None:
    with resting():
        assert not gc.isenabled()
        made = [[n] for n in range(1_000)]
    assert gc.isenabled()
    assert not any(each is made for each in gc.get_objects())


def test_a_failure_wakes_it_again() -> None:
    with pytest.raises(ValueError, match="unreadable"), resting():
        raise ValueError("unreadable")
    assert gc.isenabled()


@pytest.mark.parametrize(("took_s", "aside"), [(2 * LONG_S, True), (LONG_S / 2, False)])
def test_what_made_a_look_take_long_is_put_aside(took_s: float, aside: bool) -> None:
    now_s = iter(n * took_s for n in range(100))
    calm = Calm(lambda: next(now_s))
    calm.begin()
    try:
        stays = [[n] for n in range(10)]
        gc.collect()
        assert any(each is stays for each in gc.get_objects()) is not aside
    finally:
        calm.end()
    assert calm._looked not in gc.callbacks


def test_what_is_left_behind_is_found() -> None:
    calm = Calm()
    calm.begin()
    try:
        left = weakref.ref(Loop())
        gc.collect()
        assert left() is None
    finally:
        calm.end()
