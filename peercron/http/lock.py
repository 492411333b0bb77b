"""Routes of locks: take one, wait for one, renew it, give it back, see who has it, and ask whether a token is stale."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aiohttp import web

from peercron.core.commands import AcquireLock, ForsakeLock, ReleaseLock
from peercron.core.lease import LeaseKind
from peercron.core.limits import LOCK_DELAY_MS
from peercron.core.lock import Claim, LockKind
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.core.verdict import Done
from peercron.errors import Busy, NoLeader, OutcomeUnknown, Refused
from peercron.http.answers import WAIT_MS_MAX, json_answer
from peercron.http.asking import (
    BLOCKING_PARAMETERS,
    CLOCK,
    READ_PARAMETERS,
    TIMEOUT_S,
    Route,
    fresh,
    idempotency_key,
    key_of,
    node_of,
    once_of,
    propose,
    whole_number,
)
from peercron.http.fields import Fields, fields_of
from peercron.http.guard import check_pass
from peercron.http.leaving import LEAVING
from peercron.http.lock_view import get_lock, list_locks
from peercron.http.port import NodePort
from peercron.http.presence import PRESENCE, Gone

TTL_MS = 30_000
#: How long a place in line is kept for a client that went away and gave its request a name of its own: it may come back
#: to it through another node.
LINGER_S = 2.0
#: A grant of which less than this share is left since it was asked for is renewed before it is told.
WORN_SHARE = 0.8


async def acquire(request: web.Request) -> web.Response:
    """Hold the lock: now, or within `wait`, in the order in which it was asked for.

    {"owner": "node/process/thread", "ttl": "30s", "wait": "10s", "kind": "mutex" | "semaphore" | "rw", "permits": 3,
    "shared": true, "delay": "500ms", "request": "…", "client": id, "run": id, "attempt": token}. The answer is a token
    and `expires_in`, in seconds from when the request was SENT: whoever counts from there on a monotonic clock stops
    before the lock is anybody else's. Asking again with the same `request` (or Idempotency-Key) answers the same
    grant, or keeps the place in line, also through another node.

    With `run` and `attempt` it ends with that attempt, which alone may ask for that, by its PEERCRON_TOKEN.

    Refused: locked (not within `wait`), deadlock, conflict (it is in use as another kind), limit.
    Unknown outcome: it stood in line, and may have it. Who asks again with the same `request` is told.
    """
    asked = await _asked(request)
    began_s = request.app[CLOCK].monotonic()
    done, token = await _propose(node_of(request), asked.command), 0
    try:
        while not token:
            if done.value == done.index:
                return _granted(asked, done.index, asked.ttl_ms)
            if isinstance(done.value, int):
                token = done.value
            elif not (token := await _stand(request, asked, done, began_s)):
                done = await _propose(node_of(request), asked.command)
        return await _granted_before(request, asked, token, began_s)
    except (NoLeader, Busy) as error:
        raise OutcomeUnknown(f"it stood in the line of lock {asked.key}, and may have it: {error}") from error


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request to acquire, read."""

    command: AcquireLock
    wait_s: float
    #: Its name is its sender's own, who may use it again.
    named: bool

    @property
    def key(self) -> str:
        return f"{self.command.namespace}/{self.command.name}"

    @property
    def ttl_ms(self) -> int:
        return self.command.claim.ttl_ms


async def _asked(request: web.Request) -> _Asked:
    fields = await fields_of(request, *_FIELDS)
    client, run_id = fields.whole("client", 0), fields.text("run", "")
    shared, permits = fields.flag("shared"), fields.whole("permits", 1, low=1)
    usual = LockKind.RW if shared else LockKind.SEMAPHORE if permits > 1 else LockKind.MUTEX
    wait_ms = min(WAIT_MS_MAX, fields.duration_ms("wait", 0))
    own = fields.text("request", "") or (idempotency_key(request) or "")
    claim = Claim(
        owner=fields.text("owner"),
        ttl_ms=fields.duration_ms("ttl", 0 if client or run_id else TTL_MS),
        request=own or secrets.token_hex(8),
        shared=shared,
        delay_ms=fields.duration_ms("delay", LOCK_DELAY_MS),
        client=client,
        run_id=run_id,
        attempt=fields.whole("attempt", 0),
    )
    kind = fields.choice("kind", LockKind, usual)
    fields.check()
    if claim.run_id:
        claim = replace(claim, run_id=check_pass(request, claim.run_id, claim.attempt))
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    return _Asked(AcquireLock(namespace, name, claim, wait_ms > 0, kind, permits), wait_ms / 1_000, bool(own))


