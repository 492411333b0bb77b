"""What the style tests share: where the project is, which trees it has, and how a tool is run on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _trees() -> tuple[str, ...]:
    folders = (path for part in ("peercron", "tests") for path in sorted((ROOT / part).iterdir()) if path.is_dir())
    names = (path.relative_to(ROOT).as_posix() for path in folders if next(path.rglob("*.py"), None))
    return (*names, "peercron/*.py", "tests/*.py", "benchmarks")


#: Judged one by one, so that what is red names whose it is.
TREES = _trees()


def files_of(tree: str) -> list[str]:
    """The Python files of one of TREES, relative to ROOT.

    >>> "peercron/errors.py" in files_of("peercron/*.py")
    True
    """
    found = ROOT.glob(tree) if "*" in tree else (ROOT / tree).rglob("*.py")
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def run(*command: str, cwd: Path = ROOT, text: str = "") -> subprocess.CompletedProcess[str]:
    """A module of this environment (`ruff`, `mypy`, …) run to its end on `text` as its input, with what it said."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, input=text, capture_output=True, text=True, check=False
    )
