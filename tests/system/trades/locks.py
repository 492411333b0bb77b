"""What clients do with locks: take, hold, renew, give back, look, and let them come to their end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from tests.system.asking import TRIES, Came, Client, PerhapsHappened, Reply
from tests.system.caller import Answer

#: Held for up to this long before the next thing is done with it.
HOLD_S = 0.05
TTL_S = 0.5, 1.2
WAIT_S = 0.3
SESSION_S = 1.2
#: Tokens of the past that a client tries again.
OLD_KEPT = 20


@dataclass(frozen=True, slots=True)
class Ware:
    """A kind of lock: its log, the beginning of its names, and how many of them are in use at a time."""

    log: str
    name: str
    count: int
    permits: int = 1
    #: After the end of a grant its place stays taken for so long. Nobody waits for these in line: the one who stands
    #: there first would be called a moment after the end of the delay, and others turned away meanwhile.
    delay_s: float | None = None


MUTEX, DELAYED = Ware("lock", "m", 2), Ware("lock", "d", 1, delay_s=0.4)
SEMAPHORE = Ware("semaphore", "s", 2, permits=2)


@dataclass(slots=True)
class Holding:
    """One claim of a client, under which it has a token, or may have."""

    key: str
    request: str
    ttl_s: float
    wait_s: float = 0
    #: Id of the client session that it ends with (0: of none), and until when that is promised.
    session: int = 0
    session_until: float = 0
    token: int = 0


class Locks:
    """Deals in one kind of lock."""

    def __init__(self, client: Client, ware: Ware) -> None:
        self._client, self._ware = client, ware
        self._old: deque[Holding] = deque(maxlen=OLD_KEPT)

    def act(self) -> None:
        client = self._client
        chosen = client.random.random()
        if chosen < 0.12:
            self._look()
        elif chosen < 0.24 and self._old:
            self._try_again(client.random.choice(self._old))
        elif chosen < 0.34 and self._ware.delay_s is None:
            self._within_session()
        else:
            self._hold_and_give_back(self._holding())

    def _holding(self) -> Holding:
        ware, client = self._ware, self._client
        key = f"{ware.name}{client.history.generation}-{client.random.randrange(ware.count)}"
        wait_s = WAIT_S if ware.delay_s is None and client.chance(0.5) else 0
        return Holding(key, client.unique(), client.random.choice(TTL_S), wait_s)

    def _hold_and_give_back(self, holding: Holding) -> None:
        if not self._acquire(holding):
            return
        client = self._client
        client.pause(HOLD_S)
        while client.chance(0.2) and self._renew(holding):
            client.pause(HOLD_S)
        if not client.chance(0.06):  # else its time comes to its end
            self._release(holding)
        self._old.append(holding)

    def _within_session(self) -> None:
        """It is free when it is given back, when the session is closed, or when nobody renews that any more."""
        client, holding = self._client, self._holding()
        opened = client.ask("POST", "/v1/clients", {"ttl": SESSION_S}, understand=session)
        if opened.came is not Came.ANSWER:
            return
        holding.session, left_s = opened.result
        holding.session_until = opened.call + left_s
        if self._acquire(holding):
            client.pause(HOLD_S)
            while client.chance(0.3) and self._renew_session(holding):
                client.pause(HOLD_S)
            if client.chance(0.4):
                self._release(holding)
            self._old.append(holding)
        if not client.chance(0.1):
            self._close_session(holding)

    def _acquire(self, holding: Holding) -> bool:
        client, ware = self._client, self._ware
        for again in range(TRIES):
            reply = client.ask(
                "POST", f"{path(holding)}:acquire", self._claim(holding), understand=granted, detour=again
            )
            token, left_s = reply.result or (False, 0)
            client.note(ware.log, holding.key, "acquire", (holding.request, again > 0), reply, token)
            if reply.came is Came.UNKNOWN:
                # Perhaps it got it. The node gives it back when it finds that the one who waited is gone.
                early = holding.session_until or reply.call + holding.ttl_s
                self._lost(holding, reply.call if holding.wait_s else early)
            if token:
                holding.token = token
                self._promise(holding, holding.session_until or reply.call + left_s)
            if reply.came is Came.ANSWER or client.stopped:
                return bool(token)
        return False

    def _claim(self, holding: Holding) -> dict[str, Any]:
        ware = self._ware
        claim = {"owner": holding.request, "request": holding.request, "wait": holding.wait_s}
        claim |= {"client": holding.session} if holding.session else {"ttl": holding.ttl_s}
        claim |= {"kind": "semaphore", "permits": ware.permits} if ware.permits > 1 else {}
        return claim | {"delay": ware.delay_s or 0}

    def _renew(self, holding: Holding) -> bool:
        reply = self._with_token(holding, "renew")
        if reply.result:
            self._promise(holding, reply.call + reply.result)
        return bool(reply.result)

    def _renew_session(self, holding: Holding) -> bool:
        reply = self._client.ask("POST", f"/v1/clients/{holding.session}:renew", understand=left)
        if reply.result:
            holding.session_until = max(holding.session_until, reply.call + reply.result)
            self._promise(holding, holding.session_until)
        return bool(reply.result)

    def _release(self, holding: Holding) -> None:
        """Until the answer is known, or the client has had enough: then its time ends it."""
        for detour in range(TRIES):
            if self._with_token(holding, "release", detour).came is Came.ANSWER or self._client.stopped:
                return

    def _with_token(self, holding: Holding, deed: str, detour: int = 0) -> Reply:
        reply = self._client.ask(
            "POST", f"{path(holding)}:{deed}", {"token": holding.token}, understand=left, detour=detour
        )
        argument = holding.request, holding.token
        self._client.note(self._ware.log, holding.key, deed, argument, reply, reply.result is not False)
        return reply

    def _close_session(self, holding: Holding) -> None:
        reply = self._client.ask("DELETE", f"/v1/clients/{holding.session}", understand=left)
        self._client.note(self._ware.log, holding.key, "close", holding.request, reply, reply.result is not False)

    def _look(self) -> None:
        holding = self._holding()
        reply = self._client.ask("GET", path(holding), understand=shown)
        self._client.note(self._ware.log, holding.key, "show", None, reply)

    def _try_again(self, holding: Holding) -> None:
        """What was given back or given up, and is in force no more, or may be."""
        deed = self._client.random.choice(["fence", "renew", "release"])
        if deed == "fence":
            reply = self._client.ask("GET", f"/v1/fence/chaos/{holding.key}?token={holding.token}", understand=fresh)
            self._client.note(self._ware.log, holding.key, "fence", (holding.request, holding.token), reply)
        elif deed == "release":
            self._with_token(holding, "release")
        elif not holding.session:
            self._renew(holding)

    def _promise(self, holding: Holding, until: float) -> None:
        holder = holding.request, holding.token
        self._client.history.promise(self._ware.log, holding.key, holder, until, self._ware.delay_s)

    def _lost(self, holding: Holding, moment: float) -> None:
        self._client.history.lose(self._ware.log, holding.key, (holding.request, None), moment, self._ware.delay_s)


def path(holding: Holding) -> str:
    return f"/v1/locks/chaos/{holding.key}"


def granted(answer: Answer) -> tuple[int, float] | bool:
    """(token, seconds) or False. PerhapsHappened: its session has ended, or it was granted while nobody could be told,
    and its time was over when that was possible again.
    """
    if answer.ok:
        return answer.body["token"], answer.body["expires_in"] or 0.0
    if answer.code == "stale_token":
        raise PerhapsHappened
    return {"locked": False}[answer.code]


def left(answer: Answer) -> float | bool:
    """For how many seconds, True where that is not told; False: it was in force no more."""
    if answer.ok:
        return float(answer.body["expires_in"]) if "expires_in" in answer.body else True
    return {"stale_token": False}[answer.code]


def session(answer: Answer) -> tuple[int, float]:
    return {201: (answer.body["client"], answer.body["expires_in"])}[answer.status]


def shown(answer: Answer) -> tuple[tuple[str, int], ...]:
    return tuple((holder["owner"], holder["token"]) for holder in answer.body["holders"])


def fresh(answer: Answer) -> bool:
    return not answer.body["stale"]
