"""Keys that mean something in one mode only, and back to the same text."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.errors import ConfigError
from peercron.jobspec import read_job, render_job

PLAIN = {"name": "a", "every": "1s", "shell": "true"}
OF_MODES: dict[str, dict[str, Any]] = {
    "standby": {"failback": "manual", "failback_after": "2m"},
    "contend": {"losers": "skip"},
    "parallel": {"count": 2, "sync": True, "quorum": "majority"},
}


@pytest.mark.parametrize("mode", OF_MODES)
def test_keys_of_a_mode_come_back_as_they_were_written(mode: str) -> None:
    keys = OF_MODES[mode] | {"mode": mode, "where": 'dc == "fra"'}
    rendered = render_job(read_job(PLAIN | keys).definition)
    assert {key: rendered[key] for key in keys} == keys


def test_an_order_of_nodes_comes_back() -> None:
    table = PLAIN | {"mode": "parallel", "order": ["b", "a"]}
    assert render_job(read_job(table).definition)["order"] == ["b", "a"]


@pytest.mark.parametrize(("key", "value", "mode"), [(k, v, m) for m, keys in OF_MODES.items() for k, v in keys.items()])
def test_in_another_mode_they_are_refused_by_name(key: str, value: object, mode: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_job(PLAIN | {"mode": "turns", key: value})
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (key, f'has a meaning only with mode = "{mode}"')
