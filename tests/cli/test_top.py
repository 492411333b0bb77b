"""peercron top: one screen where nobody looks, a live one where somebody does, at whichever node answers."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console, RenderableType

from peercron.cli.options import Options
from peercron.cli.screen import fitting, frame
from peercron.cli.top import Source
from peercron.errors import Unreachable
from tests.cli.conftest import Shell
from tests.style.trees import ROOT

SIZE = (110, 30)
SEEN_S = 20
READS_MAX = 500


@pytest.fixture
def busy(shell: Shell) -> Shell:
    """A cluster in which something goes on."""
    shell.ok("job", "add", "report", "--every", "1h", "--shell", "true")
    run = shell.json("job", "run", "report")
    shell.node_does(shell.node.start_attempt(run["id"]))
    shell.ok("queue", "put", "mail", "1")
    shell.ok("lock", "acquire", "db", "--owner", "me")
    return shell


def drawn(seen: RenderableType, width: int = SIZE[0]) -> list[str]:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    console.print(seen)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def overview(shell: Shell, **changes: Any) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(shell.ok("top", "-o", "json"))
    return seen | changes


def test_one_screen_where_nobody_looks(busy: Shell) -> None:
    told = busy.ok("top")
    assert told == busy.ok("top", "--once")
    assert "\x1b" not in told
    words = [line.split() for line in told.splitlines()]
    assert words[0][:5] == ["peercron", "healthy", "leader", "n1", "term"]
    assert ["report", "n1", "started", "0ms", "1"] in words
    assert ["mail", "1", "1", "0", "0"] in words
    assert ["db", "me", "0ms", "0"] in words
    assert any(line[1:4] == ["run", "started", "report"] for line in words)


def test_programs_get_what_it_is_made_of(busy: Shell) -> None:
    assert [row["job"] for row in overview(busy)["runs"]] == ["default/report"]


def test_nobody_answers(shell: Shell) -> None:
    result = shell("top", "--addr", "127.0.0.1:1,127.0.0.1:2", "--once")
    assert result.exit_code == 4
    assert "cannot reach 127.0.0.1:" in result.stderr


def test_the_next_node_is_asked_when_one_is_gone_and_stays_in_front(shell: Shell) -> None:
    source = Source(Options(addresses=("http://127.0.0.1:1", shell.url)))
    assert source.ask(5)[0] == shell.url
    assert source.addresses[0] == shell.url


def test_members_that_nobody_named_are_asked_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(Options(addresses=(shell.url,)))
    told = {"cluster": "c", "healthy": True, "leader": "n1", "members": [{"http": "127.0.0.1:2"}, {"http": None}]}
    monkeypatch.setattr(shell.node, "status", lambda: told)
    source.ask(5)
    asked = []

    def ask(address: str, rows: int) -> dict[str, Any]:
        asked.append(address)
        raise Unreachable

    monkeypatch.setattr(source, "_ask", ask)
    with pytest.raises(Unreachable):
        source.ask(5)
    assert asked == [shell.url, "http://127.0.0.1:2"]


def test_a_screen_fits_where_it_is_drawn(busy: Shell) -> None:
    seen = overview(busy)
    for key in ("runs", "coming", "queues", "locks", "events"):
        seen[key] = [*seen[key], *seen[key]] * 20 if seen[key] else [{"job": "default/a", "at": seen["at"]}] * 40
    for width in (60, SIZE[0]):
        for height in (24, 30, 60):
            lines = drawn(fitting(("http://a:8400", seen), "", width, height), width)
            assert len(lines) <= height
            assert all(len(line) <= width for line in lines)
    wide = drawn(fitting(("http://a:8400", seen), "", *SIZE))
    assert any("running" in line and "next of" in line for line in wide), "tables stand beside each other"


def test_it_is_said_that_nobody_answers_and_what_was_seen_stays(busy: Shell) -> None:
    assert drawn(fitting(None, "", *SIZE)) == ["asking …"]
    lost = drawn(fitting(("http://a:8400", overview(busy)), "cannot reach a:8400", *SIZE))
    assert lost[0] == "no node answers: cannot reach a:8400; it is tried again"
    assert lost[1].startswith("peercron  healthy")


def test_no_leader_and_a_paused_cluster_are_said(busy: Shell) -> None:
    seen = overview(busy)
    seen["status"] |= {"leader": None, "healthy": False, "paused": True, "notes": ["no leader: it is alone"]}
    lines = drawn(frame("http://a:8400", seen, rows=3))
    assert lines[0].startswith("peercron  no leader   leader –")
    assert lines[0].endswith("paused")
    assert "note: no leader: it is alone" in lines


@contextmanager
def terminal(url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`peercron top` on a terminal of its own, and the other end of that."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    environ = {**os.environ, "PEERCRON_ADDR": url, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):  # what runs the tests may say how large its own screen is
        environ.pop(name, None)
    command = [sys.executable, "-m", "peercron", "top", "--every", "100ms"]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ, cwd=ROOT) as process:
        os.close(its)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


def until(end: int, wanted: bytes) -> None:
    """Read what is drawn until this is there."""
    seen = b""
    for _ in range(READS_MAX):
        if wanted in seen:
            return
        assert select.select([end], [], [], SEEN_S)[0], seen
        seen += os.read(end, 65_536)
    pytest.fail(f"{wanted!r} is not among {seen!r}")


@pytest.mark.parametrize("how", ["q", "Ctrl-C"])
def test_a_live_screen_goes_on_until_it_is_told_to_end(busy: Shell, how: str) -> None:
    with terminal(busy.url) as (process, end):
        until(end, b"report")
        busy.ok("queue", "put", "letters", "1")
        until(end, b"letters")
        if how == "q":
            os.write(end, b"xyq")
        else:
            process.send_signal(signal.SIGINT)
        until(end, b"\x1b[?1049l")
        assert process.wait(SEEN_S) == 0
