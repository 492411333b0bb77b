"""peercron status, member, run, state, config: and what the exit codes say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peercron.cli.output import about, to_yaml
from peercron.core.commands import ReportHealth
from peercron.core.health import HealthReport
from peercron.errors import Busy, NoLeader, OutcomeUnknown, PeercronError, Refused
from tests.cli.conftest import Shell


@pytest.fixture(autouse=True)
def _status(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    member = {
        "name": "n1", "id": "id-n1", "address": "127.0.0.1:1", "role": "voter", "state": "leader", "rtt_ms": 0.4,
        "clock_ms": -3,
    }  # fmt: skip

    def status() -> dict[str, object]:
        return {
            "cluster": "peercron", "healthy": shell.node.lives, "leader": shell.node.leader(), "term": 7, "voters": 1,
            "quorum": 1, "survives": 0, "members": [member], "notes": ["one node is no cluster"],
        }  # fmt: skip

    monkeypatch.setattr(shell.node, "status", status)


def test_status_on_one_screen(shell: Shell) -> None:
    lines = shell.ok("status").splitlines()
    assert lines[0] == "cluster  peercron   healthy   1/1 voters   quorum 1   survives 0 more failures"
    assert lines[1] == "leader   n1   term 7"
    titles = ["NODE", "ADDRESS", "DC", "ROLE", "STATE", "APPLIED", "BEHIND", "RTT", "CLOCK", "RUNNING", "VERSION"]
    assert lines[3].split() == titles
    assert " ".join(lines[4].split()) == "n1 127.0.0.1:1 – voter leader – – 0.4 ms -3 ms – –"
    assert lines[6] == "note: one node is no cluster"
    assert json.loads(shell.ok("status", "-o", "json"))["term"] == 7


def test_status_says_how_it_is_by_its_exit_code(shell: Shell) -> None:
    shell.node.lives = False
    assert shell("status").exit_code == 5
    shell.node.has_leader = False
    result = shell("status")
    assert result.exit_code == 4
    reached = "cluster  peercron   no leader   this node reaches 1 of 1 voters, itself included   quorum 1"
    assert result.stdout.splitlines()[:2] == [reached, "leader   –   term 7"]


def test_verdicts_stand_beside_the_job_and_the_nodes(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(
        "[[jobs]]\nname = 'a'\nshell = 'true'\n"
        "checks = [{name = 'port', endpoint = ':80'}, {name = 'x', endpoint = ':1'}]"
    )
    assert "–" in shell("status", "-o", "wide").stdout
    shell.ok("apply", "-f", str(file))
    uid = shell.json("job", "show", "a")["uid"]
    assert "health of n1  port unknown: n1 has not been looked at yet, x unknown" in shell.ok("job", "show", "a")
    said = [HealthReport(uid, name, "id-n1", well, "refused") for name, well in (("port", False), ("x", True))]
    shell.node_does(shell.node.do(ReportHealth("id-n1", 1, tuple(said))))
    assert "health of n1  port failed: refused" in shell.ok("job", "show", "a")
    wide = shell("status", "-o", "wide").stdout
    assert "CHECKS" in wide
    assert "a/port failed: refused" in wide


def test_members(shell: Shell) -> None:
    assert shell.json("member", "list")[0]["dc"] == "east"
    assert shell.ok("member", "list", "-o", "name") == "n1\n"


def test_nobody_there(shell: Shell) -> None:
    result = shell("status", "--addr", "127.0.0.1:1")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "peercron: cannot reach 127.0.0.1:1: Connection refused",
        "  is a node running there? name the HTTP address of one with --addr or PEERCRON_ADDR",
    ]
    told = json.loads(shell("status", "--addr", "127.0.0.1:1", "-o", "json").stderr)
    assert (told["code"], told["retryable"]) == ("unreachable", True)


def test_the_next_address_is_tried(shell: Shell) -> None:
    shell.ok("--addr", f"127.0.0.1:1,{shell.url}", "status")
    shell.ok("status", "--addr", f"127.0.0.1:1,{shell.url}", PEERCRON_ADDR="127.0.0.1:2")


@pytest.fixture
def no_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before all addresses are asked again takes longer than there is time."""
    monkeypatch.setattr("peercron.client.blocking.PAUSE_S", 3_600.0)


