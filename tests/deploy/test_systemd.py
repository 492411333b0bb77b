"""The systemd unit: systemd itself finds no fault with it, and it sets what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peercron.sources import FIELDS

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = (FOLDER / "peercron.service").read_text(encoding="utf-8")
PROGRAM = "/opt/peercron/bin/python"
VARIABLE = re.compile(r"^#?(?:Environment=)?(PEERCRON_\w+)=", re.MULTILINE)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def installed(tmp_path: Path, unit: str = UNIT, drop_in: str = "") -> Path:
    """The unit as it would be installed, but with this Python in the place of the one that is not here."""
    path = tmp_path / "peercron.service"
    path.write_text(unit.replace(PROGRAM, sys.executable))
    if drop_in:
        (tmp_path / "peercron.service.d").mkdir()
        (tmp_path / "peercron.service.d" / drop_in).write_text((FOLDER / drop_in).read_text(encoding="utf-8"))
    return path


@pytest.mark.parametrize("drop_in", ["", "jobs-unconfined.conf"])
def test_systemd_finds_no_fault(tmp_path: Path, drop_in: str) -> None:
    told = analyze("verify", str(installed(tmp_path, drop_in=drop_in)))
    assert (told.returncode, told.stderr) == (0, "")


def test_systemd_would_find_one(tmp_path: Path) -> None:
    told = analyze("verify", str(installed(tmp_path, UNIT.replace("WatchdogSec=10", "WatchdogSecs=10"))))
    assert "WatchdogSecs" in told.stderr


def test_the_unit_starts_a_node_that_tells_systemd() -> None:
    assert f"\nExecStart={PROGRAM} -m peercron node\n" in UNIT
    assert "\nType=notify\n" in UNIT
    assert "\nWatchdogSec=10\n" in UNIT


@pytest.mark.parametrize("file", ["peercron.service", "peercron.env"])
def test_every_variable_exists(file: str) -> None:
    used = set(VARIABLE.findall((FOLDER / file).read_text(encoding="utf-8")))
    assert used
    assert used <= {field.variable for field in FIELDS}
