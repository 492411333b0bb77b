"""Questions to the leader: answered here or by mail, put again when the answer is lost, and never for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peercron.clock import SystemClock
from peercron.errors import NoLeader, OutcomeUnknown, Refused
from peercron.node import errands as errands_module
from peercron.node.errands import SERVED_MAX, Errands
from tests.node.staged import Driver, driver, until


class Desk:
    """One node's errands; what it mails is handed to another when the test says so."""

    def __init__(self, name: str, leader: str | None = "a") -> None:
        self.driver: Driver = driver("a", "b")
        self.driver.replica.me, self.driver.replica.kernel.leader = name, leader
        self.served: list[tuple[str, str, Any]] = []
        self.answer: Any = "yes"
        self.errands = Errands(self.driver, SystemClock(), self.serve)  # type: ignore[arg-type]

    async def serve(self, peer: str, errand: str, body: Any) -> Any:
        self.served.append((peer, errand, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def post(self, other: Desk) -> None:
        """Hand over what is mailed, as soon as there is something."""
        mails = self.driver.replica.mails
        await until(lambda: mails)
        _, kind, body = mails.pop(0)
        other.errands.on_mail(self.driver.replica.me, kind, body)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands_module, "PAUSE_S", 0.0)


async def test_the_leader_answers_itself() -> None:
    a = Desk("a")
    assert await a.errands.ask("admit", 1, 5.0) == "yes"
    assert a.served == [("a", "admit", 1)]


async def test_another_asks_by_mail() -> None:
    a, b = Desk("a"), Desk("b")
    asking = asyncio.ensure_future(b.errands.ask("admit", 1, 5.0))
    await b.post(a)
    await a.post(b)
    assert await asking == "yes"
    assert a.served == [("b", "admit", 1)]
    assert (a.driver.kicks, b.driver.kicks) == (1, 1)


@pytest.mark.parametrize("error", [Refused("conflict", "taken"), RuntimeError("a defect")])
async def test_a_no_is_an_answer(error: Exception) -> None:
    a, b = Desk("a"), Desk("b")
    a.answer = error
    asking = asyncio.ensure_future(b.errands.ask("admit", 1, 5.0))
    await b.post(a)
    await a.post(b)
    with pytest.raises(Refused) as caught:
        await asking
    assert caught.value.code == (error.code if isinstance(error, Refused) else "internal")


async def test_a_lost_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands_module, "AGAIN_S", 0.01)
    a, b = Desk("a"), Desk("b")
    asking = asyncio.ensure_future(b.errands.ask("admit", 1, 60.0))
    await until(lambda: len(b.driver.replica.mails) > 1)
    monkeypatch.setattr(errands_module, "AGAIN_S", 60.0)
    late = b.driver.replica.mails.pop(0)
    b.driver.replica.mails.clear()
    a.errands.on_mail("b", late[1], late[2])
    await a.post(b)  # the answer to a question that was given up is nobody's
    await b.post(a)
    await a.post(b)
    assert await asking == "yes"


async def test_who_leads_no_more_says_so_and_the_next_is_asked() -> None:
    a, b = Desk("a"), Desk("b")
    a.answer = NoLeader()
    asking = asyncio.ensure_future(b.errands.ask("remove", "c", 60.0))
    await b.post(a)
    await a.post(b)
    b.driver.replica.kernel.leader = "b"
    assert await asking == "yes"
    assert b.served == [("b", "remove", "c")]


async def test_without_a_leader_nothing_was_asked() -> None:
    b = Desk("b", leader=None)
    with pytest.raises(NoLeader):
        await b.errands.ask("admit", 1, 0.02)
    assert b.driver.replica.mails == []


async def test_without_an_answer_the_outcome_is_unknown() -> None:
    b = Desk("b")
    with pytest.raises(OutcomeUnknown):
        await b.errands.ask("admit", 1, 0.02)


async def test_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    a, never = Desk("a"), asyncio.Event()

    async def wait(*_: object) -> None:
        await never.wait()

    monkeypatch.setattr(a.errands, "_serve", wait)
    for number in range(SERVED_MAX + 5):
        a.errands.on_mail("b", "ask", (number, "admit", 1))
    assert len(a.errands._tasks) == SERVED_MAX
    a.errands.close()


async def test_mail_that_is_none_is_for_the_caller_to_refuse() -> None:
    with pytest.raises((TypeError, ValueError)):
        Desk("a").errands.on_mail("b", "ask", (1, 2))