def test_without_a_leader_stale_reads_work(shell: Shell, no_second_round: None) -> None:
    shell.node.has_leader = False
    result = shell("job", "list")
    assert (result.exit_code, "--stale" in result.stderr) == (4, True)
    shell.ok("job", "list", "--stale")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoLeader(), 4),
        (Busy(), 4),
        (OutcomeUnknown(), 7),
        (Refused("conflict", "no"), 6),
        (Refused("not_found", "no"), 3),
        (Refused("invalid", "no"), 2),
        (Refused("limit", "no"), 1),
        (Refused("internal", "no"), 1),
    ],
)
def test_exit_codes(shell: Shell, no_second_round: None, error: PeercronError, code: int) -> None:
    shell.node.fails = error
    result = shell("job", "add", "x", "--shell", "true")
    assert result.exit_code == code
    assert result.stderr.startswith("peercron: ")


def test_that_somebody_was_first_is_said_of_a_revision_only(shell: Shell) -> None:
    """It stood under everything that is in the way of something, and reading that again changed nothing."""
    hint = "somebody else was first: read it again"
    shell.ok("state", "set", "k", "1")
    for command in (("set", "k", "2", "--if-revision", "0"), ("cas", "k", "0", "2"), ("rm", "k", "--if-revision", "1")):
        overtaken = shell("state", *command)
        assert (overtaken.exit_code, hint in overtaken.stderr) == (6, True)
    shell.ok("job", "add", "a", "--shell", "true")
    alive = shell("run", "retry", shell.ok("job", "run", "a", "-o", "name").strip())
    assert (alive.exit_code, hint in alive.stderr) == (6, False)


def test_runs(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    run_id = shell.ok("job", "run", "a", "-o", "name").strip()
    assert shell.ok("run", "list", "--job", "a", "--state", "running", "-o", "name").strip() == run_id
    assert "running" in shell.ok("run", "list")
    assert "asked to end" in shell.ok("run", "cancel", run_id)
    shell.node_does(shell.node.finish_attempt(run_id, "the end\n"))
    shown = shell.ok("run", "show", run_id)
    assert "attempt 1  succeeded on n1, exit 0" in shown
    assert shell.ok("run", "logs", run_id) == "the end\n"
    assert "running" in shell.ok("run", "retry", run_id)
    assert len(shell.ok("run", "list", "--job", "a", "-o", "name").split()) == 2
    assert shell("run", "show", "x/1").exit_code == 3
    assert shell("run", "list", "--state", "runing").exit_code == 2


def test_state(shell: Shell) -> None:
    assert shell.ok("state", "set", "stock", "10").startswith("stock is at revision")
    assert shell.ok("state", "get", "stock") == "10"
    shell.ok("state", "put", "ns:a/b", stdin=b"\x00\xff")
    assert shell("state", "get", "ns:a/b").stdout_bytes == b"\x00\xff"
    assert shell.ok("state", "list", "ns", "-o", "name") == "a/b\n"
    revision = shell.json("state", "list")[0]["revision"]
    assert shell("state", "set", "stock", "11", "--if-revision", "0").exit_code == 6
    shell.ok("state", "set", "stock", "11", "--if-revision", str(revision))
    shell.ok("state", "rm", "stock")
    assert shell("state", "get", "stock").exit_code == 3


def test_config_shows_values_and_their_origin(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('dc = "west"\n')
    flags = ("--peers", "127.0.0.1:7400", "--self", "127.0.0.1:7400", "--config", str(file), "--tag", "a=b")
    told = shell.ok("config", "show", "--origin", *flags, PEERCRON_PROFILE="demo")
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in told.splitlines()}
    assert rows["dc"] == f"west file {file}"
    assert rows["profile"] == "demo environment PEERCRON_PROFILE"
    assert rows["http"] == "127.0.0.1:8400 default"
    assert rows["tags"] == "a=b flag --tag"
    wrong = shell("config", "show", "--peers", "a")
    assert (wrong.exit_code, "HOST:PORT" in wrong.stderr) == (2, True)


def test_yaml_is_block_style() -> None:
    value = {"a": [1, {"b": None, "c": []}], "d": {}, "e": "x: y"}
    assert to_yaml(value) == '"a":\n  - 1\n  -\n    "b": null\n    "c": []\n"d": {}\n"e": "x: y"'


@pytest.mark.parametrize(
    ("ms", "text"), [(5, "5ms"), (61_000, "1m 1s"), (3_725_000, "1h 2m"), (90_000_000, "1d 1h"), (9_999, "9s")]
)
def test_about(ms: int, text: str) -> None:
    assert about(ms) == text
