"""Access tokens."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.token import Scope


@dataclass(frozen=True, slots=True)
class CreateToken:
    """Let in who shows what has this SHA-256 digest. From the first one on nobody else is let in.

    `ttl_ms`: for so long, counted from now; 0: until it is revoked. Refused (conflict) where the name is taken by one
    that is alive, and (invalid) without scope admin where no token that is alive has it: nobody could make the next.
    """

    name: str
    digest: bytes
    scopes: tuple[Scope, ...]
    ttl_ms: int = 0


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """Refused (conflict) for the last one with scope admin, unless it is the last of all and `open` says that from then
    on whoever reaches a node may do everything.
    """

    name: str
    open: bool = False
