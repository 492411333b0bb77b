"""What starts a job, as `job list` says it; what the nodes print that share a run, as `job logs` shows it."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.cli.following import print_log
from peercron.cli.starts import started_by


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"schedule": "0 2 * * *", "timezone": "Europe/Berlin"}, "0 2 * * *  Europe/Berlin"),
        ({"every": "30s"}, "every 30s"),
        ({"when": 'state("x") < 1'}, 'when state("x") < 1'),
        ({"on": {"event": "default/restocked"}}, "on event"),
        ({"webhook": True}, "webhook"),
        ({}, "–"),
    ],
)
def test_what_starts_a_job(row: dict[str, Any], said: str) -> None:
    assert started_by(row) == said


class _Cluster:
    """Options and connection in one: a run of two shards, which each printed a line."""

    stale = False
    for_people = True

    def connection(self) -> _Cluster:
        return self

    def stream(self, path: str, *, params: object) -> list[bytes]:
        return [] if path == "/v1/runs/1%2F2/log" else [path.encode() + b"\n"]

    def get(self, path: str) -> dict[str, Any]:
        shards = [{"id": f"1/2#{n}", "node": f"n{n}"} for n in range(2)]
        return {"id": "1/2", "finished_at": "now", "state": "succeeded", "reason": "", "shards": shards}


def test_a_run_that_nodes_share_shows_the_output_of_each(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    options: Any = _Cluster()
    print_log(options, "1/2")
    said = capfdbinary.readouterr()
    assert said.out == b"/v1/runs/1%2F2%230/log\n/v1/runs/1%2F2%231/log\n"
    assert said.err == b"--- 1/2#0  n0\n--- 1/2#1  n1\n"
