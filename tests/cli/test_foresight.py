"""peercron job explain and simulate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from peercron.cli.root import cli
from tests.cli.conftest import Shell

JOBS = """
[[jobs]]
name = "nightly"
schedule = "0 2 * * *"
shell = "true"
mode = "standby"
nodes = ["fra", "ams"]

[[jobs]]
name = "mail"
after = ["nightly"]
shell = "true"
nodes = ["ams"]
"""
FROM = ("--from", "2026-12-01T00:00:00Z")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "jobs.toml"
    path.write_text(JOBS)
    return str(path)


def simulated(*args: str) -> list[tuple[str, str, str]]:
    result = CliRunner().invoke(cli, ["job", "simulate", *args, *FROM, "-o", "json"])
    assert result.exit_code == 0, result.output
    return [(row["at"], row["job"], row["node"]) for row in json.loads(result.stdout)]


def test_a_file_needs_no_cluster(file: str) -> None:
    assert simulated(file, "--days", "1") == [
        ("2026-12-01T02:00:00.000Z", "default/nightly", "fra"),
        ("2026-12-01T02:00:01.000Z", "default/mail", "ams"),
    ]
    assert [node for _, job, node in simulated(file, "--without", "fra") if job == "default/nightly"] == ["ams", "ams"]


def test_a_table_and_a_sum(file: str) -> None:
    told = CliRunner().invoke(cli, ["job", "simulate", file, *FROM, "--days", "1"]).stdout
    assert "2026-12-01T02:00:00.000Z  nightly  starts  fra" in told
    assert told.endswith("starts: ams 1, fra 1\n")


def test_those_who_contend_start_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "sim.toml"
    path.write_text('[[jobs]]\nname = "c"\nevery = "10s"\nmode = "contend"\nlosers = "skip"\nshell = "true"\n')
    told = CliRunner().invoke(cli, ["job", "simulate", str(path), *FROM, "--days", "0.0005"]).stdout
    assert (told.count("  c  "), "still running" in told) == (4, False), told
    assert told.endswith("starts: a 4\n")


def test_what_is_wrong_is_said(file: str) -> None:
    result = CliRunner().invoke(cli, ["job", "simulate", file, "--without", "nobody"])
    assert (result.exit_code, "no node nobody, only a, b, c, fra, ams; --node" in result.stderr) == (2, True)
    assert CliRunner().invoke(cli, ["job", "simulate"]).exit_code == 2
    Path(file).write_text(JOBS.replace('after = ["nightly"]', 'after = ["mail"]'))
    result = CliRunner().invoke(cli, ["job", "simulate", file])
    assert "they wait for each other: default/mail after default/mail" in result.stderr


def test_a_file_with_calendars_is_simulated_with_them(tmp_path: Path) -> None:
    jobs, days = tmp_path / "jobs.toml", tmp_path / "days"
    jobs.write_text('[[jobs]]\nname = "noon"\nschedule = "0 12 * * *"\nshell = "x"\ncalendar = {exclude = ["free"]}\n')
    days.write_text("2027-01-16  # a holiday\n")
    words = ["job", "simulate", str(jobs), "--from", "2027-01-15T00:00:00Z", "--days", "3"]
    result = CliRunner().invoke(cli, [*words, "--calendar", f"free={days}", "-o", "json"])
    assert [(row["at"][:10], row["what"]) for row in json.loads(result.stdout)] == [
        ("2027-01-15", "starts"), ("2027-01-16", "skipped"), ("2027-01-17", "starts"),
    ]  # fmt: skip
    missing = CliRunner().invoke(cli, words)
    assert (missing.exit_code, "there is no calendar free" in missing.stderr) == (2, True)
    assert "--calendar NAME=FILE" in missing.stderr
    for given, said in (("free", "NAME=FILE"), ("free=/nowhere", "No such file"), (f"free={jobs}", "is no d")):
        wrong = CliRunner().invoke(cli, [*words, "--calendar", given])
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.stderr


def test_the_cluster_is_copied_and_left_alone(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--every", "1h", "--shell", "true")
    index = shell.node.state.index
    rows = json.loads(
        shell.ok("job", "simulate", "--cluster", "--from", "2027-01-15T08:00:00Z", "--days", "0.1", "-o", "json")
    )
    assert [(row["at"], row["node"]) for row in rows] == [
        (f"2027-01-15T{hour:02}:00:00.000Z", "n1") for hour in (9, 10)
    ]
    assert shell.node.state.index == index


@pytest.mark.parametrize("option", [("--node", "x"), ("--calendar", "free=/days")])
def test_what_the_cluster_has_itself_is_not_given_to_it(option: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli, ["job", "simulate", "--cluster", *option])
    assert (result.exit_code, "go with a FILE" in result.stderr) == (2, True)


def test_explain(shell: Shell) -> None:
    shell.ok("job", "add", "hello", "--every", "1h", "--shell", "true", "--node", "elsewhere")
    told = shell.ok("job", "explain", "hello")
    assert "no node may run it: n1: the job does not name it" in told
    assert told.count("the job does not name it") == 1
    assert shell.json("job", "explain", "hello")["nodes"] == [
        {"node": "n1", "may_run": False, "why": "the job does not name it"}
    ]
    assert shell("job", "explain", "nobody").exit_code == 3
