"""How the command line starts: light, with help everywhere, and with the bare form that starts a node."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from peercron import __version__
from peercron.cli.root import COMMANDS, cli
from peercron.consensus.journal import JournalDamaged
from tests.http.conftest import free_port

HEAVY = {"aiohttp", "pysyncobj", "msgpack", "msgspec", "croniter", "asyncio", "rich", "peercron.node", "peercron.http"}
PROGRAM = """
import sys
from peercron.cli.root import cli
try:
    cli(sys.argv[1:])
except SystemExit:
    pass
print("LOADED", *sorted(sys.modules), file=sys.stderr)
"""


def loaded(*args: str) -> set[str]:
    """The modules that a call has pulled in."""
    told = subprocess.run([sys.executable, "-c", PROGRAM, *args], capture_output=True, text=True, check=True)
    return set(told.stderr.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("job", "add", "--help"),
        ("version",),
        ("node", "--help"),
        ("status", "--addr", "127.0.0.1:1"),
        ("job", "list", "--addr", "127.0.0.1:1"),
        ("apply", "-f", "/dev/null", "--addr", "127.0.0.1:1"),
        ("run", "logs", "x", "--addr", "127.0.0.1:1"),
        ("snapshot", "inspect", "/dev/null"),
        ("snapshot", "save", "/dev/null/x", "--addr", "127.0.0.1:1"),
        ("completion", "bash"),
    ],
    ids=" ".join,
)
def test_client_commands_load_no_node(args: tuple[str, ...]) -> None:
    modules = loaded(*args)
    assert "peercron.cli.root" in modules
    assert not modules & HEAVY


def test_help_loads_no_command() -> None:
    assert not {name for name in loaded("--help") if name in ("peercron.cli.job", "peercron.cli.node", "http.client")}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there_and_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "-h"])
    assert result.exit_code == 0
    assert "Usage: peercron" in result.output


def every_command() -> list[tuple[str, click.Command]]:
    found = []
    for name, lazy in COMMANDS.items():
        module, _, attribute = lazy.where.partition(":")
        command = getattr(import_module(module), attribute)
        below = command.commands if isinstance(command, click.Group) else {}
        found += [(name, command), *((f"{name} {sub}", each) for sub, each in below.items())]
    return found


@pytest.mark.parametrize(("name", "command"), every_command(), ids=[name for name, _ in every_command()])
def test_each_command_says_what_it_does(name: str, command: click.Command) -> None:
    assert command.help, name
    assert command.get_short_help_str(200), name


def test_bare_prints_help_and_exits_2() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    assert "Usage: peercron" in result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("stats",), "status"),
        (("--peer", "a:1"), "--peers"),
        (("job", "lst"), "list"),
        (("status", "--tineout", "1s"), "--timeout"),
        (("status", "--timeout", "soon"), "duration"),
        (("status", "--timeout", "99999d"), "longer than 366d"),
        (("queue", "get", "q", "--wait", "99999d"), "longer than 366d"),
        (("state", "set", "k", "\udcff"), "in UTF-8"),
        (("lock", "show", "a\udcff"), "in UTF-8"),
        (("-o", "xml", "status"), "yaml"),
        (("status", "-o", "xml"), "yaml"),
    ],
)
def test_usage_errors_name_the_nearest(args: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "front",
    [(), ("-v",), ("--addr", "x"), ("--addr=x",), ("-o", "json"), ("-ojson",), ("-vq",), ("--timeout", "1s", "-v")],
)
def test_the_bare_form_is_the_node(front: tuple[str, ...]) -> None:
    for args in ((*front, "--peers", "a"), (*front, "--peers=a"), (*front, "node", "--peers", "a")):
        result = CliRunner().invoke(cli, args)
        assert result.exit_code == 2, result.output
        assert "'a' is not HOST:PORT" in result.stderr


def test_a_node_says_all_that_is_wrong_with_its_settings() -> None:
    result = CliRunner().invoke(cli, ["--peers", "a", "--profile", "lam", "--role", "boss"])
    lines = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["--role", "--profile", "--peers"]


def test_a_node_is_run_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    async def run_node(settings: object) -> int:
        await asyncio.sleep(0)
        seen.append(settings)
        return 3

    monkeypatch.setattr("peercron.service.run_node", run_node)
    monkeypatch.setattr("peercron.logs.configure", seen.append)
    args = ["--peers", "127.0.0.1:1,127.0.0.1:2", "--self", "127.0.0.1:2", "--tag", "a=b", "--tag", "c=d"]
    result = CliRunner().invoke(cli, args, env={"PEERCRON_DC": "east"})
    assert result.exit_code == 3
    assert seen[0] is seen[1]
    assert (seen[0].self_address, seen[0].dc, seen[0].tags) == ("127.0.0.1:2", "east", (("a", "b"), ("c", "d")))


def test_damaged_data_are_named_and_what_is_to_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise JournalDamaged("wal-1.log is unreadable at byte 7 of 9, before its tail")

    monkeypatch.setattr("peercron.service.Node", damaged)
    data_dir = tmp_path / "n1"
    args = ["--peers", "127.0.0.1:1", "--self", "127.0.0.1:1", "--data-dir", str(data_dir)]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2, "systemd starts it again and again after any other"
    assert f"{data_dir} is damaged: wal-1.log is unreadable" in result.stderr
    assert "`peercron member remove`" in result.stderr


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["peercron.service.Node", "os.fsync"])
def test_a_node_without_room_says_so_and_may_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(where, no_room)
    data_dir, peer = tmp_path / "n1", f"127.0.0.1:{free_port()}"
    args = ["--peers", peer, "--self", peer, "--http", f"127.0.0.1:{free_port()}", "--data-dir", str(data_dir)]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 1, "systemd never starts it again after 2"
    assert f"peercron: no room left in {data_dir}: No space left on device (" in result.stderr
    assert " free); make room there; then start this node again" in result.stderr


def test_a_seed_is_read_before_anything_starts() -> None:
    result = CliRunner().invoke(cli, ["--peers", "127.0.0.1:1", "--self", "127.0.0.1:1", "--seed", "/dev/null/x"])
    assert (result.exit_code, "--seed" in result.stderr) == (2, True)


def test_version() -> None:
    assert __version__ in CliRunner().invoke(cli, ["version"]).output
    assert CliRunner().invoke(cli, ["version", "-o", "name"]).output == f"{__version__}\n"


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion(shell_name: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell_name])
    assert result.exit_code == 0
    assert "_PEERCRON_COMPLETE" in result.output


def test_help_of_completion_keeps_its_lines() -> None:
    told = CliRunner().invoke(cli, ["completion", "--help"]).output
    assert "\n    zsh: " in told
    assert "\\b" not in told


def test_completion_knows_commands_without_loading_them() -> None:
    environ = {"_PEERCRON_COMPLETE": "bash_complete", "COMP_WORDS": "peercron sta", "COMP_CWORD": "1"}
    assert CliRunner().invoke(cli, [], env=environ).output.split() == ["plain,status", "plain,state"]


def test_python_m_peercron() -> None:
    told = subprocess.run([sys.executable, "-m", "peercron", "version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("peercron ")


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "peercron", "job", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_token_file_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(cli, ["status", "--token-file", "/dev/null/x"])
    assert (result.exit_code, "--token-file" in result.stderr) == (2, True)