_FIELDS = ("owner", "ttl", "wait", "kind", "permits", "shared", "delay", "request", "client", "run", "attempt")


async def _propose(node: NodePort, command: AcquireLock) -> Done:
    """In the name of this node's session, which is who will tell; once more if that has changed meanwhile."""
    while True:
        member, session = _serving(node)
        try:
            return await propose(node, replace(command, member=member, session=session))
        except Refused as error:
            if error.code != "not_ready" or (member, session) == _serving(node):
                raise


def _serving(node: NodePort) -> tuple[str, int]:
    members = node.state.members.values()
    return next(((m.info.id, m.session) for m in members if m.info.name == node.name), ("", 0))


async def _stand(request: web.Request, asked: _Asked, done: Done, began_s: float) -> int:
    """Wait in line for the token. Whoever leaves the line, for whatever reason, says so.

    0: it was granted to somebody who asked after us under the same name, and who gives it back if nobody is there to
    be told. Whoever asks again is the last.
    """
    node, clock = node_of(request), request.app[CLOCK]
    waiter, until_s = int(done.value or 0), began_s + asked.wait_s
    leave = ForsakeLock(asked.command.namespace, asked.command.name, waiter, done.index)
    try:
        while _stands(node.state, asked, done):
            called = _called(node, asked, done, max(0.0, until_s - clock.monotonic()))
            if not await request.app[PRESENCE].during(request, called):
                return await _leave(request, asked, leave)
        request.app[PRESENCE].ask(request)
    except Gone:
        # If it was granted meanwhile nobody will use it.
        await request.app[PRESENCE].linger(LINGER_S if asked.named else 0.0)
        request.app[LEAVING].begin(replace(leave, release=True))
        raise
    token = _token_of(node.state, asked)
    return token if node.state.lock_grants[asked.key][token].served == done.index else 0


def _stands(state: ClusterState, asked: _Asked, done: Done) -> bool:
    """Whether its place in the line is there, or is not seen here yet."""
    return state.index < done.index or int(done.value or 0) in state.lock_waiters.get(asked.key, {})


async def _called(node: NodePort, asked: _Asked, done: Done, timeout_s: float) -> bool:
    """Whether it was called within that time. It looks again, since a task begins a moment after it was made."""
    if not _stands(node.state, asked, done):
        return True
    return await node.wait_for(("waiter", "", str(done.value)), timeout_s)


def _token_of(state: ClusterState, asked: _Asked) -> int:
    token = state.lock_requests.get(asked.key, {}).get(asked.command.claim.request, 0)
    if token not in state.lock_grants.get(asked.key, {}):
        # This node's session ended and began anew, and whom it served with it; or the client's own has ended. Whoever
        # asks again is told which, or stands in line again.
        raise Refused("stale_session", f"the place in the line of lock {asked.key} is gone; ask again")
    return token


async def _leave(request: web.Request, asked: _Asked, leave: ForsakeLock) -> int:
    """The time is up. The token if it came at the last moment."""
    node = node_of(request)
    holders = [grant.claim.owner for grant in node.state.lock_grants.get(asked.key, {}).values() if not grant.free_ms]
    try:
        done = await node.propose(leave, TIMEOUT_S)
    except (NoLeader, Busy, OutcomeUnknown):
        request.app[LEAVING].begin(replace(leave, release=True))
        raise
    if done.value:
        return int(done.value)
    who = f"held by {holders[-1]}" if holders else "taken"
    raise Refused("locked", f"waited {asked.wait_s:.3g} s for lock {asked.key}, which is {who}", done.index)


