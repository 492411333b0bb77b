"""mypy is content in its strictest mode, tree by tree."""

from __future__ import annotations

import pytest

from tests.style.trees import ROOT, TREES, run

#: pyproject.toml says which files are typed; the rest of the tests are not held to it.
CHECKED = ("peercron", "benchmarks", "tests/deploy", "tests/linearizable", "tests/style", "tests/system")


@pytest.fixture(scope="module")
def errors() -> list[str]:
    """One run for all trees: the program is checked as a whole."""
    told = run("mypy", "--no-error-summary", "--hide-error-context")
    assert told.returncode in (0, 1), told.stdout + told.stderr
    return told.stdout.splitlines()


# One worker for all, so that mypy runs once.
@pytest.mark.xdist_group("mypy")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("tree", [tree for tree in TREES if tree.startswith(CHECKED)])
def test_the_types_hold(tree: str, errors: list[str]) -> None:
    folder, _, pattern = tree.partition("/*")
    inside = [
        line for line in errors
        if line.startswith(folder + "/") and not (pattern and "/" in line.split(":")[0].removeprefix(folder + "/"))
    ]  # fmt: skip
    assert not inside, "\n".join(inside)


@pytest.mark.xdist_group("mypy")
@pytest.mark.timeout(300)
def test_no_complaint_lies_outside_the_trees(errors: list[str]) -> None:
    assert not [line for line in errors if not (ROOT / line.split(":")[0]).is_file()]
