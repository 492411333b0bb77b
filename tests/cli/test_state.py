"""peercron state, from a shell."""

from __future__ import annotations

import json
import threading

import pytest

from peercron.cli import watching
from peercron.client import Connection
from peercron.errors import Compacted
from tests.cli.conftest import Shell


def test_set_get_cas_and_rm(shell: Shell) -> None:
    told = shell("state", "set", "ops:a/b", "1", "-o", "json")
    revision = json.loads(told.stdout)["revision"]
    assert shell("state", "get", "ops:a/b").stdout == "1"
    assert shell("state", "cas", "ops:a/b", "0", "2").exit_code == 6
    assert shell("state", "cas", "ops:a/b", str(revision), stdin=b"2").exit_code == 0
    assert shell("state", "get", "ops:a/b").stdout == "2"
    assert shell("state", "rm", "ops:a/b").exit_code == 0
    assert shell("state", "get", "ops:a/b").exit_code == 3


def test_a_key_in_the_default_namespace_may_have_colons(shell: Shell) -> None:
    shell("state", "set", "default:a:b", "1")
    assert list(shell.node.state.keys["default"]) == ["a:b"]


def test_counting(shell: Shell) -> None:
    assert [shell("state", "incr", "n", *by).stdout for by in ([], ["41"], ["-2"])] == ["1\n", "42\n", "40\n"]
    assert json.loads(shell("state", "incr", "n", "-o", "json").stdout)["value"] == 41
    assert shell("state", "incr", "n", "--ttl", "5").exit_code == 0


def test_a_time(shell: Shell) -> None:
    shell("state", "set", "k", "1", "--ttl", "1m")
    assert [lease.ttl_ms for lease in shell.node.state.leases.values()] == [60_000]


def test_watching(shell: Shell) -> None:
    start = shell.node.state.index
    shell("state", "set", "a", '{"n": 1}')
    shell("state", "set", "b", stdin=b"\xff")
    shell("state", "rm", "a")
    told = shell("state", "watch", "--after", str(start), "--count", "3").stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in told] == ['a  {"n": 1}', "b  base64:/w==", "a  (deleted)"]
    rows = shell("state", "watch", "--after", str(start), "--prefix", "b", "--count", "1", "-o", "json").stdout
    assert json.loads(rows)["base64"] == "/w=="


def test_a_watch_that_begins_now_waits(shell: Shell) -> None:
    watched = watching.changes(Connection([shell.url]), "default", "", None)
    told: list[object] = []
    reader = threading.Thread(target=lambda: told.append(next(watched)["key"]))
    reader.start()
    while reader.is_alive():
        shell("state", "set", "k", "1")
        reader.join(0.05)
    assert told == ["k"]


def test_what_is_not_kept_any_more_is_said(shell: Shell) -> None:
    shell.node.state.changes_floor = shell.node.state.index + 10
    with pytest.raises(Compacted):
        next(watching.changes(Connection([shell.url]), "default", "", 1))
    result = shell("state", "watch", "--after", "1")
    assert (result.exit_code, "list the keys" in result.stderr) == (1, True)
