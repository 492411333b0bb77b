"""Access tokens on real nodes: everybody asks for them as soon as there is one, and runs go on with what they have."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peercron.access import digest_of, is_token
from tests.system.processes import Cluster, Node, cluster_in, wait_for

#: What a run may do by itself: count, and not do away with its job.
SCRIPT = f"""\
{sys.executable} -m peercron state incr n
counted=$?
{sys.executable} -m peercron job rm counts
echo $counted $? >> TOLD"""


def peercron(cluster: Cluster, *args: str) -> str:
    addresses = ",".join(f"http://{node.host}:{node.http_port}" for node in cluster.nodes)
    line = [sys.executable, "-m", "peercron", "--addr", addresses, *args]
    told = subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stderr
    return told.stdout


def ask(node: Node, token: str = "", method: str = "GET", path: str = "/v1/tokens", body: Any = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return node.request(method, path, body, headers=headers)[0]


def refuses(node: Node, token: str = "") -> None:
    """As soon as it has heard of it."""
    wait_for(lambda: ask(node, token) == 401, f"{node.name} to let nobody in")


def kept(folder: Path) -> Iterator[bytes]:
    """All that the nodes have written: logs, journals, snapshots, what they print, what runs print."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.read_bytes()


def test_from_the_first_token_on_nobody_is_let_in_without_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    root = "--secret-file", str(tmp_path / "secret")
    told, folder = tmp_path / "told", tmp_path / "nodes"
    folder.mkdir()
    told.touch()
    with cluster_in(folder, flags=root) as cluster:
        cluster.add_job({"name": "counts", "every": "1s", "shell": SCRIPT.replace("TOLD", str(told))})
        ops = peercron(cluster, "token", "create", "ops", "--scope", "admin", *root).strip()
        assert is_token(ops)
        for node in cluster.nodes:
            refuses(node)
            assert ask(node, ops) == 200
            assert ask(node, path="/livez") == 200
        lines = len(told.read_text().splitlines())
        wait_for(lambda: len(told.read_text().splitlines()) > lines + 1, "runs to go on")
        assert told.read_text().split()[-2:] == ["0", "1"]

        one, two, three = cluster.nodes
        body = {"name": "ci", "scopes": ["run"]}
        status, made = one.request("POST", "/v1/tokens", body, headers={"Authorization": f"Bearer {ops}"})
        assert status == 201
        assert ask(two, made["token"], "POST", "/v1/jobs/counts:pause") == 200, "whoever has heard of it or not"
        assert ask(three, made["token"], "DELETE", "/v1/jobs/counts") == 403

        two.kill()
        two.spawn()
        codes = [ask(two, method="PUT", path="/v1/state/default/k", body=b"1") for _ in iter(lambda: two.ready, True)]
        assert not {200, 201} & {*codes, ask(two, method="PUT", path="/v1/state/default/k", body=b"1")}

        assert ask(three, ops, "DELETE", "/v1/tokens/ci") == 200
        for node in cluster.nodes:
            refuses(node, made["token"])
        peercron(cluster, "snapshot", "save", str(folder / "saved"), "--token-file", _file(tmp_path, ops))
        for token in (ops, made["token"]):
            assert any(digest_of(token) in data for data in kept(folder))
            assert not any(token.encode() in data for data in kept(folder))

        assert "everybody" not in peercron(cluster, "token", "revoke", "ops", "--open", *root)
        wait_for(lambda: all(ask(node) == 200 for node in cluster.nodes), "all to be open again")


def _file(folder: Path, token: str) -> str:
    path = folder / "ops.token"
    path.write_text(token)
    return str(path)
