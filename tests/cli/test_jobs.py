"""peercron job and peercron apply, plan."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from peercron.core.commands import RunJob
from tests.cli.conftest import Shell
from tests.core.builders import all_runs


def run_in(shell: Shell, index: int = -1) -> str:
    return all_runs(shell.node.state)[index].id


def test_add_and_show(shell: Shell) -> None:
    told = shell.ok("job", "add", "hello", "--every", "5s", "--timeout", "1m", "--", "echo", "-n", "$HOME")
    assert 'job "hello" added (revision ' in told
    assert "Try it now:  peercron job run hello --follow" in told
    shown = shell.json("job", "show", "hello")
    assert (shown["command"], shown["every"], shown["timeout"]) == (["echo", "-n", "$HOME"], "5s", "1m")
    assert "command" in shell.ok("job", "show", "hello")


def test_add_with_everything(shell: Shell) -> None:
    shell.ok(
        *("job", "add", "ops/nightly", "--schedule", "0 2 * * *", "--tz", "Europe/Berlin", "--shell", "true"),
        *("--node", "n1", "--node", "n2", "--env", "A=1=2", "--user", "www", "--cwd", "/srv"),
        *("--overlap", "allow", "--guarantee", "effectively_once", "--paused", "--retry", "2"),
    )
    shown = shell.json("job", "show", "ops/nightly")
    assert shown["key"] == "ops/nightly"
    assert shown.items() >= {
        "schedule": "0 2 * * *", "timezone": "Europe/Berlin", "shell": "true", "nodes": ["n1", "n2"],
        "env": {"A": "1=2"}, "user": "www", "cwd": "/srv", "overlap": "allow", "guarantee": "effectively_once",
        "paused": True, "retry": {"max": 2},
    }.items()  # fmt: skip


def test_add_after_others_and_into_a_queue(shell: Shell) -> None:
    for name in ("ingest", "clean"):
        shell.ok("job", "add", name, "--shell", "true")
    told = shell.ok(*("job", "add", "report", "--after", "ingest, clean", "--require", "all_done", "--shell", "true"))
    assert "Try it now" in told
    shown = shell.json("job", "show", "report")
    assert (shown["after"], shown["require"]) == (["ingest", "clean"], "all_done")
    assert shell("job", "add", "x", "--after", "nobody", "--shell", "true").exit_code == 2
    shell.ok("job", "add", "mails", "--every", "5s", "--mode", "queue", "--queue", "mail", "--shell", "true")
    shown = shell.json("job", "show", "mails")
    assert (shown["mode"], shown["queue"], shown["concurrency"]) == ("queue", "mail", {"per_node": 1})
    run = shell.json("job", "run", "mails")
    assert "of queue default/mail" in shell.ok("run", "show", run["id"])


def test_add_is_told_what_is_wrong(shell: Shell) -> None:
    result = shell("job", "add", "hello", "--schedule", "61 * * * *", "--tz", "Europe/Berln", "--shell", "x")
    assert result.exit_code == 2
    assert "timezone" in result.stderr
    assert shell("job", "add", "x", "--env", "A", "--shell", "x").exit_code == 2
    nothing = shell("job", "add", "x", "-o", "json")
    assert nothing.exit_code == 2
    assert json.loads(nothing.stderr)["errors"][0]["path"] == "command"


def test_a_name_that_is_taken(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--shell", "true")
    again = shell("job", "add", "hello", "--shell", "true")
    assert again.exit_code == 6
    assert 'there is a job "hello" already\n  --replace ' in again.stderr
    shell.ok("job", "add", "hello", "--shell", "false", "--replace")


def test_add_an_http_call(shell: Shell) -> None:
    shell.ok("job", "add", "ping", "--every", "1s", "--http-url", "http://127.0.0.1:1/")
    assert shell.json("job", "show", "ping")["http"] == {"method": "GET", "url": "http://127.0.0.1:1/"}


def test_list_in_every_form(shell: Shell) -> None:
    shell.ok("job", "add", "b", "--every", "30s", "--shell", "true")
    shell.ok("job", "add", "ns/a", "--schedule", "0 2 * * *", "--tz", "Europe/Berlin", "--", "true")
    lines = shell.ok("job", "list").splitlines()
    assert lines[0].split() == ["NAME", "KIND", "SCHEDULE", "NEXT", "LAST", "STATE", "MODE"]
    assert lines[1].split()[:4] == ["b", "shell", "every", "30s"]
    assert lines[2].startswith("ns/a")
    assert "Europe/Berlin" in lines[2]
    assert "OVERLAP" in shell.ok("job", "list", "-o", "wide")
    assert shell.ok("job", "list", "-o", "name").split() == ["b", "a"]
    assert [json.loads(line)["name"] for line in shell.ok("-o", "jsonl", "job", "list").splitlines()] == ["b", "a"]
    assert '-\n  "name": "b"' in shell.ok("job", "list", "-o", "yaml")


def test_colours_are_for_terminals(shell: Shell) -> None:
    shell.ok("job", "add", "b", "--every", "30s", "--shell", "true")
    assert "\x1b[" not in shell.ok("job", "list")
    assert "\x1b[" in shell.ok("job", "list", "--color", "always", TERM="xterm-256color", FORCE_COLOR="1")


def test_pause_resume_rm(shell: Shell) -> None:
    for name in ("a", "b"):
        shell.ok("job", "add", name, "--shell", "true")
    shell.ok("job", "pause", "a", "b")
    assert [row["paused"] for row in shell.json("job", "list")] == [True, True]
    shell.ok("job", "resume", "a")
    assert [row["paused"] for row in shell.json("job", "list")] == [False, True]
    # Standard input is no terminal: nobody is asked.
    shell.ok("job", "rm", "a", "b")
    assert shell.json("job", "list") == []
    gone = shell("job", "rm", "a")
    assert (gone.exit_code, "there is no job default/a" in gone.stderr) == (3, True)


def test_next(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--schedule", "0 2 * * *", "--tz", "Europe/Berlin", "--shell", "true", "--paused")
    told = shell.ok("job", "next", "a", "-n", "3")
    assert told.count("T02:00:00+01:00  Europe/Berlin") == 3
    assert "paused" in told
    assert len(shell.json("job", "next", "a")) == 5


def test_what_will_not_run_is_told(shell: Shell) -> None:
    added = ("--mode", "slice", "--slice", "10s", "--shell", "true")
    assert "next run" in shell.ok("job", "add", "a", "--every", "2s", *added)
    told = shell.ok("job", "next", "a").splitlines()[1:]
    assert ["guard band" in line for line in told].count(True) == 1
    assert all("will not run: " in line for line in told if "guard band" in line)
    told_of_none = shell.ok("job", "add", "b", "--schedule", "9,19,29,39,49,59 * * * * *", *added)
    assert "none of its next 20 slots will run: of the first, 1000 ms are left of its slice then" in told_of_none


def test_a_time_that_has_passed_is_told_with_what_comes_of_it(shell: Shell) -> None:
    for at, comes in (
        ("2027-01-15T07:59:00Z", "so it runs at once"),
        ("2020-01-01T00:00:00Z", "so it is skipped and never runs by itself"),
    ):
        told = shell.ok("job", "add", at[:4], "--at", at, "--shell", "true")
        assert f"its time, {at}, has passed: " in told
        assert f"the misfire window (1h), {comes}" in told
    again = shell.ok("job", "add", "2020", "--at", "2020-01-01T00:00:01Z", "--shell", "true", "--replace")
    assert "peercron job explain 2020 says what came of it" in again


def test_a_time_may_leave_out_its_seconds(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--at", "2030-11-30T10:03+01:00", "--shell", "true")
    assert 'at = "2030-11-30T09:03:00Z"' in shell.ok("job", "export")
    for wrong in ("2030-11-30T10:03", "tomorrow"):
        told = shell("job", "add", "b", "--at", wrong, "--shell", "true")
        assert "must be an instant with its offset, like 2026-12-01T10:00:00Z, with its seconds" in told.stderr


def test_run_and_runs(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    run_id = shell.ok("job", "run", "a", "-o", "name").strip()
    assert run_id == run_in(shell)
    assert "running" in shell.ok("job", "runs", "a")
    shell.node_does(shell.node.finish_attempt(run_id))
    assert [row["state"] for row in shell.json("job", "runs", "a")] == ["succeeded"]
    assert shell("job", "run", "none").exit_code == 3


def test_follow_prints_the_output_and_ends_with_the_status_of_the_run(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    results = []

    def follow() -> None:
        results.append(shell("job", "run", "a", "--follow"))

    thread = threading.Thread(target=follow)
    shell.node.waiting.clear()
    thread.start()
    # The follower waits for the log to grow: the run is there, and it is being followed.
    shell.node_does(shell.node.waiting.wait())
    run_id = run_in(shell)
    token = shell.node.state.runs[run_id].attempts[0].token
    (shell.node.folder / f"{token}.log").write_text("hello\n")
    shell.node_does(shell.node.finish_attempt(run_id))
    thread.join()
    assert (results[0].exit_code, results[0].stdout) == (0, "hello\n")


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [("succeeded", 0, 0), ("failed", 3, 3), ("failed", 200, 125), ("failed", None, 1), ("timed_out", None, 1)],
)
def test_the_status_of_a_run(state: str, code: int | None, status: int) -> None:
    from peercron.cli.following import status_of

    assert status_of({"state": state, "attempts": [{"exit_code": code}]}) == status


def test_a_skipped_run_fails_at_once_with_its_reason(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    shell.ok("job", "run", "a")
    skipped = shell("job", "run", "a", "--follow")
    assert skipped.exit_code == 1
    assert "skipped: run" in skipped.stderr


def test_following_has_an_end_of_patience(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    result = shell("job", "run", "a", "--follow", "--wait", "50ms")
    assert result.exit_code == 124
    assert f"peercron run logs -f {run_in(shell)}" in result.stderr


def test_logs(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    assert "has not run yet" in shell("job", "logs", "a").stderr
    shell.ok("job", "run", "a")
    shell.node_does(shell.node.finish_attempt(run_in(shell), "tail\n"))
    assert shell.ok("job", "logs", "a") == "tail\n"


def test_the_log_of_a_run_that_failed_without_a_word_says_why(shell: Shell) -> None:
    shell.ok("job", "add", "a", "--shell", "true")
    shell.ok("job", "run", "a")
    shell.node_does(shell.node.finish_attempt(run_in(shell), "", exit_code=3))
    result = shell("job", "logs", "a")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"run {run_in(shell)}: failed: exit code 3" in result.stderr
    assert shell("job", "logs", "a", "-q").stderr == ""


FILE = (
    '[[jobs]]\nname = "a"\nevery = "1s"\nshell = "true"\n[[jobs]]\nname = "b"\nat = 2030-01-01T00:00:00Z\nshell = "x"\n'
)


def test_plan_and_apply(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(f'owner = "ops"\n{FILE}')
    planned = shell("plan", "-f", str(path), "--detailed-exitcode")
    assert planned.exit_code == 10
    assert planned.stdout.splitlines()[:2] == ["+ a  create", "+ b  create"]
    assert shell.ok("apply", "-f", str(path)).endswith("applied: 2 created\n")
    assert "nothing to do" in shell.ok("job", "apply", "-f", str(path))
    assert shell("plan", "-f", str(path), "--detailed-exitcode").exit_code == 0
    path.write_text('owner = "ops"\n[[jobs]]\nname = "a"\nevery = "2s"\nshell = "true"\n')
    told = shell.ok("apply", "-f", str(path), "--prune", "--dry-run")
    assert told == "~ a\n    every: 1s → 2s\n- b  delete\nwould change: 1 to update, 1 to delete\n"
    assert shell.ok("apply", "-f", str(path), "--prune").endswith("applied: 1 updated, 1 deleted\n")
    assert shell.ok("job", "list", "-o", "name").split() == ["a"]


def test_an_apply_that_came_twice_tells_what_the_first_has_done(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.client.blocking.key_of", lambda method, path: {"Idempotency-Key": "same"})
    both = {"PEERCRON_ADDR": f"{shell.url},{shell.url}"}
    assert "applied: 2 created" in shell.ok("apply", "-f", "-", stdin=FILE, **both)
    assert "applied: 2 jobs, at the first try" in shell.ok("apply", "-f", "-", stdin=FILE, **both)


def test_apply_from_standard_input_and_export_again(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", stdin=FILE)
    exported = shell.ok("job", "export")
    assert "nothing to do" in shell.ok("apply", "-f", "-", stdin=exported)
    assert [job["name"] for job in shell.json("job", "export")["jobs"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a = = 1", "line 1"), ("[[jobs]]\nname = 1", "jobs[0].name: must be text in quotes"), ("jbs = 1", "mean jobs?")],
)
def test_a_bad_file_is_named_and_changes_nothing(shell: Shell, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(text)
    result = shell("apply", "-f", str(path))
    assert result.exit_code == 2
    assert said in result.stderr
    assert shell("apply", "-f", str(tmp_path / "none")).exit_code == 2
    assert shell.json("job", "list") == []


def test_logs_follow_run_after_run(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[str] = []

    def to_the_end(options: object, run_id: str) -> None:
        """Each run that is followed brings the next one, until somebody presses Ctrl-C."""
        followed.append(run_id)
        if len(followed) == 3:
            raise KeyboardInterrupt
        shell.node_does(shell.node.do(RunJob("default/a")))

    monkeypatch.setattr("peercron.cli.following._to_the_end", to_the_end)
    shell.ok("job", "add", "a", "--shell", "true", "--overlap", "allow")
    shell.ok("job", "run", "a")
    shell.ok("job", "run", "a")
    result = shell("job", "logs", "-f", "a")
    assert result.exit_code == 130
    assert followed == [run.id for run in all_runs(shell.node.state)][1:]


def test_a_run_by_hand_is_given_parameters(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--every", "1h", "--shell", "true")
    shell.ok("job", "run", "hello", "--param", "day=mon", "--param", "query=a=b")
    assert shell.json("run", "show", run_in(shell))["params"] == {"day": "mon", "query": "a=b"}
    assert "params     day=mon, query=a=b" in shell.ok("run", "show", run_in(shell))
    wrong = shell("job", "run", "hello", "--param", "day")
    assert (wrong.exit_code, "'day' is not NAME=VALUE" in wrong.stderr) == (2, True)


def test_failback(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--mode", "standby", "--node", "n1", "--shell", "true")
    assert 'job "hello" goes back to n1 with its next run' in shell.ok("job", "failback", "hello")
    again = shell("job", "failback", "hello")
    assert (again.exit_code, "it is with n1 already" in again.stderr) == (6, True)


def test_a_run_says_why_it_is_where_it_is(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--mode", "turns", "--shell", "true")
    shell.ok("job", "run", "hello")
    assert "why there: alone in the line" in shell.ok("run", "show", run_in(shell))
    assert "turns" in shell.ok("job", "list")


def test_slices_say_whose_a_slot_is_and_what_a_node_has_not_told_yet(shell: Shell) -> None:
    added = ("--mode", "slice", "--slice", "10s", "--node", "n1", "--node", "n2", "--shell", "true")
    assert "Whose turn is when:  peercron job next turn" in shell.ok("job", "add", "turn", "--every", "10s", *added)
    told = shell.ok("job", "next", "turn", "-n", "2")
    assert "NODE" in told
    assert {"n1", "n2"} == {row["node"] for row in shell.json("job", "next", "turn", "-n", "2")}
    shown = shell.ok("job", "slices", "a")
    assert "untold   1" in shown or "untold  1" in shown
    assert "failed" in shown
    assert shell.json("job", "slices", "ops/b")["untold"][0]["exit_code"] == 3
    unknown = shell("job", "slices", "nobody")
    assert (unknown.exit_code, 'knows of no job "nobody"' in unknown.stderr) == (3, True)
