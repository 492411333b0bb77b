"""Tokens: whoever makes or revokes one, somebody is left who can make another."""

from __future__ import annotations

from peercron.core.commands import CreateToken, RevokeToken
from peercron.core.limits import TOKEN_MS_MAX, TOKENS_MAX
from peercron.core.naming import named
from peercron.core.state import ClusterState
from peercron.core.token import DIGEST_BYTES, Scope, Token
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def create_token(state: ClusterState, command: CreateToken) -> Verdict:
    """One that has expired makes room for another of its name."""
    flaw = _flaw(command)
    if flaw:
        return Refused(state.index, Refusal.INVALID, flaw)
    digest = _digest_of(state, command.name)
    if command.digest in state.tokens or (digest is not None and state.tokens[digest].alive(state.now_ms)):
        return Refused(
            state.index, Refusal.CONFLICT, f"a token {command.name}, or one with this secret, is there already"
        )
    if Scope.ADMIN not in command.scopes and not _admins(state, but=command.name):
        detail = "scopes: the first token wants admin, or nobody could make the next"
        return Refused(state.index, Refusal.INVALID, detail)
    if digest is None and len(state.tokens) >= TOKENS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"a cluster has at most {TOKENS_MAX} tokens")
    if digest is not None:
        del state.tokens[digest]
    scopes = tuple([scope for scope in Scope if scope in command.scopes])
    expires_ms = state.now_ms + command.ttl_ms if command.ttl_ms else 0
    state.tokens[command.digest] = Token(command.name, scopes, state.now_ms, expires_ms)
    state.happened("token", "created", command.name, scopes=",".join(scopes))
    return Done(state.index, command.name)


def revoke_token(state: ClusterState, command: RevokeToken) -> Verdict:
    digest = _digest_of(state, command.name)
    if digest is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no token {command.name:.128}")
    if len(state.tokens) == 1 and not command.open:
        detail = f"{command.name} is the last token: without it whoever reaches a node may do everything (say open)"
        return Refused(state.index, Refusal.CONFLICT, detail)
    if len(state.tokens) > 1 and Scope.ADMIN in state.tokens[digest].scopes and not _admins(state, but=command.name):
        detail = f"no other token that is alive has scope admin; make one before {command.name} goes"
        return Refused(state.index, Refusal.CONFLICT, detail)
    del state.tokens[digest]
    state.happened("token", "revoked", command.name)
    return Done(state.index, command.name)


def _flaw(command: CreateToken) -> str:
    """Why it can be no token, the field in front; empty: it can."""
    if not named(command.name):
        return f"name: {command.name!r} is not a name of letters, digits, . _ -"
    if len(command.digest) != DIGEST_BYTES:
        return f"digest: wants the {DIGEST_BYTES} bytes of SHA-256"
    if not command.scopes:
        return f"scopes: wants one or more of {', '.join(Scope)}"
    if not 0 <= command.ttl_ms <= TOKEN_MS_MAX:
        return f"expires: wants at most {TOKEN_MS_MAX // 86_400_000} days"
    return ""


def _digest_of(state: ClusterState, name: str) -> bytes | None:
    return next((digest for digest, token in state.tokens.items() if token.name == name), None)


def _admins(state: ClusterState, *, but: str) -> bool:
    """Whether somebody else than `but` can make tokens."""
    rows = (token for token in state.tokens.values() if token.name != but)
    return any(Scope.ADMIN in token.scopes and token.alive(state.now_ms) for token in rows)
