"""Ruff's rules and its format hold, tree by tree, and its bans bite."""

from __future__ import annotations

import pytest

from tests.style.trees import TREES, files_of, run

BANNED_IN_THE_CORE = """\
import random
import time
import uuid
from datetime import datetime

a = time.time()  # banned
b = time.monotonic()  # banned
c = random.random()  # banned
d = uuid.uuid4()  # banned
e = datetime.now()  # banned
"""


@pytest.mark.parametrize("tree", TREES)
def test_the_rules_hold(tree: str) -> None:
    told = run("ruff", "check", "--output-format=concise", *files_of(tree))
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("tree", TREES)
def test_the_format_holds(tree: str) -> None:
    told = run("ruff", "format", "--check", *files_of(tree))
    assert told.returncode == 0, told.stdout + told.stderr


def test_clocks_and_chances_are_refused_where_they_do_not_enter() -> None:
    told = run(
        "ruff", "check", "--select=TID251", "--output-format=concise", "--stdin-filename=peercron/core/x.py", "-",
        text=BANNED_IN_THE_CORE,
    )  # fmt: skip
    lines = [int(line.split(":")[1]) for line in told.stdout.splitlines() if "TID251" in line]
    wanted = [n for n, line in enumerate(BANNED_IN_THE_CORE.splitlines(), 1) if line.endswith("# banned")]
    assert lines == wanted, told.stdout + told.stderr
