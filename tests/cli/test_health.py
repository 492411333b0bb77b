"""peercron health and peercron event, from a shell."""

from __future__ import annotations

import json

from tests.cli.conftest import Shell


def test_verdicts_and_events(shell: Shell) -> None:
    assert (shell("health").exit_code, shell.ok("health")) == (0, "no job has checks; see `checks` of jobs.toml\n")
    assert shell.json("health") == []
    shell.ok("job", "add", "plain", "--every", "1h", "--shell", "true")
    assert shell.ok("health", "plain") == "job plain has no checks\n"
    assert shell("event", "emit", "ops/deployed", "--param", "tag=v1").stdout == "event ops/deployed reached 0 jobs\n"
    told = json.loads(shell("event", "emit", "deployed", "-o", "json").stdout)
    assert told == {"event": "default/deployed", "jobs": 0}
    assert shell("event", "emit", "deployed", "--param", "tag").exit_code == 2
    assert shell("health", "nobody").exit_code == 3
