"""peercron token: made here and shown once, listed without what they are, revoked; and root by the secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peercron.access import digest_of, is_token
from peercron.clock import SystemClock
from peercron.core.token import Scope
from peercron.errors import OutcomeUnknown
from tests.cli.conftest import Shell
from tests.http.conftest import NOW_MS


@pytest.fixture
def ops(shell: Shell, tmp_path: Path) -> str:
    """File of an admin's token."""
    path = tmp_path / "ops.token"
    path.write_text(shell.ok("token", "create", "ops", "--scope", "admin"))
    return str(path)


def test_a_token_is_printed_once_and_alone(shell: Shell) -> None:
    told = shell("token", "create", "ops", "--scope", "admin")
    assert told.exit_code == 0
    token = told.stdout.removesuffix("\n")
    assert is_token(token)
    assert list(shell.node.state.tokens) == [digest_of(token)]
    assert told.stderr.splitlines() == [
        "token ops: admin; it is not shown again",
        "  show it with --token-file FILE, PEERCRON_TOKEN_FILE or PEERCRON_TOKEN",
        "  it is the first: from now on nobody is let in without a token",
    ]
    listed = shell.ok("token", "list", PEERCRON_TOKEN=token)
    assert "ops    admin" in listed
    assert token not in listed


def test_programs_read_it_too(shell: Shell, ops: str) -> None:
    made = ("token", "create", "--token-file", ops, "--scope", "run", "--scope", "data", "--expires", "90d")
    row = json.loads(shell.ok(*made, "ci", "-o", "json"))
    assert (row["name"], row["scopes"], row["expires_at"]) == ("ci", ["data", "run"], "2027-04-15T08:00:00.000Z")
    assert is_token(row["token"])
    for form in ("-q", "-oname"):
        assert is_token(shell.ok(*made, f"x{form}", form).strip())
    assert "is the first" not in shell(*made, "last").stderr


def test_it_is_written_for_its_owner_alone(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "own.token"
    told = shell("token", "create", "own", "--scope", "admin", "--out", str(out))
    assert told.stdout == ""
    assert is_token(out.read_text().strip())
    assert out.stat().st_mode & 0o777 == 0o600
    mine = ("--token-file", str(out), "--scope", "run", "--out")
    assert shell("token", "create", "ci", *mine, str(out)).exit_code == 2, "it takes the place of nothing"
    assert len(shell.node.state.tokens) == 1
    assert shell("token", "create", "own", *mine, str(tmp_path / "other")).exit_code == 6
    assert not (tmp_path / "other").exists()
    row = json.loads(shell.ok("token", "create", "ci", *mine, str(tmp_path / "ci"), "-o", "json"))
    assert "token" not in row


def test_what_may_have_been_made_is_kept(shell: Shell, ops: str, tmp_path: Path) -> None:
    shell.node.fails = OutcomeUnknown()
    told = shell("token", "create", "ci", "--scope", "run", "--out", str(tmp_path / "ci"), "--token-file", ops)
    assert told.exit_code == 7
    assert is_token((tmp_path / "ci").read_text().strip())


def test_who_shows_none_is_told_how_to(shell: Shell, ops: str) -> None:
    told = shell("status")
    assert told.exit_code == 1
    assert "this cluster wants an access token" in told.stderr
    assert "--token-file FILE, PEERCRON_TOKEN_FILE or PEERCRON_TOKEN" in told.stderr
    for way in ({"PEERCRON_TOKEN_FILE": ops}, {"PEERCRON_TOKEN": Path(ops).read_text().strip()}):
        assert shell("status", **way).exit_code == 0
    assert shell("--token-file", ops, "status").exit_code == 0


def test_who_may_not_is_told_what_is_missing(shell: Shell, ops: str) -> None:
    mine = shell.ok("token", "create", "mine", "--scope", "run", "--token-file", ops).strip()
    told = shell("pause", PEERCRON_TOKEN=mine)
    assert told.exit_code == 1
    assert "scope admin, and token mine may read, run" in told.stderr


def test_the_last_one_goes_by_name_and_flag(shell: Shell, ops: str) -> None:
    shell.ok("token", "create", "ci", "--scope", "read", "--token-file", ops)
    assert shell.ok("token", "revoke", "ci", "--token-file", ops) == "token ci revoked\n"
    assert shell("token", "revoke", "ci", "--token-file", ops).exit_code == 3
    told = shell("token", "revoke", "ops", "--token-file", ops)
    assert told.exit_code == 6
    assert "the last one of all goes with --open" in told.stderr
    assert "whoever reaches a node may do everything" in shell.ok(
        "token", "revoke", "ops", "--open", "--token-file", ops
    )
    assert shell("status").exit_code == 0


def test_what_cannot_be_made_is_usage(shell: Shell, ops: str) -> None:
    for text in ("ci --scope root", "ci", "ci --scope run --expires soon", ".ci --scope run"):
        args = text.split()
        assert shell("token", "create", *args, "--token-file", ops).exit_code == 2, args


def test_help_names_the_scopes() -> None:
    from peercron.cli.token import SCOPES

    assert [line.split()[0] for line in SCOPES.splitlines()] == list(Scope)


def test_who_has_the_secret_gets_in(shell: Shell, ops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(shell.node), "pass_key", b"the secret of the nodes")
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.write_bytes(b"the secret of the nodes\n")
    wrong.write_bytes(b"another\n")
    monkeypatch.setattr(SystemClock, "wall_ms", lambda self: NOW_MS)
    assert is_token(shell.ok("token", "create", "new", "--scope", "admin", "--secret-file", str(secret)).strip())
    assert "ops" in shell.ok("token", "list", "--secret-file", str(secret))
    shell.ok("token", "revoke", "ops", "--secret-file", str(secret))
    assert shell("token", "list", "--secret-file", str(wrong)).exit_code == 1
    assert shell("token", "list", "--secret-file", str(secret), "--cluster", "payroll").exit_code == 1


def test_a_secret_that_is_not_there_is_said(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, why in (("none", "No such file"), ("empty", "is empty")):
        told = shell("token", "list", "--secret-file", str(tmp_path / name))
        assert told.exit_code == 2
        assert why in told.stderr
