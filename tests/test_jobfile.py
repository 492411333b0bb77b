"""jobs.toml as text: read into plain values, and written so that it reads back the same."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.errors import ConfigError
from peercron.jobfile import read_jobs_file, to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(jobs=st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=3), version=VALUES)
def test_what_is_written_is_read_back(jobs: list[dict[str, Any]], version: Any) -> None:
    import tomllib

    document = {"version": version, "jobs": jobs}
    assert tomllib.loads(to_toml(document)) == document


def test_instants_become_text(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text('[[jobs]]\nname = "a"\nat = 2026-12-01T10:00:00+01:00\n')
    assert read_jobs_file(str(tmp_path / "jobs.toml")) == {"jobs": [{"name": "a", "at": "2026-12-01T10:00:00+01:00"}]}


def test_json_is_known_by_its_brace(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text(' {"jobs": []}')
    assert read_jobs_file(str(tmp_path / "jobs")) == {"jobs": []}


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'owner = "x"')))
    assert read_jobs_file("-") == {"owner": "x"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a = = 1", "line 1"), (b'{"a": }', "line 1 column"), (b"\xff", "utf-8"), (b"[" * 100_000, "is not valid")],
)
def test_bad_text_names_the_file_and_the_place(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_jobs_file(str(path))
    assert caught.value.problems[0].path == str(path)
    assert said in caught.value.problems[0].message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_jobs_file(str(tmp_path / "none.toml"))
