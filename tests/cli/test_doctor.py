"""peercron doctor: every member asked, and told what is wrong."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from peercron.client import Connection
from peercron.errors import Refused
from peercron.http import vitals
from tests.cli.conftest import Shell


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    room = os.statvfs_result([4096, 4096, 1 << 30, 1 << 29, 1 << 29, 9, 9, 9, 0, 255])
    monkeypatch.setattr(vitals.os, "statvfs", lambda _: room)


@pytest.fixture
def peers() -> Iterator[str]:
    """An address that is listened on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        yield f"{host}:{port}"


@pytest.fixture
def members(shell: Shell, peers: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The members that status shows, to be changed: three that are well, of which the first is asked twice more."""
    http = shell.url.removeprefix("http://")
    well = {
        "role": "voter",
        "address": peers,
        "http": http,
        "behind": 0,
        "version": "1",
        "drained": False,
        "running": 0,
    }
    rows: list[dict[str, Any]] = [
        {**well, "name": name, "id": name, "state": state}
        for name, state in (("n1", "leader"), ("n2", "follower"), ("n3", "follower"))
    ]

    def status() -> dict[str, Any]:
        head = {"cluster": "peercron", "healthy": True, "leader": shell.node.leader(), "term": 7, "notes": []}
        return {**head, "voters": 3, "quorum": 2, "survives": 1, "members": rows}

    monkeypatch.setattr(shell.node, "status", status)
    return rows


def test_all_is_well(shell: Shell, members: list[dict[str, Any]]) -> None:
    result = shell("doctor")
    assert (result.exit_code, result.stdout) == (0, "peercron: fine; 3 of 3 members asked, nothing found\n")


def test_what_is_wrong_is_told_with_what_to_do(shell: Shell, members: list[dict[str, Any]]) -> None:
    members[2] |= {"state": "unreachable", "silent_ms": 3_600_000}
    shell.ok("job", "add", "lost", "--every", "1h", "--shell", "true", "--node", "nowhere")
    result = shell("doctor")
    assert result.exit_code == 5
    lines = result.stdout.splitlines()
    assert lines[0] == "critical  node n3: not heard of for 1h 0m"
    assert lines[1] == "          → start it again; if it is gone for good: peercron member remove n3, and add another"
    assert lines[2].startswith("warning   job default/lost: nodes nowhere:")
    assert lines[-1] == "peercron: degraded; 3 of 3 members asked, 1 critical, 1 warning"


def test_programs_get_all_of_it(shell: Shell, members: list[dict[str, Any]]) -> None:
    members[1] |= {"drained": True, "running": 1}
    told = json.loads(shell.ok("doctor", "-o", "json"))
    assert {key: told[key] for key in ("verdict", "cluster")} == {"verdict": "fine", "cluster": "peercron"}
    assert [finding["check"] for finding in told["findings"]] == ["member_drained"]
    assert len(told["asked"]) == 3
    assert shell.ok("doctor", "-o", "name") == "member_drained\n"


def test_a_member_whose_http_does_not_answer(shell: Shell, members: list[dict[str, Any]]) -> None:
    members[1] |= {"http": "127.0.0.1:1"}
    result = shell("doctor", "-o", "json")
    assert result.exit_code == 5
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["check"], finding["where"], finding["severity"]) == ("http_unreachable", "node n2", "critical")


def test_a_member_that_is_gone_is_one_finding(shell: Shell, members: list[dict[str, Any]]) -> None:
    members[1] |= {"http": "127.0.0.1:1", "address": "127.0.0.1:1"}
    (finding,) = json.loads(shell("doctor", "-o", "json").stdout)["findings"]
    assert (finding["check"], finding["where"]) == ("unreachable", "node n2")


def test_a_peer_port_that_only_the_members_reach_may_be_meant(shell: Shell, members: list[dict[str, Any]]) -> None:
    members[1] |= {"address": "127.0.0.1:1"}
    (finding,) = json.loads(shell.ok("doctor", "-o", "json"))["findings"]
    assert (finding["check"], finding["severity"]) == ("peer_port", "note")
    members[1] |= {"state": "unreachable", "silent_ms": 1_000}
    result = shell("doctor", "-o", "json")
    assert result.exit_code == 5
    found = {finding["check"]: finding["severity"] for finding in json.loads(result.stdout)["findings"]}
    assert found == {"peer_port": "critical", "member_unreachable": "warning"}


@pytest.mark.parametrize("code", ["not_found", "unauthenticated"])
def test_a_member_that_does_not_say_how_it_is_is_noted(
    shell: Shell, members: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    request = Connection.request

    def old(connection: Connection, method: str, path: str, *args: Any, **more: Any) -> Any:
        if more.get("params") == {"scope": "node"}:
            raise Refused(code, "no")
        return request(connection, method, path, *args, **more)

    monkeypatch.setattr(Connection, "request", old)
    found = json.loads(shell.ok("doctor", "-o", "json"))["findings"]
    assert [(finding["check"], finding["where"]) for finding in found] == [
        ("not_asked", "node n2"),
        ("not_asked", "node n3"),
    ]


def test_nodes_that_name_different_leaders(shell: Shell) -> None:
    from peercron.cli.doctor import _differences

    said = [{"node": "a", "leader": "a", "term": 3}, {"node": "b", "leader": "a", "term": 3}]
    assert _differences(said) == []
    (finding,) = _differences([*said, {"node": "c", "leader": "c", "term": 4}])
    assert finding.what == "nodes name different leaders: a: a (term 3); b: a (term 3); c: c (term 4)"
    (finding,) = _differences([*said, {"node": "c", "leader": None, "term": 4}])
    assert finding.what.startswith("c knows of no leader, others do:")


def test_without_a_leader_it_is_degraded_and_not_silent(shell: Shell, members: list[dict[str, Any]]) -> None:
    shell.node.has_leader = False
    result = shell("doctor")
    assert result.exit_code == 5
    assert result.stdout.startswith("critical  cluster: no leader")


def test_nobody_answers(shell: Shell) -> None:
    result = shell("doctor", "--addr", "127.0.0.1:1", "--timeout", "300ms")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "cannot reach 127.0.0.1:1" in result.stderr