async def _granted_before(request: web.Request, asked: _Asked, token: int, began_s: float) -> web.Response:
    """A grant whose time has run for a while: what is left is counted from when it was asked for, as all is."""
    if not asked.ttl_ms:
        return _granted(asked, token, 0)
    node, clock = node_of(request), request.app[CLOCK]
    renewed_s = clock.monotonic()
    if (renewed_s - began_s) * 1_000 < asked.ttl_ms * (1 - WORN_SHARE) and _was_waited_for(node.state, asked, token):
        return _granted(asked, token, asked.ttl_ms)
    left_ms = await node.renew(token, TIMEOUT_S)
    return _granted(asked, token, left_ms + int((renewed_s - began_s) * 1_000))


def _was_waited_for(state: ClusterState, asked: _Asked, token: int) -> bool:
    """Whether it was granted to a waiter of this very request, and so not before it."""
    grant = state.lock_grants.get(asked.key, {}).get(token)
    return grant is not None and grant.waiter == grant.served


def _granted(asked: _Asked, token: int, left_ms: int) -> web.Response:
    told = {"lock": asked.key, "token": token, "expires_in": left_ms / 1_000 if left_ms else None}
    return json_answer(told, headers={"Peercron-Index": str(token)})


async def renew(request: web.Request) -> web.Response:
    """Let it live for its whole time again, counted from when this was SENT: {"token": 42}. Refused: stale_token."""
    token = await _token(request)
    node, key = node_of(request), _key(request)
    lease, grant = node.state.leases.get(token), node.state.lock_grants.get(key, {}).get(token)
    if lease is not None and (lease.kind is not LeaseKind.LOCK or f"{lease.namespace}/{lease.name}" != key):
        raise Refused("stale_token", f"token {token} is not one of lock {key}")
    if lease is None and grant is not None and not grant.free_ms:
        return json_answer({"lock": key, "token": token, "expires_in": None})  # lives as long as its attempt
    left_ms = await node.renew(token, TIMEOUT_S)
    return json_answer({"lock": key, "token": token, "expires_in": left_ms / 1_000})


async def release(request: web.Request) -> web.Response:
    """Give it to the next in line: {"token": 42}. A token that does not hold it changes nothing: stale_token."""
    token = await _token(request)
    command = ReleaseLock(request.match_info["namespace"], request.match_info["name"], token)
    done = await node_of(request).propose(command, TIMEOUT_S, await once_of(request))
    return json_answer({"lock": _key(request), "released": token}, headers={"Peercron-Index": str(done.index)})


async def fence(request: web.Request) -> web.Response:
    """For services that a holder writes to: is ?token= stale, that is, does it not hold the lock now?

    `current` is the newest token that does (null: none). A service that also keeps the largest token it has seen, and
    refuses smaller ones, is safe without asking; this is for those that keep nothing.
    """
    namespace, slash, name = request.match_info["name"].partition("/")
    key = key_of(namespace, name) if slash else key_of("default", namespace)
    token = whole_number(request, "token", 0)
    state = await fresh(request)
    held = [token for token, grant in state.lock_grants.get(key, {}).items() if not grant.free_ms]
    stale = {"token": token, "stale": token not in held} if "token" in request.query else {}
    return json_answer({"lock": key, "current": max(held, default=None)} | stale)


def _key(request: web.Request) -> str:
    return f"{request.match_info['namespace']}/{request.match_info['name']}"


async def _token(request: web.Request) -> int:
    fields: Fields = await fields_of(request, "token")
    token = fields.whole("token", low=1)
    fields.check()
    return token


def _routes() -> Iterator[Route]:
    yield Route("GET", "/v1/locks", list_locks, Scope.READ, BLOCKING_PARAMETERS | {"namespace", "limit"})
    one = "/v1/locks/{namespace}/{name:[^/:]+}"
    yield Route("GET", one, get_lock, Scope.READ, BLOCKING_PARAMETERS)
    for deed in (acquire, renew, release):
        yield Route("POST", f"{one}:{deed.__name__}", deed, Scope.DATA)
    yield Route("GET", "/v1/fence/{name:.+}", fence, Scope.READ, READ_PARAMETERS | {"token"})


ROUTES = tuple(_routes())
