"""Policies as they are written: retry and its like, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.job import Mode
from peercron.core.pace import Backoff, Retry, RetryOn
from peercron.errors import ConfigError
from peercron.jobspec import read_document, read_job, render_job

PLAIN = {"name": "a", "every": "1s", "shell": "true"}


def problems(change: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read_job(PLAIN | change)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("written", "retry"),
    [
        ({"max": 3}, Retry(3)),
        (
            {"max": 2, "backoff": "linear", "base": "1s", "cap": "1m", "jitter": False, "on": "same_node"},
            Retry(2, Backoff.LINEAR, 1_000, 60_000, False, RetryOn.SAME_NODE),
        ),
    ],
)
def test_a_retry_is_read_and_written(written: dict[str, Any], retry: Retry) -> None:
    definition = read_job(PLAIN | {"retry": written}).definition
    assert definition.retry == retry
    assert render_job(definition)["retry"] == written


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"retry": {}}, "retry.max", "required"),
        ({"retry": {"max": 99}}, "retry.max", "wants 0 (none) to 15"),
        ({"retry": {"max": 1, "backof": "fixed"}}, "retry.backof", "did you mean backoff?"),
        ({"retry": {"max": 1, "backoff": "quadratic"}}, "retry.backoff", "fixed, linear, exponential"),
        ({"retry": {"max": 1, "on": "another_node"}}, "retry.on", "did you mean other_node?"),
        ({"retry": {"max": 1, "base": "soon"}}, "retry.base", "duration"),
        ({"retry": {"max": 1, "base": "10m"}}, "retry.base, retry.cap", "base no longer than cap"),
        ({"after": ["b"]}, "after", "cannot stand beside schedule, every or at"),
        ({"after": "b"}, "after", "a list"),
        ({"require": "all_done"}, "require", "only with after"),
        ({"every": None, "after": ["b"], "require": "all_don"}, "require", "did you mean all_done?"),
        ({"concurrency": {"per_nod": 1}}, "concurrency.per_nod", "did you mean per_node?"),
        ({"concurrency": {"per_job": -1}}, "concurrency", "0 (any number) to 256"),
        ({"pool": "a b"}, "pool", "letters"),
        ({"calendar": {"excludes": ["x"]}}, "calendar.excludes", "did you mean exclude?"),
        ({"calendar": {"exclude": ["x", "x"]}}, "calendar", "each once"),
        ({"jitter": "2d"}, "jitter", "from 0s to 1d"),
        ({"jitter": 5}, "jitter", "text in quotes"),
        ({"every": None, "jitter": "1s"}, "jitter", "only with schedule, every or at"),
        ({"retry": {"max": 1}, "guarantee": "at_most_once"}, "retry", "started once"),
        ({"params": {"day": ["mon"]}}, "params.day", "text, a number, true or false"),
        ({"params": {"1x": "mon"}}, "params", "no name of letters"),
        ({"mode": "queue"}, "queue", 'such as queue = "mail"'),
        ({"queue": "mail"}, "queue", 'with mode = "queue" its slots become items too'),
        ({"mode": "queue", "queue": "m", "guarantee": "at_most_once"}, "guarantee", "hands an item out again"),
        ({"mode": "queue", "queue": "m", "every": None, "on": {"queue": "m"}}, "on.queue", "mode queue"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], path: str, said: str) -> None:
    found = problems(change)
    assert list(found) == [path]
    assert said in found[path]


def test_a_job_in_mode_queue_is_read_and_written() -> None:
    table = PLAIN | {"mode": "queue", "queue": "mail", "namespace": "ops"}
    definition = read_job(table).definition
    assert (definition.mode, definition.queue, definition.concurrency.per_node) == (Mode.QUEUE, "ops/mail", 1)
    assert read_job(render_job(definition)).definition == definition
    assert render_job(definition) == table | {"concurrency": {"per_node": 1}}
    by_default = {"defaults": {"mode": "queue"}, "jobs": [PLAIN | {"queue": "mail"}]}
    assert read_document(by_default).definitions[0].mode is Mode.QUEUE


def test_a_default_retry_is_not_for_what_starts_once() -> None:
    once = PLAIN | {"name": "b", "guarantee": "at_most_once"}
    document = read_document({"defaults": {"retry": {"max": 2}}, "jobs": [PLAIN, once]})
    assert [definition.retry.max for definition in document.definitions] == [2, 0]


def test_a_bare_name_is_of_the_same_namespace() -> None:
    table = {"name": "c", "namespace": "ops", "shell": "true", "after": ["a", "other/b"], "require": "any_succeeded"}
    definition = read_job(table).definition
    assert definition.after == ("ops/a", "other/b")
    assert render_job(definition) == table


@pytest.mark.parametrize(
    ("tcp", "path", "said"),
    [
        ({"port": 1}, "tcp.host", "required"),
        ({"host": "h"}, "tcp.port", "required"),
        ({"host": "h", "port": 0}, "tcp.port", "1 to 65535"),
        ({"host": "h", "port": "80"}, "tcp.port", "a whole number"),
        ({"host": "a b", "port": 1}, "tcp.host", "a name or an address"),
        ({"host": "h", "port": 1, "expct": "x"}, "tcp.expct", "did you mean expect?"),
        ({"host": "h", "port": 1, "send": "x" * 70_000}, "tcp.send, tcp.expect", "at most 65536"),
    ],
)
def test_what_is_wrong_with_an_exchange_is_named(tcp: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_job({"name": "a", "every": "1s", "tcp": tcp})
    assert [problem.path for problem in caught.value.problems] == [path]
    assert said in caught.value.problems[0].message


def test_params_are_texts_and_those_of_all_jobs_come_first() -> None:
    table = PLAIN | {"params": {"day": "mon", "n": 3, "full": True}}
    definition = read_job(table).definition
    assert definition.params == (("day", "mon"), ("n", "3"), ("full", "true"))
    assert read_job(render_job(definition)).definition == definition
    document = read_document({"defaults": {"params": {"day": "sun", "site": "x"}}, "jobs": [table]})
    assert dict(document.definitions[0].params) == {"day": "mon", "site": "x", "n": "3", "full": "true"}
