"""Tokens in the state: who is let in to do what, and that somebody is always left who can let others in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peercron.core.chronicle import Chronicle
from peercron.core.commands import CreateToken, PutKey, RevokeToken
from peercron.core.limits import TOKEN_MS_MAX
from peercron.core.state import ClusterState
from peercron.core.token import MAY, WITH, Scope, allowed
from peercron.core.verdict import Refusal
from tests.core import test_restore
from tests.core.builders import NOW, SECOND, cluster, complaint, done, refused

OPS = CreateToken("ops", b"o" * 32, (Scope.ADMIN,))
CI = CreateToken("ci", b"c" * 32, (Scope.JOBS, Scope.DATA))


def guarded(*more: CreateToken) -> ClusterState:
    state = cluster("a")
    for command in (OPS, *more):
        done(state, command)
    return state


def names(state: ClusterState) -> list[str]:
    return [token.name for token in state.tokens.values()]


def test_a_token_is_a_name_a_digest_and_scopes() -> None:
    state = guarded(replace(CI, ttl_ms=SECOND))
    token = state.tokens[CI.digest]
    assert (token.name, token.scopes, token.created_ms) == ("ci", (Scope.DATA, Scope.JOBS), NOW)
    assert [token.alive(now) for now in (NOW, NOW + SECOND - 1, NOW + SECOND)] == [True, True, False]
    assert state.tokens[OPS.digest].alive(NOW + TOKEN_MS_MAX)


def test_what_a_scope_has_with_it() -> None:
    assert allowed((Scope.ADMIN,)) == set(Scope)
    assert allowed((Scope.JOBS,)) == {Scope.READ, Scope.RUN, Scope.JOBS}
    assert allowed((Scope.DATA, Scope.RUN)) == {Scope.READ, Scope.DATA, Scope.RUN}
    assert allowed(()) == frozenset()
    assert all(scope in WITH[scope] and Scope.READ in WITH[scope] and MAY[scope] for scope in Scope)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "no good"}, "name"),
        ({"name": "pcr_" + "0" * 200}, "name"),
        ({"digest": b"short"}, "digest"),
        ({"scopes": ()}, "scopes"),
        ({"ttl_ms": -1}, "expires"),
        ({"ttl_ms": TOKEN_MS_MAX + 1}, "expires"),
    ],
)
def test_what_can_be_no_token(changes: dict[str, Any], field: str) -> None:
    state = guarded()
    assert complaint(state, replace(CI, **changes)) == field
    assert names(state) == ["ops"]


def test_the_first_can_make_the_next() -> None:
    state = cluster("a")
    assert complaint(state, CI) == "scopes"
    done(state, OPS)
    done(state, CI)
    assert names(state) == ["ops", "ci"]


def test_where_all_admins_have_expired_the_next_is_one() -> None:
    state = cluster("a")
    done(state, replace(OPS, ttl_ms=SECOND))
    done(state, CI)
    done(state, PutKey("default", "k", b""), NOW + SECOND)
    assert complaint(state, replace(CI, name="more", digest=b"m" * 32)) == "scopes"
    assert complaint(state, replace(OPS, digest=b"m" * 32, scopes=(Scope.RUN,))) == "scopes"
    done(state, replace(OPS, digest=b"p" * 32))
    assert names(state) == ["ci", "ops"], "it took the place of the one that had expired"
    assert b"p" * 32 in state.tokens


def test_names_and_secrets_are_not_shared() -> None:
    state = guarded(CI)
    assert refused(state, replace(CI, digest=b"d" * 32)) is Refusal.CONFLICT
    assert refused(state, replace(CI, name="other")) is Refusal.CONFLICT


def test_there_are_not_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.core.apply.token.TOKENS_MAX", 2)
    state = guarded(replace(CI, ttl_ms=SECOND))
    done(state, PutKey("default", "k", b""), NOW + SECOND)
    assert refused(state, replace(CI, name="more", digest=b"m" * 32)) is Refusal.LIMIT
    done(state, replace(CI, digest=b"m" * 32))


def test_revoked_it_is_gone() -> None:
    state = guarded(CI)
    done(state, RevokeToken("ci"))
    assert names(state) == ["ops"]
    assert refused(state, RevokeToken("ci")) is Refusal.NOT_FOUND


def test_the_last_admin_stays_while_there_are_others() -> None:
    state = guarded(CI)
    assert refused(state, RevokeToken("ops")) is Refusal.CONFLICT
    assert refused(state, RevokeToken("ops", open=True)) is Refusal.CONFLICT
    done(state, CreateToken("ann", b"a" * 32, (Scope.ADMIN,), SECOND))
    done(state, PutKey("default", "k", b""), NOW + SECOND)
    assert refused(state, RevokeToken("ops")) is Refusal.CONFLICT, "the other admin has expired"
    done(state, RevokeToken("ann"))
    done(state, CreateToken("bob", b"b" * 32, (Scope.ADMIN,)))
    done(state, RevokeToken("ops"))


def test_to_open_the_cluster_again_is_said() -> None:
    state = guarded()
    assert refused(state, RevokeToken("ops")) is Refusal.CONFLICT
    done(state, RevokeToken("ops", open=True))
    assert state.tokens == {}


def test_it_is_told_without_what_it_is_known_by() -> None:
    state = cluster("a")
    state.chronicle = Chronicle(state.index)
    for command in (OPS, CI, RevokeToken("ci")):
        done(state, command)
    events = state.chronicle.after(state.chronicle.floor, 9) or []
    assert [(event.kind, event.what, event.name, dict(event.facts)) for event in events] == [
        ("token", "created", "ops", {"scopes": "admin"}),
        ("token", "created", "ci", {"scopes": "data,jobs"}),
        ("token", "revoked", "ci", {}),
    ]


def test_a_snapshot_brings_its_tokens_where_there_are_none() -> None:
    new = cluster("p")
    test_restore.restored(guarded(CI), new)
    assert names(new) == ["ops", "ci"]


def test_a_snapshot_brings_no_revoked_token_back() -> None:
    old, new = guarded(CI), guarded()
    test_restore.restored(old, new)
    assert names(new) == ["ops"]
