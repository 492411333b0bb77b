"""Routes of access tokens: who may do what. The first one closes the cluster to whoever shows none."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from peercron.access import digest_of, fresh_token, is_token
from peercron.core import views
from peercron.core.commands import CreateToken, RevokeToken
from peercron.core.limits import TOKEN_MS_MAX
from peercron.core.token import DIGEST_BYTES, Scope, Token
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import json_answer
from peercron.http.asking import CLOCK, READ_PARAMETERS, Route, commit, fields_of_body, fresh, node_of, switch
from peercron.http.auth import bearer, is_root
from peercron.times import parse_duration_ms

FIRST: Final = (
    "the first token closes the cluster to whoever shows none: it must be the SHA-256 of the token that this request "
    "shows (Authorization: Bearer pcr_…); `peercron token create` makes one so"
)


async def list_tokens(request: web.Request) -> web.Response:
    """All tokens, in order of name: what each may do and for how long; what they are is known to their holders only."""
    rows = sorted((await fresh(request)).tokens.values(), key=lambda row: row.name)
    return json_answer({"tokens": [_view(request, row) for row in rows]})


async def create_token(request: web.Request) -> web.Response:
    """Let in whoever shows this token. It is told in this answer, and never again: only its digest is kept.

    Who would rather not have it travel makes it himself, random and like pcr_ and 40 digits of hexadecimal, and gives
    its SHA-256 as `digest`; the answer does not have it then. The first one closes the cluster to everybody else, so
    that it has to be in somebody's hands: it is made so, and shown by the request that makes it.
    """
    command, token = _asked(await fields_of_body(request, "name", "scopes", "expires", "digest"))
    if not node_of(request).state.tokens and not _is_shown(request, command.digest) and not is_root(request):
        raise ConfigError([Problem("digest", FIRST)])
    await commit(request, command)
    row = node_of(request).state.tokens.get(command.digest)
    if row is None:  # it was carried out when it came before, and the answer got lost with what was made for it
        detail = f"token {command.name} was made when this request first came; revoke it, and make another"
        raise Refused("conflict", detail)
    return json_answer(_view(request, row) | ({"token": token} if token else {}), status=201)


async def revoke_token(request: web.Request) -> web.Response:
    """From now on it lets nobody in; ?open=1 for the last one, after which whoever reaches a node may do everything."""
    name = request.match_info["name"]
    await commit(request, RevokeToken(name, switch(request, "open")))
    return json_answer({"revoked": name, "open": not node_of(request).state.tokens})


def _is_shown(request: web.Request, digest: bytes) -> bool:
    said = bearer(request)
    return is_token(said) and digest_of(said) == digest


def _asked(fields: dict[str, Any]) -> tuple[CreateToken, str]:
    """The command, and the token itself where it is made here."""
    problems: list[Problem] = []
    name, scopes, digest, token = fields.get("name"), fields.get("scopes"), fields.get("digest"), ""
    if not isinstance(name, str) or not name:
        problems.append(Problem("name", "required: what the token is called"))
    if not isinstance(scopes, list) or not scopes or not all(scope in tuple(Scope) for scope in scopes):
        problems.append(Problem("scopes", f"must be a list of one or more of {', '.join(Scope)}"))
    ttl_ms = _ttl_ms(fields.get("expires"), problems)
    if digest is None:
        token = fresh_token()
        digest = digest_of(token).hex()
    elif not (isinstance(digest, str) and _is_digest(digest)):
        problems.append(Problem("digest", f"must be SHA-256: {2 * DIGEST_BYTES} digits of hexadecimal"))
    if problems:
        raise ConfigError(problems)
    return CreateToken(str(name), bytes.fromhex(digest), tuple(map(Scope, scopes or ())), ttl_ms), token


def _ttl_ms(expires: Any, problems: list[Problem]) -> int:
    if expires is None:
        return 0
    try:
        ttl_ms = parse_duration_ms(expires) if isinstance(expires, str) else 0
    except ValueError:
        ttl_ms = 0
    if not 0 < ttl_ms <= TOKEN_MS_MAX:
        problems.append(Problem("expires", f'must be like "90d", and at most {TOKEN_MS_MAX // 86_400_000} days'))
    return ttl_ms


def _is_digest(text: str) -> bool:
    return len(text) == 2 * DIGEST_BYTES and set(text) <= set("0123456789abcdef")


def _view(request: web.Request, row: Token) -> dict[str, Any]:
    now_ms = max(node_of(request).state.now_ms, request.app[CLOCK].wall_ms())
    return {
        "name": row.name,
        "scopes": list(row.scopes),
        "created_at": views.instant(row.created_ms),
        "expires_at": views.instant(row.expires_ms or None),
        "expired": not row.alive(now_ms),
    }


ROUTES = (
    Route("GET", "/v1/tokens", list_tokens, Scope.READ, READ_PARAMETERS),
    Route("POST", "/v1/tokens", create_token, Scope.ADMIN),
    Route("DELETE", "/v1/tokens/{name}", revoke_token, Scope.ADMIN, frozenset({"open"})),
)
