"""mypy is content in its strictest mode."""

from __future__ import annotations

import pytest

from tests.style.trees import run


@pytest.mark.timeout(300)
def test_the_types_hold() -> None:
    """One run and one test for all that pyproject.toml says is typed: the program is checked as a whole."""
    told = run("mypy", "--no-error-summary", "--hide-error-context")
    assert told.returncode == 0, told.stdout + told.stderr
