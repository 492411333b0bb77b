"""Who may ask for what: from the first access token on, whoever shows one, runs for themselves, and root.

Every route says which scope it wants. A cluster without tokens asks nobody. What counts is what this node has applied:
one that is cut off goes by the tokens that it knows; who reads with all that is acknowledged is judged by that, too.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from peercron.access import digest_of, is_root_pass, is_token
from peercron.clock import Clock
from peercron.core.state import ClusterState
from peercron.core.token import Scope, allowed
from peercron.core.views import instant
from peercron.errors import NoLeader, OutcomeUnknown, Refused
from peercron.http.port import NodePort
from peercron.runpass import attempt_of

NODE: web.AppKey[NodePort] = web.AppKey("node", NodePort)
CLOCK: web.AppKey[Clock] = web.AppKey("clock", Clock)
#: What the route of a request wants; absent: nothing, or its handler asks.
WANTED: web.RequestKey[Scope] = web.RequestKey("wanted", Scope)
#: What a run may do by its PEERCRON_TOKEN, beside what only it may: its checkpoint, and locks that end with it.
OF_RUNS: Final = allowed((Scope.DATA,))
ASK: Final = "ask who has scope admin for one"
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
BARRIER_S: Final = 5.0
#: The first write at a node that has just begun waits for so long, so often, until the node knows of tokens.
CATCH_UP_S: Final = 0.4
CATCH_UP_TRIES: Final = 3
#: A token that is not known here is looked for this long: who shows a wrong one hears of it in time.
LOOK_S: Final = 1.0


class Door:
    """Whether this node has been as far as the cluster since it began: until then it may not have heard of tokens."""

    def __init__(self) -> None:
        self.caught_up = False


DOOR: web.AppKey[Door] = web.AppKey("door", Door)


class RunIsOver(Refused):
    """The run that asks has ended, or has another attempt by now."""

    status = 401


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for people, and what he may do."""

    name: str
    may: frozenset[Scope]


async def admit(request: web.Request, wanted: Scope) -> None:
    """Let the request in, or raise Refused (unauthenticated, forbidden; stale_token: of a run that is over)."""
    node = request.app[NODE]
    request[WANTED] = wanted
    if not node.state.tokens and request.method not in READS and not request.app[DOOR].caught_up:
        await _catch_up(request)  # reads are looked at again when they are as fresh as they want to be
    try:
        check(request)
    except Refused as refused:
        if refused.code != "unauthenticated" or not is_token(bearer(request)):
            raise
        with suppress(NoLeader, OutcomeUnknown):  # it may have been made a moment ago, at another node
            await node.read_barrier(LOOK_S)
        check(request)


async def _catch_up(request: web.Request) -> None:
    """Raises NoLeader or OutcomeUnknown: this node has not been as far as the cluster yet, and does nothing.

    In short tries: one may wait for a leader that was lost a moment ago, and the next asks the new one.
    """
    for tries_left in reversed(range(CATCH_UP_TRIES)):
        try:
            await request.app[NODE].read_barrier(CATCH_UP_S)
            break
        except (NoLeader, OutcomeUnknown):
            if not tries_left:
                raise
    request.app[DOOR].caught_up = True


def check(request: web.Request) -> None:
    """Once more, by what this node has applied by now: for answers that take their time. Raises as `admit` does."""
    wanted, state = request.get(WANTED), request.app[NODE].state
    if wanted is None or not state.tokens:
        return
    caller = _caller(request, state)
    if wanted not in caller.may:
        has = f"{caller.name} may {', '.join(sorted(caller.may))}"
        raise Refused("forbidden", f"this wants a token with scope {wanted}, and {has}; {ASK} (peercron token create)")


def bearer(request: web.Request) -> str:
    """The token or pass that the request shows; empty: none."""
    scheme, _, said = request.headers.get("Authorization", "").partition(" ")
    return said.strip() if scheme.lower() == "bearer" else ""


def is_root(request: web.Request) -> bool:
    """Whether the request shows a pass that was made of the secret a moment ago."""
    node = request.app[NODE]
    return is_root_pass(bearer(request), node.pass_key, node.settings.cluster, request.app[CLOCK].wall_ms())


def _caller(request: web.Request, state: ClusterState) -> Caller:
    said, node = bearer(request), request.app[NODE]
    if not said:
        raise Refused("unauthenticated", f"this cluster wants an access token (Authorization: Bearer pcr_…); {ASK}")
    wall_ms = request.app[CLOCK].wall_ms()
    # How long the look-up takes tells of digests, which lead nobody to a token.
    if (token := state.tokens.get(digest_of(said))) is not None:
        # The state's time stands still while nothing happens; then the clock of this node says that the end has come.
        if not token.alive(max(state.now_ms, wall_ms)):
            raise Refused("unauthenticated", f"token {token.name} expired at {instant(token.expires_ms)}; {ASK}")
        return Caller(f"token {token.name}", allowed(token.scopes))
    if is_root(request):
        return Caller("root", frozenset(Scope))
    if (attempt := attempt_of(said, node.pass_key, node.settings.cluster)) is not None:
        return _run(node, state, *attempt)
    raise Refused(
        "unauthenticated",
        f"this node knows no such token: it was revoked, is of another cluster, or is made of another secret; {ASK}",
    )


def _run(node: NodePort, state: ClusterState, run_id: str, token: int) -> Caller:
    """An attempt is let in as long as it lives; in slices a node gives them to itself, and the state knows of none."""
    run = state.runs.get(run_id)
    lives = run is not None and run.live_attempt is not None and run.live_attempt.token == token
    if not lives and not node.runs_here(run_id, token):
        raise RunIsOver("stale_token", f"the attempt {token} of run {run_id} is over, and so is what it may do")
    return Caller(f"run {run_id}", OF_RUNS)
