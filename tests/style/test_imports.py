"""The import contracts hold, and each of them fails when it is broken on purpose."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.style.trees import ROOT

LAYERS = "the layers of the package"
DESCRIPTION = "the description of the HTTP face is imported when it is asked for"
PURE = "the core reads no clock, does no IO and takes no chances"

#: Where an import is written, what it is, and the contract that it breaks.
BREAKS = (
    ("core/job.py", "import peercron.settings", LAYERS),
    ("errors.py", "import peercron.core.job", LAYERS),
    ("wire/__init__.py", "import peercron.consensus", LAYERS),
    ("consensus/__init__.py", "import peercron.execution", LAYERS),
    ("execution/__init__.py", "import peercron.consensus", LAYERS),
    ("execution/__init__.py", "import peercron.node", LAYERS),
    ("node.py", "import peercron.http", LAYERS),
    ("stray.py", "import peercron.errors", LAYERS),
    ("cli/__init__.py", "import peercron.node", "the command line starts without the node"),
    ("core/state.py", "import asyncio", PURE),
    ("core/run.py", "import time", PURE),
    ("core/apply/__init__.py", "import random", PURE),
    ("core/member.py", "import aiohttp", PURE),
    ("node.py", "import pysyncobj", "pysyncobj is held in two places"),
    ("http/__init__.py", "import msgpack", "msgpack is spoken on the wire and in the journal"),
    ("node.py", "import aiohttp", "aiohttp carries HTTP in and out"),
    ("http/jobs.py", "import peercron.http.openapi.document", DESCRIPTION),
    ("core/planner.py", "import croniter", "croniter computes schedules"),
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # Not `-m`: the tool has no __main__; it looks for the package in its working directory first.
    program = "import sys; from importlinter.cli import lint_imports_command as run; run(sys.argv[1:])"
    command = [sys.executable, "-c", program, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    told = lint_imports(ROOT)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(("file", "line", "contract"), BREAKS, ids=[f"{file}: {line}" for file, line, _ in BREAKS])
def test_a_forbidden_import_breaks_its_contract(file: str, line: str, contract: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "peercron", tmp_path / "peercron", ignore=shutil.ignore_patterns("__pycache__", "ui"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "peercron" / file).open("a") as code:
        code.write(f"\n{line}\n")
    told = lint_imports(tmp_path)
    assert told.returncode != 0, f"{file} took {line!r} and nobody minded"
    assert f"{contract} BROKEN" in told.stdout or "stray" in told.stdout, told.stdout + told.stderr


def test_the_core_is_light_to_import() -> None:
    """What the contracts cannot see: a package's own __init__ on the way, and imports of imports."""
    program = """
import importlib, pkgutil, sys
import peercron.core
for module in pkgutil.walk_packages(peercron.core.__path__, "peercron.core."):
    importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"asyncio", "aiohttp", "msgpack", "pysyncobj"}))
"""
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
