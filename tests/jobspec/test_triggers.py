"""Triggers that wait for something to happen, as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.check import TRIGGER_CHECK, Check, EndpointProbe, FileProbe, UrlProbe
from peercron.core.job import EnvEntry, SecretSource, Trigger
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.errors import ConfigError
from peercron.jobspec import read_job, render_job


def problems(table: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read_job({"name": "a", "shell": "true"} | table)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("table", "trigger"),
    [
        ({"when": 'state("stock") < 10'}, ConditionTrigger('state("stock") < 10')),
        ({"webhook": True}, HookTrigger()),
        (
            {"webhook": True, "webhook_secret": {"file": "/run/hook"}},
            HookTrigger(EnvEntry("webhook_secret", SecretSource.FILE, "/run/hook")),
        ),
        ({"on": {"event": "default/deployed"}}, EventTrigger("default", "deployed")),
        ({"on": {"queue": "ops/mail"}}, QueueTrigger("ops", "mail")),
        (
            {"on": {"tcp": "db:5432"}},
            ProbeTrigger(Check(TRIGGER_CHECK, EndpointProbe("db", 5432)), well=False),
        ),
        (
            {"on": {"http": {"url": "http://h/x", "expect": [200]}, "becomes": "good", "interval": "1s", "rise": 1}},
            ProbeTrigger(Check(TRIGGER_CHECK, UrlProbe("http://h/x", (200,)), 1_000, rise=1)),
        ),
        ({"on": {"file": "/in"}}, ProbeTrigger(Check(TRIGGER_CHECK, FileProbe("/in"), 1_000, rise=1, fall=1))),
        (
            {"on": {"file": "/in", "event": "disappears", "fall": 3}},
            ProbeTrigger(Check(TRIGGER_CHECK, FileProbe("/in"), 1_000, rise=1, fall=3), well=False),
        ),
    ],
)
def test_a_trigger_is_read_and_written_again(table: dict[str, Any], trigger: Trigger) -> None:
    whole = {"name": "a", "shell": "true"} | table
    definition = read_job(whole).definition
    assert definition.trigger == trigger
    assert render_job(definition) == whole


def test_a_name_without_a_namespace_is_in_that_of_the_job() -> None:
    job = {"name": "a", "namespace": "ops", "shell": "true"}
    assert read_job(job | {"on": {"event": "x"}}).definition.trigger == EventTrigger("ops", "x")
    assert read_job(job | {"on": {"queue": "x/y"}}).definition.trigger == QueueTrigger("x", "y")


@pytest.mark.parametrize(
    ("table", "path", "message"),
    [
        ({"when": 'state("a") <'}, "when", "column 13: a value is missing at the end"),
        ({"when": "1 < 2"}, "when", "it reads no key"),
        ({"when": "x" * 2_000}, "when", "at most"),
        ({"when": 'state("a") < 1', "every": "1s"}, "when", "give one of schedule"),
        ({"webhook_secret": {"file": "/x"}}, "webhook_secret", "only with webhook"),
        ({"webhook": True, "webhook_secret": {"file": ""}}, "webhook_secret", "one of {file = …}"),
        ({"webhook": True, "webhook_secret": {"text": "x"}}, "webhook_secret", "one of {file = …}"),
        ({"on": {}}, "on", "give one of tcp, http, file, event, queue; none is there"),
        ({"on": {"tcp": "a:1", "queue": "q"}}, "on", "not tcp and queue"),
        ({"on": {"tcp": "a"}}, "on.tcp", "HOST:PORT"),
        ({"on": {"tcp": "a:1", "becomes": "red"}}, "on.becomes", "must be good or bad"),
        ({"on": {"tcp": "a:1", "rise": 0}}, "on.rise", "1 to 100"),
        ({"on": {"http": {"url": "ftp://x"}}}, "on.http.url", "http://"),
        ({"on": {"file": "in"}}, "on.file", "absolute path"),
        ({"on": {"file": "/in", "event": "burns"}}, "on.event", "must be appears or disappears"),
        ({"on": {"file": "/in", "becomes": "bad"}}, "on.becomes", "only with tcp and http"),
        ({"on": {"event": "a b"}}, "on.event", "letters"),
        ({"on": {"event": "a", "interval": "1s"}}, "on.interval", "only with tcp, http and file"),
        ({"on": {"evnt": "a"}}, "on.evnt", "unknown key"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(table: dict[str, Any], path: str, message: str) -> None:
    told = problems(table)
    assert path in told, told
    assert message in told[path]
