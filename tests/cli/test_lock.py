"""peercron lock: list, show, release, and a command that runs while a lock is held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from peercron.cli import holding, watchman
from peercron.cli.lock import _shared
from peercron.core.commands import ExpireLease, ReleaseLock
from peercron.runpass import run_pass
from tests.cli.conftest import Shell

#: Writes its environment to the file that it is given.
TELL = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"


def hold(shell: Shell, name: str = "reports/db", *more: str) -> int:
    return int(shell.ok("lock", "acquire", name, "--owner", "n1/7/main", *more))


def test_what_cannot_be_a_lock_is_no_free_one(shell: Shell) -> None:
    wrong = shell("lock", "show", "a/b/c")
    assert (
        wrong.exit_code,
        "'a/b/c' is not NAME, which is in the namespace default, or NAMESPACE/NAME" in wrong.stderr,
    ) == (2, True)
    wrong = shell("lock", "show", "ops/a b")
    assert (wrong.exit_code, "name: wants letters, digits" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    "words", ["lock show", "state get", "queue peek", "job show", "run show", "member drain", "event emit"]
)
def test_no_name_is_empty(shell: Shell, words: str) -> None:
    wrong = shell(*words.split(), "")
    assert (wrong.exit_code, "the name must not be empty" in wrong.stderr) == (2, True)


def test_without_a_command_the_token_is_printed(shell: Shell) -> None:
    token = hold(shell)
    assert shell.json("lock", "show", "reports/db")["holders"][0]["token"] == token
    held = shell.json("lock", "acquire", "other")
    assert (held["lock"], held["expires_in"]) == ("default/other", 30.0)
    assert shell.ok("lock", "release", "reports/db", str(token)) == "reports/db is given back\n"


def test_a_stale_token_and_a_lock_that_is_taken(shell: Shell) -> None:
    token = hold(shell)
    taken = shell("lock", "acquire", "reports/db")
    assert taken.exit_code == 124
    assert f"held by n1/7/main with token {token}" in taken.stderr
    waited = shell("lock", "acquire", "reports/db", "--wait", "50ms", "--", "true")
    assert (waited.exit_code, "waited 0.0" in waited.stderr) == (124, True)
    stale = shell("lock", "release", "reports/db", str(token + 1))
    assert (stale.exit_code, "does not hold" in stale.stderr) == (6, True)


@pytest.mark.parametrize("ttl", ["0s", "50ms", "367d"])
def test_the_time_of_a_lock_has_bounds(shell: Shell, ttl: str) -> None:
    wrong = shell("lock", "acquire", "reports/db", "--ttl", ttl, "--wait", "9s")
    assert wrong.exit_code == 2
    assert "ttl: wants 100 ms to 366 days" in wrong.stderr or "367d is longer than 366d" in wrong.stderr


def test_who_waits_longer_than_a_node_likes_to_asks_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "WAIT_S_MAX", 0.05)
    monkeypatch.setattr(holding, "PAUSE_S", 0.01)
    monkeypatch.setattr(holding.Hold, "_may_ask_again", _twice(holding.Hold._may_ask_again))
    hold(shell)
    waited = shell("lock", "acquire", "reports/db", "--wait", "1h", "--", "true")
    assert (waited.exit_code, "waited 0.0" in waited.stderr) == (124, True)


def _twice(may_ask_again: Any) -> Any:
    """Of a wait of an hour the first two rounds."""
    rounds = []

    def asked(hold: holding.Hold, error: Exception, ends_s: float) -> bool:
        rounds.append(may_ask_again(hold, error, ends_s))
        assert rounds[-1], "there is time left"
        return len(rounds) < 3

    return asked


def test_lists_and_lines(shell: Shell) -> None:
    hold(shell, "reports/db", "--shared")
    hold(shell, "slots", "--permits", "3")
    table = shell.ok("lock", "list").splitlines()
    assert table[0].split() == ["LOCK", "KIND", "HELD", "BY", "TOKEN", "WAITING"]
    assert table[1].split()[:4] == ["slots", "semaphore", "of", "3"]
    assert shell.ok("lock", "list", "reports", "-o", "name") == "reports/db\n"
    shown = shell.ok("lock", "show", "reports/db")
    assert "holder 1  n1/7/main, reads, token" in shown
    assert "kind  free" in shell.ok("lock", "show", "nobody")


def test_a_command_runs_under_the_lock(shell: Shell, tmp_path: Path) -> None:
    told = tmp_path / "told"
    result = shell("lock", "acquire", "reports/db", "--ttl", "5s", "--", sys.executable, "-c", TELL, str(told))
    assert result.exit_code == 0, result.output
    seen = json.loads(told.read_text())
    assert seen["PEERCRON_LOCK"] == "reports/db"
    assert seen["PEERCRON_FENCING_TOKEN"] == str(shell.node.state.last_token)
    assert shell.node.state.locks == {}, "given back"


@pytest.mark.parametrize(
    ("command", "status"), [(["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["/no/such"], 127)]
)
def test_its_status_is_ours(shell: Shell, command: list[str], status: int) -> None:
    assert shell("lock", "acquire", "db", "--", *command).exit_code == status
    assert shell.node.state.locks == {}


def test_it_is_renewed_while_the_command_runs(shell: Shell) -> None:
    assert shell("lock", "acquire", "db", "--ttl", "1500ms", "--", "sleep", "2").exit_code == 0
    assert len(shell.node.renewed) >= 2
    assert set(shell.node.renewed) == {shell.node.state.last_token}


def test_a_command_whose_lock_is_lost_is_ended(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody took it away: the next renewal says so, and nothing of the command is left."""
    renewed = shell.node.renew

    async def lost(lease: int, timeout_s: float) -> int:
        await shell.node.do(ExpireLease(lease))
        return await renewed(lease, timeout_s)

    monkeypatch.setattr(shell.node, "renew", lost)
    result = shell("lock", "acquire", "db", "--ttl", "600ms", "--", "sh", "-c", "trap '' TERM; sleep 60 & sleep 60")
    assert result.exit_code == 1
    assert "the lock default/db was lost" in result.stderr


