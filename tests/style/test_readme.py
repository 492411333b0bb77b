"""The README's commands are the ones that are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from peercron.cli.root import cli
from peercron.jobspec import read_document
from tests.style.trees import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
CALLS = re.findall(r"\b(?:python -m )?peercron (.*)", "\n".join(BLOCKS))


def set_up_commands() -> dict[str, str]:
    """Comment -> command, of the blocks that begin on a fresh machine: those that make the virtual environment."""
    blocks = [block.strip() for block in BLOCKS if "python3 -m venv" in block]
    return {block.splitlines()[0]: "\n".join(block.splitlines()[1:]) for block in blocks}


def test_two_commands_set_up_a_fresh_machine() -> None:
    run_demo, run_tests = set_up_commands().items()
    assert run_demo[0].startswith("# run the demo")
    assert " -m peercron demo" in run_demo[1]
    assert run_tests[0] == "# run the tests"
    assert " -m pytest" in run_tests[1]


def test_the_gate_runs_the_readme_s_test_command_elsewhere(tmp_path: Path) -> None:
    """A stand-in for python3 makes a stand-in for a virtual environment: both only say how they were called."""
    said = tmp_path / "said"
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "python3"
    stand_in.write_text(
        f"""#!/bin/sh
echo "$(basename "$0") $*" >>{said}
[ "$2" = venv ] || exit 0
mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/pip"
"""
    )
    stand_in.chmod(0o755)
    (tmp_path / "bin" / "tc").symlink_to(stand_in)  # it is there: nothing is to be installed
    environment = {**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", ".ci/run"], cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL)

    venv, install, test = said.read_text(encoding="utf-8").splitlines()
    folder = Path(venv.removeprefix("python3 -m venv "))
    assert not folder.is_relative_to(ROOT)
    assert not folder.exists(), "left behind"
    wanted = set_up_commands()["# run the tests"].replace(".venv/bin/", "").replace("'", "")
    assert f"{venv.replace(str(folder), '.venv')} && {install} && {test}" == wanted


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_one_that_the_command_line_takes(call: str) -> None:
    words = shlex.split(call, comments=True)
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no {words[0]}"
        command, words = found, words[1:]
    if command is cli:  # the bare form that starts a node
        node = cli.get_command(context, "node")
        assert node is not None
        command = node
    # Parsed as it would be, and not carried out; a wrong flag or a missing argument raises.
    command.make_context("readme", words)


def test_the_jobs_file_is_one_and_takes_what_the_others_add() -> None:
    """Later blocks are keys of a job, or of one of its tables; those that exclude each other are tried one by one."""
    whole, *parts = re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert [spec.key for spec in read_document(tomllib.loads(whole)).specs] == ["default/nightly"]
    assert len(parts) == 3
    for part in parts:
        for keys in alternatives(tomllib.loads(part)):
            read_document({"jobs": [{"name": "a", "shell": "true"} | keys]})


def alternatives(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The keys one by one, where they are triggers, else each for a job that has one."""
    if "jobs" in table:
        return [table["jobs"]]
    usual = {} if "when" in table else {"every": "1h"}
    return [usual | {key: value} for key, value in table.items()]
