"""peercron member: add, remove, transfer, drain, undrain, list."""

from __future__ import annotations

import json

import pytest

from peercron.cli import member
from peercron.core.apply.configuration import configure
from peercron.core.member import Configuration, Role, Seat
from peercron.errors import Refused
from tests.cli.conftest import Shell


@pytest.fixture
def cluster(shell: Shell) -> Shell:
    """n1, and the witness w, which never came."""
    address = shell.node.state.members["id-n1"].info.address
    seats = (Seat("id-n1", "n1", address), Seat("beef", "w", "10.0.0.9:7400", Role.WITNESS))
    configure(shell.node.state, Configuration(seats))
    return shell


def test_add_says_how_to_start_it(cluster: Shell) -> None:
    lines = cluster.ok("member", "add", "10.0.0.4:7400", "--role", "witness", "--name", "n4").splitlines()
    assert lines[0] == "10.0.0.4:7400 is expected as witness. Start it there:"
    assert lines[2].startswith("  peercron --join ")
    assert lines[2].endswith(" --self 10.0.0.4:7400 --name n4 --role witness")
    assert cluster.json("member", "add", "10.0.0.4:7400", "--name", "n4")["state"] == "invited"
    assert cluster.ok("member", "add", "10.0.0.4:7400", "-o", "name") == "10.0.0.4:7400\n"


def test_add_knows_who_is_there(cluster: Shell) -> None:
    address = cluster.node.state.seats["id-n1"].address
    assert cluster.ok("member", "add", address) == f"{address} is member n1 already: voter, leader\n"


def test_add_says_what_is_wrong(cluster: Shell) -> None:
    assert cluster("member", "add", "nowhere").exit_code == 2
    assert cluster("member", "add", "a:1", "--name", "n1").exit_code == 6


def test_remove(cluster: Shell) -> None:
    said = cluster.ok("member", "remove", "w")
    assert said == "member w removed; to come back it needs an empty --data-dir and --join\n"
    assert "beef" not in cluster.node.state.seats
    assert cluster("member", "remove", "w").exit_code == 3
    cluster.ok("member", "add", "10.0.0.4:7400")
    assert cluster.ok("member", "remove", "10.0.0.4:7400") == "10.0.0.4:7400 is not expected any more\n"


class Terminal:
    """Stands where the command looks whether somebody sits there."""

    class stdin:  # noqa: N801 - the name that is looked up
        @staticmethod
        def isatty() -> bool:
            return True


def test_remove_asks_on_a_terminal(cluster: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "sys", Terminal)
    refused = cluster("member", "remove", "w", stdin="n\n")
    assert (refused.exit_code, "remove w from the cluster?" in refused.stderr) == (130, True)
    assert "beef" in cluster.node.state.seats
    cluster.ok("member", "remove", "w", "--yes")


def test_who_cannot_be_spared_stays(cluster: Shell) -> None:
    cluster.node.fails = Refused("not_ready", "without w there would be no majority")
    result = cluster("member", "remove", "w")
    assert (result.exit_code, "no majority" in result.stderr) == (1, True)


def test_transfer(cluster: Shell) -> None:
    assert cluster.ok("member", "transfer", "n2") == "n1 leads\n"
    cluster.ok("member", "transfer")
    assert cluster.node.transferred == ["n2", None]
    assert json.loads(cluster.ok("member", "transfer", "-o", "json")) == {"leader": "n1"}


def test_drain(cluster: Shell) -> None:
    assert cluster.ok("member", "drain", "n1") == "n1 is given no more work\n"
    assert "id-n1" in cluster.node.state.drained
    assert cluster.ok("member", "undrain", "n1") == "n1 is given work again\n"
    assert cluster("member", "drain", "n9").exit_code == 3


def test_the_state_says_what_an_operator_wants_to_know() -> None:
    (state,) = [column.text for column in member.COLUMNS if column.title == "STATE"]
    assert state({"state": "unreachable", "silent_ms": 185_000}) == "unreachable for 3m 5s"
    assert state({"state": "follower", "silent_ms": None, "drained": True}) == "follower, drained"
    assert state({}) == "–"
