"""peercron pool."""

from __future__ import annotations

from tests.cli.conftest import Shell


def test_pools(shell: Shell) -> None:
    assert shell.ok("pool", "set", "db", "2") == "pool  db: 0 of 2 used\n"
    assert [row["name"] for row in shell.json("pool", "list")] == ["db"]
    assert "db    2     0" in shell.ok("pool", "list")
    assert shell.ok("pool", "rm", "db") == 'pool "db" deleted\n'
    assert shell("pool", "rm", "db").exit_code == 3
