"""Health: rise and fall, what the state keeps of verdicts, and what they mean for a node."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core import placement
from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.check import Check, CommandProbe, EndpointProbe
from peercron.core.commands import DeleteJob, ExpireSession, OpenSession, PutJob, ReportHealth
from peercron.core.fitness import unfit
from peercron.core.health import HealthReport, Standing, observed
from peercron.core.limits import CHECKED_JOBS_MAX
from peercron.core.lookout import duties
from peercron.core.member import Configuration, Role, Seat
from peercron.core.planner import Planner
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused
from tests.core.builders import (
    NOW,
    cluster,
    complaint,
    definition,
    done,
    fired,
    info,
    job,
    node_of,
    only_run,
    put,
    refused,
)

WEB = Check("web", CommandProbe(("true",)), rise=2, fall=3)
PORT = Check("port", EndpointProbe("", 80))


def say(
    state: ClusterState,
    observer: str,
    subject: str,
    *,
    well: bool,
    check: str = "web",
    detail: str = "",
) -> int | str | None:
    report = HealthReport(job(state).uid, check, f"id-{subject}", well, detail)
    return done(state, ReportHealth(f"id-{observer}", 1, (report,))).value


def fit(state: ClusterState) -> list[str]:
    return [member.info.name for member in placement.eligible(state, job(state).definition)]


# Rise and fall.


def verdicts(check: Check, results: str) -> str:
    """The verdict after each result; "+" is well."""
    standing, told = Standing(), ""
    for result in results:
        standing = observed(standing, check, well=result == "+")
        told += "+" if standing.well else "-"
    return told


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ("+", "+"),
        ("-", "-"),  # the first result is a verdict at once
        ("+---", "+++-"),
        ("+--+--+", "+++++++"),  # a good one in between begins the count anew
        ("-++", "--+"),
        ("-+-+", "----"),
        ("+---++", "+++--+"),
    ],
)
def test_a_verdict_turns_after_so_many_results_in_a_row(results: str, verdict: str) -> None:
    assert verdicts(WEB, results) == verdict


@given(st.text("+-", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_the_count_is_that_of_who_looks_back(results: str, rise: int, fall: int) -> None:
    """The dumb twin: a verdict is turned by the last `rise` or `fall` results being all against it."""
    check, expected, now = replace(WEB, rise=rise, fall=fall), "", ""
    for end in range(1, len(results) + 1):
        seen = results[:end]
        if not now:
            now = seen
        elif now == "-" and seen.endswith("+" * rise):
            now = "+"
        elif now == "+" and seen.endswith("-" * fall):
            now = "-"
        expected += now
    assert verdicts(check, results) == expected


# What the state keeps.


def test_a_verdict_is_kept_since_it_changed() -> None:
    state = cluster("a")
    put(state, checks=(WEB,))
    assert say(state, "a", "a", well=True, detail="fine") == 1
    assert say(state, "a", "a", well=True, detail="still fine") == 0
    (opinion,) = state.health[job(state).uid].values()
    assert (opinion.well, opinion.since_ms, opinion.detail) == (True, NOW, "fine")


def test_what_is_said_of_something_unknown_is_passed_over() -> None:
    state = cluster("a")
    put(state, checks=(WEB,))
    assert say(state, "a", "a", well=True, check="other") == 0
    assert say(state, "a", "nobody", well=True) == 0
    assert state.health == {}
    done(state, DeleteJob("default/job"))
    assert done(state, ReportHealth("id-a", 1, (HealthReport("gone", "web", "id-a", True),))).value == 0
    assert state.health == {}


def test_only_an_open_session_is_heard() -> None:
    state = cluster("a", "b")
    put(state, checks=(WEB,))
    command = ReportHealth("id-a", 2, (HealthReport(job(state).uid, "web", "id-a", True),))
    assert refused(state, command) is Refusal.STALE_SESSION
    done(state, ExpireSession("id-a", 1))
    assert refused(state, replace(command, session=1)) is Refusal.STALE_SESSION


def test_the_word_of_an_observer_goes_with_its_session() -> None:
    state = cluster("a", "b")
    put(state, checks=(replace(PORT, observers=1),))
    say(state, "a", "a", well=True, check="port")
    say(state, "b", "a", well=False, check="port")
    assert "a" not in fit(state)
    done(state, ExpireSession("id-b", 1))
    assert "a" in fit(state)


@pytest.mark.parametrize("observers", [0, 1, 2, 3])
@pytest.mark.parametrize("against", ["abc", "bc"], ids=["all say so", "only its peers say so"])
def test_a_verdict_stands_while_its_observers_come_back(observers: int, against: str) -> None:
    """Two of three are killed and return: their last words hold until they have looked again."""
    state = cluster("a", "b", "c")
    put(state, checks=(replace(PORT, observers=min(observers, len(against))),))
    for name in "abc":
        say(state, name, "a", well=name not in against, check="port")
    for name in "bc":
        done(state, OpenSession(info(name), 2))
        assert "a" not in fit(state)
    for name in "bc":
        say_again(state, name, "a", well=True)
    say(state, "a", "a", well=True, check="port")
    assert "a" in fit(state)


def test_who_comes_changes_no_verdict_until_it_has_looked() -> None:
    """Of four that are there, two are no majority; of three that have looked, they are."""
    state = cluster("a", "b", "c", "d")
    put(state, checks=(PORT,))
    done(state, ExpireSession("id-d", 1))
    for name in "abc":
        say(state, name, "a", well=name == "a", check="port")
    done(state, OpenSession(info("d"), 2))
    assert "a" not in fit(state)
    say_again(state, "d", "a", well=True)
    assert "a" in fit(state)


def test_the_first_word_of_several_is_a_verdict_also_when_it_is_bad() -> None:
    state = cluster("a", "b", "c")
    put(state, checks=(replace(PORT, observers=2),))
    say(state, "b", "a", well=False, check="port")
    assert fit(state) == []


@pytest.mark.parametrize("anew", [False, True], ids=["expired before", "opened anew"])
def test_who_comes_back_must_be_looked_at(anew: bool) -> None:
    """What was well before it went says nothing of what came back with it."""
    state = cluster("a", "b")
    put(state, checks=(WEB, PORT))
    for check in ("web", "port"):
        say(state, "b", "b", well=True, check=check)
    say(state, "a", "b", well=True, check="port")
    assert fit(state) == ["b"]
    if not anew:
        done(state, ExpireSession("id-b", 1))
    done(state, OpenSession(info("b"), 2))
    assert fit(state) == []
    say_again(state, "b", "b", well=True, check="web")
    assert fit(state) == (["b"] if anew else [])
    say_again(state, "b", "b", well=True)
    assert fit(state) == ["b"]


def say_again(state: ClusterState, observer: str, subject: str, *, well: bool, check: str = "port") -> None:
    """In its second session."""
    report = HealthReport(job(state).uid, check, f"id-{subject}", well)
    done(state, ReportHealth(f"id-{observer}", 2, (report,)))


def test_an_edit_of_a_check_forgets_what_was_said_of_it() -> None:
    state = cluster("a")
    put(state, checks=(WEB, PORT))
    say(state, "a", "a", well=True)
    say(state, "a", "a", well=True, check="port")
    put(state, checks=(replace(WEB, probe=CommandProbe(("false",))), PORT))
    assert [check for check, _, _ in state.health[job(state).uid]] == ["port"]
    put(state)
    assert state.health == {}
    assert state.listening == {}


def test_a_removed_member_is_not_spoken_of() -> None:
    state = cluster("a", "b")
    seats = tuple(Seat(f"id-{name}", name, f"{name}:7400") for name in "ab")
    configure(state, Configuration(seats))
    put(state, checks=(PORT,))
    say(state, "a", "b", well=True, check="port")
    done(state, ExpireSession("id-b", 1))
    configure(state, Configuration(seats[:1]))
    assert state.health == {}


def test_jobs_with_checks_have_a_bound() -> None:
    state = cluster("a")
    for number in range(CHECKED_JOBS_MAX):
        state.listening.setdefault("checks", {})[f"u{number}"] = 1
    verdict = apply(state, PutJob(definition(checks=(WEB,))), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.LIMIT
    put(state)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "no good"}, "checks[0].name"),
        ({"interval_ms": 1}, "checks[0].interval"),
        ({"timeout_ms": 10**9}, "checks[0].timeout"),
        ({"rise": 0}, "checks[0].rise"),
        ({"fall": 1_000}, "checks[0].fall"),
        ({"observers": 2}, "checks[0].observers"),
        ({"probe": CommandProbe(())}, "checks[0].service.command"),
        ({"probe": EndpointProbe("", 0)}, "checks[0].endpoint"),
    ],
)
def test_a_check_that_cannot_be_made_is_refused(changes: dict[str, object], field: str) -> None:
    wrong = replace(WEB, **changes)  # type: ignore[arg-type]
    assert complaint(cluster("a"), PutJob(definition(checks=(wrong,)))) == field


# What they mean.


def test_who_has_not_been_looked_at_is_not_fit_yet() -> None:
    state = cluster("a", "b")
    put(state, checks=(WEB,))
    assert fit(state) == []
    assert "has not been looked at" in unfit(state, job(state).definition, state.members["id-a"])
    say(state, "a", "a", well=True)
    assert fit(state) == ["a"]


def test_another_nodes_word_about_it_counts_only_where_peers_look() -> None:
    state = cluster("a", "b")
    put(state, checks=(WEB,))
    say(state, "b", "a", well=True)
    assert fit(state) == []


def test_a_node_that_fails_one_check_of_two_is_not_fit() -> None:
    state = cluster("a")
    put(state, checks=(WEB, PORT))
    say(state, "a", "a", well=True)
    say(state, "a", "a", well=False, check="port", detail="refused")
    assert unfit(state, job(state).definition, state.members["id-a"]) == "check port: refused (said by 1 of 1)"


@pytest.mark.parametrize(
    ("observers", "against", "is_fit"),
    [
        (0, "", True),
        (0, "b", True),
        (0, "bc", False),
        (1, "b", False),
        (3, "bc", True),
        (3, "abc", False),
        (9, "abc", False),
    ],
)
def test_so_many_observers_have_to_agree(observers: int, against: str, is_fit: bool) -> None:
    """0 is a majority; more than there are cannot be asked for."""
    state = cluster("a", "b", "c")
    put(state, checks=(replace(PORT, observers=observers),))
    for name in "abc":
        say(state, name, "a", well=name not in against, check="port")
    assert ("a" in fit(state)) is is_fit


def test_a_run_waits_until_a_node_is_fit_and_goes_there() -> None:
    state = cluster("a", "b")
    planner = Planner(state)
    put(state, checks=(WEB,))
    fired(state, NOW + 1_000)
    assert only_run(state).id in state.unplaced
    assert planner.plan(NOW + 1_000) == []
    say(state, "b", "b", well=True)
    say(state, "a", "a", well=False)
    (place,) = planner.plan(NOW + 1_000)
    done(state, place)
    assert node_of(state, only_run(state)) == "b"


# Who looks at what.


def test_a_member_looks_at_itself_and_where_peers_look_at_all() -> None:
    state = cluster("a", "b", "c")
    done(state, OpenSession(info("w", role=Role.WITNESS), 1))
    put(state, checks=(WEB, PORT), nodes=("a", "b"))
    assert [(duty.check.name, duty.address) for duty in duties(state, "id-a")] == [
        ("web", "a:7400"),
        ("port", "a:7400"),
        ("port", "b:7400"),
    ]
    for onlooker in ("id-c", "id-w"):
        assert [(duty.check.name, duty.subject) for duty in duties(state, onlooker)] == [
            ("port", "id-a"),
            ("port", "id-b"),
        ]


def test_what_is_to_be_looked_at_has_a_revision_of_its_own() -> None:
    state = cluster("a")
    put(state)
    assert state.watch_revision == 0
    put(state, checks=(WEB,))
    first = state.watch_revision
    put(state, "plain")
    assert state.watch_revision == first > 0
    put(state, checks=())
    assert state.watch_revision > first
