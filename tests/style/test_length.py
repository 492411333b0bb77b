"""Files and functions stay short: a ratchet that lets the honest giants be, and lets nobody creep after them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.style.trees import ROOT

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 70

#: Longer ones that have a reason, each with the lines it may have. Lower a number when its file shrinks; add none
#: without saying why beside it.
LONG_FILES: dict[str, int] = {
    "peercron/consensus/raft.py": 470,  # every private name of pysyncobj, and nothing else
}
LONG_FUNCTIONS: dict[str, int] = {}


def sources() -> list[Path]:
    return sorted([*(ROOT / "peercron").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Names and lines of a file's functions, docstrings not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = (ast.get_docstring(node, clean=False) or "").count("\n") + 1 if ast.get_docstring(node) else 0
            yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1 - said


def too_long(lengths: dict[str, int], limit: int, excused: dict[str, int]) -> list[str]:
    return [f"{name}: {n} lines" for name, n in lengths.items() if n > excused.get(name, limit)]


def not_needed(lengths: dict[str, int], limit: int, excused: dict[str, int]) -> list[str]:
    return [f"{name}: its excuse has run out" for name in excused if lengths.get(name, 0) <= limit]


def test_files_stay_short() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in sources()}
    assert too_long(lengths, FILE_LINES_MAX, LONG_FILES) == []
    assert not_needed(lengths, FILE_LINES_MAX, LONG_FILES) == []


def test_functions_stay_short() -> None:
    lengths = dict(item for path in sources() for item in functions(path))
    assert too_long(lengths, FUNCTION_LINES_MAX, LONG_FUNCTIONS) == []
    assert not_needed(lengths, FUNCTION_LINES_MAX, LONG_FUNCTIONS) == []
