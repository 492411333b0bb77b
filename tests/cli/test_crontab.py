"""peercron crontab: twenty crontabs with what each of their lines is told to be, and their import.

`tests/cli/crontabs/*.report` is what `peercron crontab check --tz Europe/Berlin` prints; each was read by a person.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from peercron.cli.root import cli
from peercron.crontab import Options, convert
from peercron.crontab.entries import Entry
from peercron.jobspec import read_document, read_job
from tests.cli.conftest import Shell

CRONTABS = sorted((Path(__file__).parent / "crontabs").glob("*.crontab"))


def call(*args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["crontab", *args], input=stdin)


def flags(path: Path) -> tuple[str, ...]:
    return ("--tz", "Europe/Berlin", *(("--system",) if "system" in path.name else ()), str(path))


def test_there_are_twenty() -> None:
    assert len(CRONTABS) == 20


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_each_line_is_told_what_it_would_be(path: Path) -> None:
    result = call("check", *flags(path))
    assert result.stdout == path.with_suffix(".report").read_text()
    assert result.exit_code == (1 if "cannot" in result.stdout.replace("0 lines cannot", "") else 0)


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_what_is_printed_is_a_file_of_jobs(path: Path) -> None:
    result = call("import", "--skip", *flags(path))
    assert result.exit_code == 0
    document = tomllib.loads(result.stdout)
    assert len(read_document(document).specs) == len(document.get("jobs", []))


def jobs(text: str, **options: object) -> list[dict[str, object]]:
    return list(convert(text, Options(**{"timezone": "UTC"} | options)).jobs)  # type: ignore[arg-type]


def test_a_job_has_all_that_stands_above_it() -> None:
    text = "SHELL=/bin/bash\nHOME=/srv\nA='b c'\nCRON_TZ=Asia/Tokyo\n0 5 * * * run\nA=later\n"
    (job,) = jobs(text, user="joe", namespace="old", nodes=("n1",))
    assert job == {
        "name": job["name"],
        "namespace": "old",
        "schedule": "0 5 * * *",
        "timezone": "Asia/Tokyo",
        "command": ["/bin/bash", "-c", "run"],
        "env": {"SHELL": "/bin/bash", "HOME": "/srv", "A": "b c"},
        "user": "joe",
        "cwd": "/srv",
        "nodes": ["n1"],
        "overlap": "allow",
    }
    read_job(job)


def test_a_user_of_the_line_counts() -> None:
    assert [job["user"] for job in jobs("@daily www true\n", system=True, user="joe")] == ["www"]


@pytest.mark.parametrize(
    ("written", "command", "stdin"),
    [
        ("a", "a", ""),
        ("a%", "a", ""),
        ("a%b", "a", "b\n"),
        ("a%b%", "a", "b\n"),
        ("a%b%%c", "a", "b\n\nc\n"),
        (r"a \% b%c\%d", "a % b", "c%d\n"),
    ],
)
def test_a_percent_ends_the_command(written: str, command: str, stdin: str) -> None:
    assert Entry(1, "@daily", "", written).words == (command, stdin)


def test_names_stay_while_lines_say_the_same() -> None:
    before = [job["name"] for job in jobs("0 1 * * * a\n0 2 * * * b\n")]
    after = [job["name"] for job in jobs("A=b\n0 2 * * *   b\n\n0 1 * * * a # new\n0 1 * * * a\n")]
    assert [after[0], after[2]] == [before[1], before[0]]
    assert len({*before, *after}) == 3


def test_an_import_stops_at_what_cannot_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("@reboot warm\n@daily rotate\n")
    result = call("import", "--tz", "UTC", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{path}:1: cannot: @reboot: a cluster has no start of its own" in result.stderr
    assert "--skip leaves them out" in result.stderr


def test_a_file_that_is_not_there() -> None:
    result = call("check", "/nowhere/tab")
    assert result.exit_code == 2
    assert "/nowhere/tab" in result.stderr


def test_an_import_is_applied_and_its_next_one_takes_the_place_of_the_last(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("0 1 * * * first\n0 2 * * * second\n")
    told = shell.ok("crontab", "import", "--apply", "--tz", "UTC", str(path))
    assert told == f"2 jobs of {path}, 2 changed\n"
    path.write_text("0 2 * * * second\n")
    assert shell.ok("crontab", "import", "--apply", "--tz", "UTC", str(path)) == f"1 jobs of {path}, 1 changed\n"
    (job,) = shell.json("job", "list")
    assert (job["shell"], job["owner"]) == ("second", f"crontab:{path}")


def test_what_is_piped_in_arrives() -> None:
    import subprocess

    (job,) = jobs("@daily cat; echo end%it's%two lines\n")
    done = subprocess.run(["/bin/sh", "-c", str(job["shell"])], capture_output=True, text=True, check=True)
    assert done.stdout == "it's\ntwo lines\nend\n"
