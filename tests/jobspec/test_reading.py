"""Jobs as people write them: what is accepted becomes the definition meant, what is not is named with its cure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peercron.core.apply.definition import flaw
from peercron.core.job import (
    AtTrigger,
    ClassTask,
    CommandTask,
    CronTrigger,
    DstGap,
    DstOverlap,
    EnvEntry,
    EveryTrigger,
    Guarantee,
    HttpTask,
    ManualTrigger,
    Misfire,
    MisfirePolicy,
    Mode,
    OnAbsent,
    OnDisconnect,
    Overlap,
    SecretSource,
)
from peercron.errors import ConfigError
from peercron.jobspec import read_document, read_job
from peercron.jobspec.tables import JOB_KEYS, LATER_KEYS

PLAIN = {"name": "a", "every": "1s", "shell": "true"}


def problems(table: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read_job(table)
    return {problem.path: problem.message for problem in caught.value.problems}


def document_problems(document: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read_document(document)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_full_job() -> None:
    spec = read_job({
        "name": "nightly-report", "namespace": "reports", "schedule": " 0  2 * * *", "timezone": "Europe/Berlin",
        "dst": {"gap": "skip", "overlap": "both"}, "command": ["python", "report.py"],
        "env": {"LEVEL": "2", "DSN": {"file": "/run/secrets/dsn"}, "HOST": {"env": "HOSTNAME"}},
        "user": "www-data", "cwd": "/srv", "timeout": "15m", "kill_grace": "5s", "nodes": ["a", "b"],
        "overlap": "queue_one", "guarantee": "at_most_once", "misfire": {"policy": "all", "window": "2h", "max": 7},
        "mode": "single", "on_disconnect": "keep", "paused": True,
    })  # fmt: skip
    definition = spec.definition
    assert (spec.key, spec.paused) == ("reports/nightly-report", True)
    assert definition.trigger == CronTrigger("0 2 * * *", "Europe/Berlin", DstGap.SKIP, DstOverlap.BOTH)
    env = (
        EnvEntry("DSN", SecretSource.FILE, "/run/secrets/dsn"),
        EnvEntry("HOST", SecretSource.ENV, "HOSTNAME"),
        EnvEntry("LEVEL", SecretSource.LITERAL, "2"),
    )
    assert definition.task == CommandTask(("python", "report.py"), "", env, "/srv", "www-data")
    assert (definition.timeout_ms, definition.kill_grace_ms, definition.nodes) == (900_000, 5_000, ("a", "b"))
    assert (definition.overlap, definition.guarantee) == (Overlap.QUEUE_ONE, Guarantee.AT_MOST_ONCE)
    assert definition.misfire == Misfire(MisfirePolicy.ALL, 7_200_000, 7)
    assert definition.on_disconnect is OnDisconnect.KEEP


@pytest.mark.parametrize(
    ("table", "trigger"),
    [
        ({"every": "1m30s"}, EveryTrigger(90_000)),
        ({"every": "1s", "anchor": "1970-01-01T00:00:00.500Z"}, EveryTrigger(1_000, 500)),
        ({"at": "2026-12-01T10:00:00+01:00"}, AtTrigger(1_796_115_600_000)),
        ({"schedule": "*/5 * * * *"}, CronTrigger("*/5 * * * *")),
        ({"schedule": "*/2 * * * * *"}, CronTrigger("*/2 * * * * *")),
        ({}, ManualTrigger()),
    ],
)
def test_triggers(table: dict[str, Any], trigger: object) -> None:
    assert read_job({"name": "a", "shell": "true"} | table).definition.trigger == trigger


@pytest.mark.parametrize(
    ("http", "task"),
    [
        ({"url": "http://x/"}, HttpTask("GET", "http://x/")),
        ({"url": "http://x/", "method": "put", "body": "hi"}, HttpTask("PUT", "http://x/", (), b"hi")),
        ({"url": "http://x/", "body_base64": "/w=="}, HttpTask("POST", "http://x/", (), b"\xff")),
        (
            {"url": "https://x/", "json": {"a": [1]}, "expect": {"status": [200, 204]}},
            HttpTask("POST", "https://x/", (("Content-Type", "application/json"),), b'{"a":[1]}', (200, 204)),
        ),
        (
            {"url": "http://x/", "json": None, "headers": {"content-type": "a/b"}, "expect": 201},
            HttpTask("POST", "http://x/", (("content-type", "a/b"),), b"null", (201,)),
        ),
    ],
)
def test_http_tasks(http: dict[str, Any], task: HttpTask) -> None:
    assert read_job({"name": "a", "every": "1s", "http": http}).definition.task == task


def test_class_tasks() -> None:
    table = {"name": "a", "class": "acme.jobs:Report", "memory_max": "256MiB", "cwd": "/srv", "env": {"A": "b"}}
    env = (EnvEntry("A", SecretSource.LITERAL, "b"),)
    assert read_job(table).definition.task == ClassTask("acme.jobs:Report", env, "/srv", 256 << 20)


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"class": "acme.jobs.Report"}, "class", "acme.jobs:Report"),
        ({"class": "acme.jobs:"}, "class", "a module, a colon"),
        ({"class": 5}, "class", "must be text"),
        ({"shell": "x"}, "class", "give one of"),
        ({"user": "x"}, "user", "only with command or shell"),
        ({"memory_max": "much"}, "memory_max", "512MiB"),
    ],
)
def test_what_is_wrong_with_a_class_is_named(change: dict[str, Any], path: str, said: str) -> None:
    found = problems({"name": "a", "class": "acme.jobs:Report"} | change)
    assert list(found) == [path]
    assert said in found[path]


def test_a_bound_of_memory_is_for_classes() -> None:
    assert problems(PLAIN | {"memory_max": "1GB"}) == {"memory_max": "has a meaning only with class"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"processes_max": 40_000}, "wants 0 (the bound of all jobs) to 32768"),
        ({"processes_max": -1}, "wants 0 (the bound of all jobs) to 32768"),
        ({"processes_max": "9"}, "must be a whole number, not text in quotes"),
    ],
)
def test_a_bound_of_processes_has_its_own_bounds(change: dict[str, Any], message: str) -> None:
    assert read_job(PLAIN | {"processes_max": 9}).definition.processes_max == 9
    assert problems(PLAIN | change) == {"processes_max": message}


def test_a_bound_of_processes_is_for_what_has_processes() -> None:
    call = {"name": "a", "every": "1s", "http": {"url": "http://h/"}}
    assert problems(call | {"processes_max": 9}) == {
        "processes_max": "has a meaning only with command or shell or class"
    }
    assert "processes_max" in flaw(replace(read_job(call).definition, processes_max=9))
    (plain, other) = read_document({"defaults": {"processes_max": 9}, "jobs": [PLAIN, call | {"name": "b"}]}).specs
    assert (plain.definition.processes_max, other.definition.processes_max) == (9, 0)


@pytest.mark.parametrize("key", sorted(LATER_KEYS))
def test_keys_of_later_versions_are_refused_by_name(key: str) -> None:
    assert problems(PLAIN | {key: 1}) == {key: "not supported by this version"}


def test_later_keys_are_not_keys_of_today() -> None:
    assert not LATER_KEYS & set(JOB_KEYS)


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"shedule": "x"}, "shedule", "did you mean schedule?"),
        ({"misfire": {"polcy": "all"}}, "misfire.polcy", "did you mean policy?"),
        ({"misfire": {"policy": "al"}}, "misfire.policy", "did you mean all?"),
        ({"misfire": {"max": 0}}, "misfire.max", "from 1 to"),
        ({"misfire": {"window": "x"}}, "misfire.window", "duration"),
        ({"overlap": "forbidd"}, "overlap", "forbid, allow, queue_one, queue_all, replace"),
        ({"timeout": 5}, "timeout", "text in quotes, not a whole number"),
        ({"timeout": "5"}, "timeout", "30s"),
        ({"timeout": "31d"}, "timeout", "4w2d"),
        ({"paused": "yes"}, "paused", "true or false"),
        ({"nodes": "a"}, "nodes", "a list"),
        ({"nodes": ["a", 1]}, "nodes[1]", "text in quotes"),
        ({"nodes": ["a", "a"]}, "nodes", "twice"),
        ({"nodes": ["a b"]}, "nodes", "letters"),
        ({"name": "a b"}, "name", "letters"),
        ({"name": "a:run"}, "name", "letters"),
        ({"name": ""}, "name", "letters"),
        ({"name": "x" * 129}, "name", "at most 128"),
        ({"namespace": "a/b"}, "namespace", "letters"),
        ({"every": "10ms"}, "every", "from 100ms"),
        ({"every": "soon"}, "every", "duration"),
        ({"at": "2026-12-01T10:00:00Z"}, "at", "give one of schedule, every, at, when, webhook, on"),
        ({"anchor": "yesterday"}, "anchor", "2026-12-01T10:00:00Z"),
        ({"anchor": "2026-12-01T10:00:00"}, "anchor", "offset"),
        ({"dst": {"gap": "skip"}}, "dst", "only with schedule"),
        ({"timezone": "Europe/Berln"}, "timezone", "Europe/Berlin"),
        ({"command": ["x"]}, "shell", "give one of command, shell, http, tcp and class"),
        ({"http": {"url": "http://x"}}, "http", "give one of command, shell, http, tcp and class"),
        ({"shell": " "}, "shell", "empty"),
        ({"shell": "a\0b"}, "shell", "NUL"),
        ({"shell": "x" * 70_000}, "shell", "longer than"),
        ({"cwd": "srv"}, "cwd", "absolute"),
        ({"env": {"1A": "x"}}, "env.1A", "variable's name"),
        ({"env": {"PEERCRON_JOB": "x"}}, "env.PEERCRON_JOB", "peercron itself"),
        ({"env": {"A": 1}}, "env.A", "{file = …}"),
        ({"env": {"A": {"fil": "x"}}}, "env.A", "did you mean file?"),
        ({"env": {"A": {"file": "x", "env": "y"}}}, "env.A", "one of"),
        ({"env": {"A": {}}}, "env.A", "one of"),
        ({"env": {f"A{n}": "x" for n in range(300)}}, "env", "at most 256"),
        ({"owner": "x" * 600}, "owner", "512"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], path: str, said: str) -> None:
    found = problems(PLAIN | change)
    assert list(found) == [path]
    assert said in found[path]


@pytest.mark.parametrize(
    ("http", "path", "said"),
    [
        ({}, "http.url", "required"),
        ({"url": "ftp://x"}, "http.url", "http://host"),
        ({"url": "http://"}, "http.url", "http://host"),
        ({"url": "http://x:99999/"}, "http.url", "http://host"),
        ({"url": "http://x/\n"}, "http.url", "http://host"),
        ({"url": "http://x", "method": "BREW"}, "http.method", "GET"),
        ({"url": "http://x", "heders": {}}, "http.heders", "did you mean headers?"),
        ({"url": "http://x", "headers": {"a": "b\r\nc: d"}}, "http.headers.a", "can be sent"),
        ({"url": "http://x", "headers": {"a": "1", "A": "2"}}, "http.headers", "twice"),
        ({"url": "http://x", "body": "a", "json": 1}, "http.json", "one of"),
        ({"url": "http://x", "body_base64": "?"}, "http.body_base64", "base64"),
        ({"url": "http://x", "expect": 99}, "http.expect", "statuses"),
        ({"url": "http://x", "expect": {"within": "5s"}}, "http.expect.within", "unknown"),
    ],
)
def test_what_is_wrong_with_a_call_is_named(http: dict[str, Any], path: str, said: str) -> None:
    found = problems({"name": "a", "every": "1s", "http": http})
    assert list(found) == [path]
    assert said in found[path]


def test_a_cron_expression_that_never_fires_is_refused_with_its_column() -> None:
    assert "never fires" in problems({"name": "a", "shell": "x", "schedule": "0 0 31 2 *"})["schedule"]


def test_commands_are_lists_and_shells_are_text() -> None:
    assert "a list" in problems({"name": "a", "every": "1s", "command": "true"})["command"]
    assert "give one of" in problems({"name": "a", "every": "1s"})["command"]
    assert "must name a program" in problems({"name": "a", "every": "1s", "command": []})["command"]


def test_a_call_has_no_environment() -> None:
    assert "only with command" in problems({"name": "a", "http": {"url": "http://x"}, "cwd": "/"})["cwd"]


def test_every_problem_of_every_job_at_once() -> None:
    found = document_problems({
        "version": 2, "ownr": "x", "defaults": {"timeout": "soon"},
        "jobs": [PLAIN | {"overlap": "x", "user": 1}, PLAIN | {"name": "b", "tiemout": "1s"}, 7, {}],
    })  # fmt: skip
    expected = ["ownr", "version", "defaults.timeout", "jobs[0].overlap", "jobs[0].user", "jobs[1].tiemout", "jobs[2]"]
    assert [*found][:7] == expected
    assert found["jobs[3].name"] == "required"


@pytest.mark.parametrize("document", [None, [], "x", {"jobs": {}}, {"defaults": []}, {"jobs": None}, {"version": True}])
def test_what_is_no_document(document: object) -> None:
    assert document_problems(document)


def test_one_name_twice_in_a_namespace() -> None:
    assert "twice" in document_problems({"jobs": [PLAIN, PLAIN]})["jobs[1].name"]
    assert len(read_document({"jobs": [PLAIN, PLAIN | {"namespace": "b"}]}).definitions) == 2


def test_defaults_fill_in_what_a_job_does_not_say() -> None:
    document = read_document({
        "version": 1, "owner": "ops",
        "defaults": {"timezone": "Europe/Berlin", "timeout": "15m", "env": {"A": "1", "B": "1"}, "cwd": "/srv"},
        "jobs": [
            {"name": "a", "schedule": "0 2 * * *", "shell": "x", "timeout": "1s", "env": {"B": "2"}},
            {"name": "b", "every": "1s", "http": {"url": "http://x"}, "owner": "me"},
        ],
    })  # fmt: skip
    one, two = document.definitions
    assert (one.owner, one.timeout_ms, one.trigger) == ("ops", 1_000, CronTrigger("0 2 * * *", "Europe/Berlin"))
    assert isinstance(one.task, CommandTask)
    assert [(entry.name, entry.value) for entry in one.task.env] == [("A", "1"), ("B", "2")]
    assert (two.owner, two.timeout_ms) == ("me", 900_000)


def test_defaults_cannot_name_a_job() -> None:
    assert "defaults.name" in document_problems({"defaults": {"name": "x"}})


# Slices.


def test_slices_have_a_length_and_say_what_becomes_of_those_of_the_absent() -> None:
    more = {"mode": "slice", "slice": "10s", "on_absent": "fill", "nodes": ["b", "a"]}
    definition = read_job(PLAIN | more).definition
    assert (definition.mode, definition.slice_ms, definition.on_absent) == (Mode.SLICE, 10_000, OnAbsent.FILL)
    assert definition.nodes == ("b", "a")


@pytest.mark.parametrize(
    ("more", "path", "word"),
    [
        ({"mode": "slice", "on_absent": "fill"}, "slice", "required with mode slice"),
        ({"mode": "slice", "on_absent": "fill", "slice": "1s"}, "slice", "1s is not from 5s to"),
        ({"mode": "slice", "on_absent": "leave", "slice": "9s"}, "on_absent", "must be one of skip, fill"),
        ({"slice": "10s"}, "slice", "has a meaning only with mode slice"),
        ({"on_absent": "fill"}, "on_absent", "has a meaning only with mode slice"),
    ],
)
def test_slices_that_make_no_sense(more: dict[str, object], path: str, word: str) -> None:
    assert word in problems(PLAIN | more)[path]


def test_slices_by_default_are_for_the_jobs_that_are_in_slices() -> None:
    defaults = {"slice": "10s", "on_absent": "fill"}
    sliced, plain = read_document(
        {"defaults": defaults, "jobs": [PLAIN | {"mode": "slice"}, PLAIN | {"name": "b"}]}
    ).definitions
    assert (sliced.slice_ms, plain.slice_ms) == (10_000, 0)