def test_a_command_is_ended_before_its_time_when_nobody_answers(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from peercron.errors import NoLeader

    async def silent(lease: int, timeout_s: float) -> int:
        raise NoLeader

    monkeypatch.setattr(shell.node, "renew", silent)
    result = shell("lock", "acquire", "db", "--ttl", "1s", "--", "sleep", "60")
    assert result.exit_code == 1
    assert "was lost" in result.stderr


#: Starts a command under a watchman, as the command line does, and hangs, or dies.
KEEPS = """
import os, signal, subprocess, sys, time
from peercron.cli import watchman
command = subprocess.Popen(["sh", "-c", sys.argv[2]], process_group=0, stdout=1)
words = [sys.executable, "-I", "-S", watchman.__file__, "1", "0.2"]
watch = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, bufsize=0)
os.close(1)
watch.stdin.write(f"command {command.pid}\\nuntil {time.monotonic() + 0.6}\\n".encode())
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("command", ["sleep 60", "trap '' TERM; sleep 60 & sleep 60; sleep 60"])
def test_a_command_ends_when_who_keeps_its_lock_is_killed_or_hangs(how: str, command: str) -> None:
    """All that it has started has the other end of the pipe, which ends with the last of them."""
    ours, theirs = os.pipe()
    keeper = subprocess.Popen([sys.executable, "-c", KEEPS, how, command], stdout=theirs)
    os.close(theirs)
    began_s = time.monotonic()  # noqa: TID251 - of real processes
    assert os.read(ours, 1) == b""
    assert time.monotonic() - began_s < 20  # noqa: TID251
    keeper.kill()
    keeper.wait()
    os.close(ours)


def test_a_command_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    struck: list[int] = []
    watch = watchman.Watch(1.0, group=True)
    monkeypatch.setattr(watch, "_strike", lambda _, number: struck.append(number))
    for line in ("command 1", "until 10.0"):
        watch.hear(line)
    watch.look(9.4)
    assert (watch.wake_at_s, struck) == (9.5, [])
    watch.hear("ending")
    watch.look(9.9)
    assert (watch.wake_at_s, struck, watch.over) == (10.0, [], False)
    watch.look(10.0)
    assert (struck, watch.over) == ([signal.SIGKILL], True)


def test_a_lock_that_was_kept_by_nobody_for_a_while_was_lost(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was stopped for so long that its time went by, and finds that the command has ended."""
    monkeypatch.setattr(holding.Hold, "held", False)
    result = shell("lock", "acquire", "db", "--", "true")
    assert (result.exit_code, "was lost" in result.stderr) == (1, True)


def test_in_a_run_the_lock_is_the_runs(shell: Shell, tmp_path: Path) -> None:
    """It ends with the attempt; the token of the attempt is handed on, for a lock within this one."""
    told, run, token = tmp_path / "told", *_attempt(shell)
    secret = run_pass(shell.node.pass_key, shell.node.settings.cluster, run, token)
    environ = {"PEERCRON_RUN_ID": run, "PEERCRON_FENCING_TOKEN": str(token), "PEERCRON_TOKEN": secret}
    held: list[Any] = []
    before = holding.run_under

    def seen(hold: Any, command: Any) -> int:
        held.extend(shell.node.state.lock_owners)
        return before(hold, command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "run_under", seen)
        shell.ok("lock", "acquire", "db", "--", sys.executable, "-c", TELL, str(told), **environ)
    assert held == [f"run {run}"]
    assert json.loads(told.read_text())["PEERCRON_ATTEMPT_TOKEN"] == str(token)
    assert "PEERCRON_ATTEMPT_TOKEN" not in os.environ


def test_a_lock_of_a_run_wants_the_secret_of_its_attempt(shell: Shell) -> None:
    run, token = _attempt(shell)
    environ = {"PEERCRON_RUN_ID": run, "PEERCRON_FENCING_TOKEN": str(token), "PEERCRON_TOKEN": "another"}
    refused = shell("lock", "acquire", "db", "--", "true", **environ)
    assert "PEERCRON_TOKEN of this very attempt" in refused.stderr
    assert shell.node.state.locks == {}


def test_a_run_asks_the_node_that_started_it(shell: Shell) -> None:
    """Where that listens is in PEERCRON_URL; PEERCRON_ADDR, which somebody chose, goes before it."""
    assert shell("lock", "list", PEERCRON_ADDR="", PEERCRON_URL=shell.url).exit_code == 0
    assert shell("lock", "list", PEERCRON_URL="http://127.0.0.1:1").exit_code == 0


def _attempt(shell: Shell) -> tuple[str, int]:
    from peercron.core.commands import PutJob, RunJob
    from peercron.core.job import ManualTrigger
    from tests.core.builders import definition

    shell.node_does(shell.node.do(PutJob(definition(trigger=ManualTrigger()))))
    run_id = str(shell.node_does(shell.node.do(RunJob("default/job"))).value)
    return run_id, shell.node.state.runs[run_id].attempts[-1].token


def test_a_lost_place_is_told_when_it_cannot_be_given_back(shell: Shell) -> None:
    """Released by somebody else meanwhile: the status of the command still counts."""
    script = "import sys; sys.exit(3)"
    before = holding.run_under

    def taken(hold: Any, command: Any) -> int:
        shell.node_does(shell.node.do(ReleaseLock("default", "db", hold.token)))
        return before(hold, command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "run_under", taken)
        assert shell("lock", "acquire", "db", "--", sys.executable, "-c", script).exit_code == 3


def test_who_is_called_by_its_run_is_not_called_so_twice() -> None:
    holder = {"owner": "run 7/1", "run": "7/1", "shared": False}
    assert _shared(holder) == "run 7/1, "
    assert _shared(holder | {"owner": "n1/7/main"}) == "n1/7/main, run 7/1, "
