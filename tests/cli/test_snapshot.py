"""peercron snapshot: save, inspect, restore."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from peercron.cli import progress
from peercron.cli import snapshot as cli_snapshot
from peercron.core.views import digest
from peercron.errors import Busy, OutcomeUnknown
from peercron.http import snapshot as http_snapshot
from tests.cli.conftest import Shell
from tests.wire.test_archive import HEADER, SMALL, sealed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The snapshot of some other cluster."""
    path = tmp_path / "old.snapshot"
    path.write_bytes(SMALL)
    return path


def test_a_snapshot_is_saved_and_told(shell: Shell, tmp_path: Path) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    shell.ok("job", "run", "a")
    path = tmp_path / "now.snapshot"
    said = shell.ok("snapshot", "save", str(path))
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines()}
    assert rows["file"].startswith(str(path))
    assert (rows["checksum"], rows["cluster"]) == ("ok", "peercron")
    assert (rows["jobs"], rows["runs"], rows["keys"], rows["members"]) == ("1", "1", "0", "1")
    assert rows["index"].endswith("generation 1, term 7")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shell.ok("snapshot", "inspect", str(path)) == said
    assert os.listdir(tmp_path) == [path.name]


def test_as_json_it_says_the_same(shell: Shell, file: Path) -> None:
    told = shell.json("snapshot", "inspect", str(file))
    assert told == {
        "file": str(file),
        "size": len(SMALL),
        "checksum": "ok",
        "cluster": HEADER.cluster,
        "index": 17,
        "generation": 1,
        "term": 3,
        "version": "0.1.0",
        "jobs": 2,
        "runs": 1,
        "ledger": 4,
        "keys": 1,
        "members": 3,
        "created_at": "2027-01-15T08:00:00.000Z",
    }
    assert shell.ok("snapshot", "inspect", str(file), "-o", "name") == f"{file}\n"


def test_a_file_that_is_there_is_not_written_over(shell: Shell, file: Path) -> None:
    result = shell("snapshot", "save", str(file))
    assert (result.exit_code, "--force" in result.stderr) == (1, True)
    assert file.read_bytes() == SMALL
    shell.ok("snapshot", "save", str(file), "--force")
    assert file.read_bytes() != SMALL


