"""Health checks as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.check import Check, CommandProbe, EndpointProbe, ProcessProbe, UrlProbe
from peercron.core.limits import CHECKS_PER_JOB_MAX
from peercron.errors import ConfigError
from peercron.jobspec import read_job, render_job


def job(*checks: Any) -> dict[str, Any]:
    return {"name": "a", "every": "1s", "shell": "true", "checks": list(checks)}


def problems(*checks: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read_job(job(*checks))
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("table", "check"),
    [
        ({"name": "p", "process": {"pid_file": "/run/x.pid"}}, Check("p", ProcessProbe(pid_file="/run/x.pid"))),
        ({"name": "p", "process": {"name": "nginx"}, "fall": 1}, Check("p", ProcessProbe(name="nginx"), fall=1)),
        (
            {"name": "s", "service": {"command": ["pg_isready", "-q"]}, "interval": "10s", "timeout": "1s"},
            Check("s", CommandProbe(("pg_isready", "-q")), 10_000, 1_000),
        ),
        ({"name": "s", "service": {"http": {"url": "http://h/x"}}}, Check("s", UrlProbe("http://h/x"))),
        (
            {"name": "s", "service": {"http": {"url": "http://h/x", "expect": [200, 204]}}, "rise": 5},
            Check("s", UrlProbe("http://h/x", (200, 204)), rise=5),
        ),
        ({"name": "e", "endpoint": "db:5432"}, Check("e", EndpointProbe("db", 5432))),
        ({"name": "e", "endpoint": "[::1]:80"}, Check("e", EndpointProbe("::1", 80))),
        ({"name": "e", "endpoint": ":80", "observers": 2}, Check("e", EndpointProbe("", 80), observers=2)),
    ],
)
def test_a_check_is_read_and_written_again(table: dict[str, Any], check: Check) -> None:
    definition = read_job(job(table)).definition
    assert definition.checks == (check,)
    assert render_job(definition)["checks"] == [table]


@pytest.mark.parametrize(
    ("table", "path", "message"),
    [
        ({"name": "x"}, "checks[0].process", "give one of process, service and endpoint; none is there"),
        ({"name": "x", "process": {"name": "y"}, "endpoint": ":1"}, "checks[0].endpoint", "not process and endpoint"),
        ({"name": "x", "process": {}}, "checks[0].process", "give one of pid_file"),
        ({"name": "x", "process": {"pid_file": "x.pid"}}, "checks[0].process.pid_file", "absolute path"),
        ({"name": "x", "process": {"name": "/bin/x"}}, "checks[0].process.name", "not a path"),
        ({"name": "x", "process": {"pid": 3}}, "checks[0].process.pid", "unknown key"),
        ({"name": "x", "service": {}}, "checks[0].service", "give one of command"),
        ({"name": "x", "service": {"command": []}}, "checks[0].service.command", "a program"),
        ({"name": "x", "service": {"http": {"url": "ftp://x"}}}, "checks[0].service.http.url", "http://"),
        (
            {"name": "x", "service": {"http": {"url": "http://x", "expect": 9}}},
            "checks[0].service.http.expect",
            "status",
        ),
        ({"name": "x", "endpoint": "80"}, "checks[0].endpoint", "host:port"),
        ({"name": "x", "endpoint": "db:80", "observers": 2}, "checks[0].observers", "only with endpoint"),
        ({"name": "x", "endpoint": ":80", "interval": "1ms"}, "checks[0].interval", "not from"),
        ({"name": "x", "endpoint": ":80", "timeout": "soon"}, "checks[0].timeout", "soon"),
        ({"name": "x", "endpoint": ":80", "rise": 0}, "checks[0].rise", "1 to 100"),
        ({"name": "x", "endpoint": ":80", "often": "1s"}, "checks[0].often", "unknown key"),
        ({"endpoint": ":80"}, "checks[0].name", "required"),
        ({"name": "a b", "endpoint": ":80"}, "checks[0].name", "letters"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(table: dict[str, Any], path: str, message: str) -> None:
    told = problems(table)
    assert list(told) == [path]
    assert message in told[path]


def test_names_and_numbers_of_checks() -> None:
    check = {"name": "x", "endpoint": ":80"}
    assert "twice" in problems(check, check)["checks"]
    many = [{"name": f"x{n}", "endpoint": ":80"} for n in range(CHECKS_PER_JOB_MAX + 1)]
    assert f"at most {CHECKS_PER_JOB_MAX}" in problems(*many)["checks"]
