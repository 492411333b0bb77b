"""Tokens: who may do what, once there are any."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from peercron.access import TOKEN_PATTERN
from peercron.core.token import DIGEST_BYTES, Scope
from peercron.http.openapi.operation import Operation
from peercron.http.openapi.parameters import switch
from peercron.http.openapi.shape import DURATION, NAME, Instant, Shape

_Scopes = Annotated[list[Scope], Meta(min_length=1)]
_Digest = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * DIGEST_BYTES}}}$")]


class TokenBody(Shape):
    """A token to be made. The first one has scope admin, a digest, and is shown by the request that makes it.

    expires: after this time it lets nobody in; null: it stays until it is revoked
    digest: SHA-256 of the token, where its holder has made it himself
    """

    name: Annotated[str, Meta(pattern=f"^{NAME}$")]
    scopes: _Scopes
    expires: Annotated[str, Meta(pattern=DURATION)] | None = None
    digest: _Digest | None = None


class TokenView(Shape):
    """What is known of a token."""

    name: str
    scopes: _Scopes
    created_at: Instant
    expires_at: Instant | None
    expired: bool


class TokenMade(TokenView):
    """A token that was made.

    token: what it is, told this once; absent where the request had its digest
    """

    token: Annotated[str, Meta(pattern=f"^{TOKEN_PATTERN}$")] | UnsetType = UNSET


class TokenList(Shape):
    """Tokens in order of name."""

    tokens: list[TokenView]


class TokenRevoked(Shape):
    """The name of a token that is gone.

    open: it was the last: whoever reaches a node may do everything
    """

    revoked: str
    open: bool


OPERATIONS: Final = {
    "GET /v1/tokens": Operation("listTokens", {200: TokenList}),
    "POST /v1/tokens": Operation("createToken", {201: TokenMade}, body=TokenBody),
    "DELETE /v1/tokens/{name}": Operation(
        "revokeToken", {200: TokenRevoked}, parameters={"open": switch("1: also the last one")}
    ),
}
