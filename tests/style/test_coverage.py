"""The pure parts are covered by their own tests, branch by branch, file by file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.style.trees import ROOT

#: What is pure has no excuse: no file of it below this share of its lines and branches.
FLOOR_PERCENT = 93
PURE = ("core", "jobspec", "wire")
#: Long plays and the comparison with the oracle find faults; for lines and branches the rest must be enough.
LEFT_OUT = ("tests/core/test_play.py", "tests/core/test_schedule_oracle.py")


# The run under trace takes several times as long as without: minutes, which the default run has not.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_pure_file_is_below_the_floor(tmp_path: Path) -> None:
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "data")}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):  # what the outer run was told is not for the inner one
        environment.pop(name, None)

    def coverage(*arguments: str) -> None:
        command = [sys.executable, "-m", "coverage", *arguments]
        told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]

    folders = [f"tests/{part}" for part in PURE]
    left_out = [f"--ignore={path}" for path in LEFT_OUT]
    coverage("run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, *folders)
    coverage("combine", "-q")
    included = ",".join(f"peercron/{part}/*" for part in PURE)
    coverage("json", "-q", f"--include={included}", "-o", str(tmp_path / "report.json"))
    files = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["files"]
    assert len(files) > 20
    low = {name: row["summary"]["percent_covered_display"] for name, row in files.items()}
    assert {name: percent for name, percent in low.items() if int(percent) < FLOOR_PERCENT} == {}
