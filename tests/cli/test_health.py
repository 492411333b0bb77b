"""peercron health and peercron event, from a shell."""

from __future__ import annotations

import json

from tests.cli.conftest import Shell


def test_verdicts_and_events(shell: Shell) -> None:
    assert shell("health").exit_code == 0
    assert shell("event", "emit", "ops/deployed", "--param", "tag=v1").stdout == "event ops/deployed reached 0 jobs\n"
    told = json.loads(shell("event", "emit", "deployed", "-o", "json").stdout)
    assert told == {"event": "default/deployed", "jobs": 0}
    assert shell("event", "emit", "deployed", "--param", "tag").exit_code == 2
    assert shell("health", "nobody").exit_code == 3