def test_a_snapshot_that_broke_off_is_not_kept(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that ends too early nor one that arrived changed is ever seen under its name."""
    path = tmp_path / "now.snapshot"
    for pieces in ([SMALL[:-1]], [SMALL[:600], b"x" + SMALL[601:]]):
        monkeypatch.setattr(http_snapshot, "_file", lambda *_, pieces=pieces: iter(pieces))
        result = shell("snapshot", "save", str(path))
        assert (result.exit_code, "is damaged" in result.stderr) == (1, True)
        assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written(shell: Shell, tmp_path: Path) -> None:
    result = shell("snapshot", "save", str(tmp_path / "no" / "such" / "folder"))
    assert (result.exit_code, "cannot be written" in result.stderr) == (1, True)


def test_nobody_to_ask(shell: Shell, tmp_path: Path, file: Path) -> None:
    assert shell("snapshot", "save", str(tmp_path / "x"), "--addr", "127.0.0.1:1").exit_code == 4
    assert shell("snapshot", "restore", str(file), "--addr", "127.0.0.1:1").exit_code == 4
    assert os.listdir(tmp_path) == [file.name]


def test_without_a_leader_a_stale_one_can_be_saved(shell: Shell, tmp_path: Path) -> None:
    shell.node.has_leader = False
    path = str(tmp_path / "x")
    assert shell("snapshot", "save", path).exit_code == 4
    shell.ok("snapshot", "save", path, "--stale")


@pytest.mark.parametrize(
    "spoiled", [SMALL[:-1], SMALL[:400] + b"x" + SMALL[401:], b""], ids=["cut", "changed", "empty"]
)
def test_a_damaged_file_is_said_to_be_damaged(shell: Shell, file: Path, spoiled: bytes) -> None:
    file.write_bytes(spoiled)
    for command in ("inspect", "restore"):
        result = shell("snapshot", command, str(file))
        assert (result.exit_code, "damaged" in result.stderr, result.stdout) == (1, True, "")
    told = json.loads(shell("snapshot", "inspect", str(file), "-o", "json").stderr)
    assert told["code"] == "snapshot_damaged"
    assert not shell.node.state.jobs


def test_a_newer_file_is_said_to_be_newer(shell: Shell, file: Path) -> None:
    file.write_bytes(sealed(SMALL[:8] + b"\0\0\0\2"))
    result = shell("snapshot", "inspect", str(file))
    assert (result.exit_code, "newer version" in result.stderr) == (1, True)


def test_inspect_asks_nobody(shell: Shell, file: Path) -> None:
    shell.ok("snapshot", "inspect", str(file), "--addr", "127.0.0.1:1")
    result = shell("snapshot", "inspect", "/nowhere/x")
    assert (result.exit_code, "cannot be read" in result.stderr) == (1, True)


def test_restore(shell: Shell, file: Path) -> None:
    said = shell.ok("snapshot", "restore", str(file))
    assert f"2 jobs, 1 runs, 4 ledger entries, 1 keys of {HEADER.cluster}" in said
    assert shell.node.state.generation == 2
    assert shell.json("job", "list")
    before = digest(shell.node.state)
    again = shell("snapshot", "restore", str(file))
    assert (again.exit_code, "already" in again.stderr) == (6, True)
    assert "--force replaces what is there" in again.stderr
    shell.node.state.index -= 1
    assert digest(shell.node.state) == before
    shell.node.state.index += 1
    assert shell.json("snapshot", "restore", "--force", str(file))["generation"] == 3


def test_a_restore_that_nobody_answered_is_tried_at_the_next_node(shell: Shell, file: Path) -> None:
    """Sent twice it does no harm: it is named by its content, and nothing is replaced."""
    tried: list[object] = []
    propose = shell.node.propose

    async def once_unknown(command: object, timeout_s: float, key: str | None = None) -> object:
        tried.append(command)
        if len(tried) == 1:
            raise OutcomeUnknown
        return await propose(command, timeout_s, key)  # type: ignore[arg-type]

    shell.node.propose = once_unknown  # type: ignore[method-assign, assignment]
    shell.ok("snapshot", "restore", str(file), "--addr", f"127.0.0.1:1,{shell.url}")
    assert shell.node.state.generation == 2


@pytest.mark.parametrize(("force", "code", "asked"), [(False, 0, 2), (True, 7, 1)], ids=["again", "by force never"])
def test_by_force_nothing_is_sent_twice(
    shell: Shell, file: Path, monkeypatch: pytest.MonkeyPatch, force: bool, code: int, asked: int
) -> None:
    answers: list[Exception] = [OutcomeUnknown()]
    calls: list[None] = []
    put_in_place = http_snapshot.put_in_place

    async def first_unknown(*args: object, **more: object) -> object:
        calls.append(None)
        if answers:
            raise answers.pop()
        return await put_in_place(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(http_snapshot, "put_in_place", first_unknown)
    flags = ("--force",) if force else ()
    result = shell("snapshot", "restore", str(file), *flags, "--addr", f"{shell.url},{shell.url}")
    assert (result.exit_code, len(calls)) == (code, asked), result.stderr


def test_a_busy_node_is_passed_over(shell: Shell, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(http_snapshot.AT_ONCE, "restore", 0)
    result = shell("snapshot", "restore", str(file))
    assert (result.exit_code, Busy.code in result.stderr) == (4, True)


def test_progress_is_drawn_for_who_looks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [bytes(1024)] * 4
    assert list(progress.shown(pieces, "saving", 4096)) == pieces
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.shown(pieces, "sending", 4096)) == pieces
    drawn = capsys.readouterr().err.split("\r")
    assert "2.0 KiB of 4.0 KiB" in drawn[2]
    assert drawn[4].count("█") == progress.WIDTH
    assert drawn[-1] == "\033[K"
    assert list(progress.shown(pieces, "saving")) == pieces
    assert "saving  1.0 KiB" in capsys.readouterr().err


def test_what_no_cluster_takes_back_is_said(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_snapshot, "RESTORE_BYTES_MAX", 10)
    result = shell("snapshot", "save", str(tmp_path / "x"))
    assert (result.exit_code, "no cluster takes back more" in result.stderr) == (0, True)
