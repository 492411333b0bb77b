"""peercron events."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from peercron.cli import events, watching
from peercron.errors import Compacted, NoLeader, Unreachable
from tests.cli.conftest import Shell


def test_what_has_happened(shell: Shell) -> None:
    for size in "123":
        shell.ok("pool", "set", "db", size)
    shell.ok("calendar", "set", "holidays", "-", stdin="sat\n")
    told = shell.ok("events").splitlines()
    assert told[-1].split("  ", 1)[1] == "calendar set        holidays  rules=1"
    assert told[-2].endswith("pool set            db  size=3")
    rows = [json.loads(line) for line in shell.ok("events", "--kind", "pool", "-n", "2", "-o", "json").splitlines()]
    assert [(row["kind"], row["what"], row["size"]) for row in rows] == [("pool", "set", 2), ("pool", "set", 3)]
    assert shell.ok("events", "--from", rows[0]["id"], "--name", "db", "-o", "name") == rows[1]["id"] + "\n"
    wrong = shell("events", "--kind", "pools")
    assert wrong.exit_code == 2
    assert "did you mean pool?" in wrong.output


class Nodes:
    """What each call of `stream` gives: pieces, and then an error."""

    addresses = ("a", "b")

    def __init__(self, *calls: Any) -> None:
        self.calls, self.asked = list(calls), []  # type: ignore[var-annotated]

    def stream(self, path: str, *, params: dict[str, str], silence_s: float) -> Any:
        self.asked.append((self.addresses[0], params))
        pieces, error = self.calls.pop(0)
        yield from pieces
        if error is not None:
            raise error


def event(id_: str) -> bytes:
    return b'id: %b\ndata: {"id": "%b", "kind": "pool"}\n\n' % (id_.encode(), id_.encode())


def test_it_goes_on_at_another_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAUSE_S", 0.0)
    half = event("7.1")[:10]
    nodes = Nodes(([event("5.1") + half], Unreachable()), ([], NoLeader()), ([event("7.1")], None), ([], None))
    rows = watching.follow(nodes, "/v1/events", {}, {"last": "9"}, lambda row: row["id"])  # type: ignore[arg-type]
    assert [row["id"] for row in islice(rows, 2)] == ["5.1", "7.1"]
    assert nodes.asked == [("a", {"last": "9"}), ("b", {"from": "5.1"}), ("a", {"from": "5.1"})]


def test_who_cannot_even_begin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable):
        next(watching.follow(Nodes(([], Unreachable())), "/", {}, {}, str))  # type: ignore[arg-type]


def test_what_was_missed_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = Nodes(([event("5.1")], Compacted(90)), ([event("91.1")], None))
    monkeypatch.setattr(events.Options, "connection", lambda _: nodes)
    rows = events._followed(events.Options(), {}, {})
    assert [row["id"] for row in islice(rows, 2)] == ["5.1", "91.1"]
    assert nodes.asked[-1][1] == {"from": "90"}
    assert "not kept any more" in capsys.readouterr().err
