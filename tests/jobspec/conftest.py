"""Any definition that this version takes, as a hypothesis strategy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st

from peercron.core import check, job, limits, occasion, pace

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORDS = TEXTS.filter(str.strip)
KEYS = st.tuples(st.just("default") | NAMES, NAMES).map("/".join)
DURATIONS_MS = st.integers(0, limits.TIMEOUT_MS_MAX)
INSTANTS_MS = st.integers(0, 4_102_444_800_000)


def cron_triggers() -> st.SearchStrategy[job.CronTrigger]:
    return st.builds(
        job.CronTrigger,
        st.sampled_from(["0 2 * * *", "*/5 9-17 * * 1-5", "*/2 * * * * *", "H 3 * * *", "@hourly", "0 0 L * *"]),
        st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
        st.none() | st.sampled_from(job.DstGap),
        st.none() | st.sampled_from(job.DstOverlap),
    )


def triggers() -> st.SearchStrategy[job.Trigger]:
    every = st.builds(job.EveryTrigger, st.integers(limits.EVERY_MS_MIN, 10**10), INSTANTS_MS)
    at, manual = st.builds(job.AtTrigger, INSTANTS_MS), st.just(job.ManualTrigger())
    return st.one_of(cron_triggers(), every, at, manual, occasions())


def occasions() -> st.SearchStrategy[job.Trigger]:
    """Triggers that wait for something to happen."""
    often = st.integers(limits.CHECK_INTERVAL_MS_MIN, limits.CHECK_INTERVAL_MS_MAX)
    streaks = st.integers(1, limits.CHECK_STREAK_MAX)
    probes = st.sampled_from(
        [
            check.FileProbe("/srv/in"),
            check.UrlProbe("https://example.org/health", (200,)),
            check.UrlProbe("http://127.0.0.1:1/"),
            check.EndpointProbe("db", 5432),
        ]
    )
    probed = st.builds(check.Check, st.just(check.TRIGGER_CHECK), probes, often, often, streaks, streaks)
    secrets = st.builds(
        job.EnvEntry,
        st.just("webhook_secret"),
        st.sampled_from([job.SecretSource.FILE, job.SecretSource.ENV, job.SecretSource.CREDENTIAL]),
        st.sampled_from(["/run/secrets/hook", "HOOK"]),
    )
    return st.one_of(
        st.builds(occasion.ConditionTrigger, st.sampled_from(['state("stock") < 10', "exists('ops/x')"])),
        st.builds(occasion.HookTrigger, st.none() | secrets),
        st.builds(occasion.EventTrigger, NAMES, NAMES),
        st.builds(occasion.QueueTrigger, NAMES, NAMES),
        st.builds(occasion.ProbeTrigger, probed, st.booleans()),
    )


def environments() -> st.SearchStrategy[tuple[job.EnvEntry, ...]]:
    names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda n: not n.startswith("PEERCRON_"))
    values = st.tuples(st.sampled_from(job.SecretSource), TEXTS.filter(bool))
    literal_empty = st.just((job.SecretSource.LITERAL, ""))
    tables = st.dictionaries(names, values | literal_empty, max_size=4)
    return tables.map(lambda table: tuple(job.EnvEntry(name, *table[name]) for name in sorted(table)))


def command_tasks() -> st.SearchStrategy[job.CommandTask]:
    argv = st.tuples(WORDS, st.lists(TEXTS, max_size=3)).map(lambda parts: (parts[0], *parts[1]))
    rest = (environments(), st.just("") | TEXTS.map(lambda text: "/" + text), TEXTS)
    return st.builds(job.CommandTask, argv, st.just(""), *rest) | st.builds(job.CommandTask, st.just(()), WORDS, *rest)


def class_tasks() -> st.SearchStrategy[job.ClassTask]:
    target = st.from_regex(r"[a-z]{1,4}(\.[a-z_]{1,4})?:[A-Z][a-z]{0,4}", fullmatch=True)
    cwd = st.just("") | TEXTS.map(lambda text: "/" + text)
    return st.builds(job.ClassTask, target, environments(), cwd, st.integers(0, limits.MEMORY_BYTES_MAX))


def tcp_tasks() -> st.SearchStrategy[job.TcpTask]:
    texts = TEXTS.map(str.encode)
    return st.builds(job.TcpTask, st.sampled_from(["db", "::1", "10.0.0.1"]), st.integers(1, 65_535), texts, texts)


def http_tasks() -> st.SearchStrategy[job.HttpTask]:
    values = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8)
    headers = st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True), values, max_size=3)
    return st.builds(
        job.HttpTask,
        st.sampled_from(["GET", "POST", "PUT"]),
        st.sampled_from(["http://127.0.0.1:8400/readyz", "https://example.org/a?b=c#d", "http://[::1]/"]),
        headers.map(lambda table: tuple(table.items())),
        st.binary(max_size=20),
        st.lists(st.integers(100, 599), max_size=3).map(tuple),
    )


def in_slices(plain: job.Definition) -> st.SearchStrategy[job.Definition]:
    """The same in mode slice; by itself it knows less than under a quorum."""
    lengths = st.integers(limits.SLICE_MS_MIN, limits.SLICE_MS_MAX)
    mode = {"mode": job.Mode.SLICE, "failback": job.Failback.AUTO, "failback_after_ms": 60_000, "pool": "", "lock": ""}
    mode |= {"queue": "", "concurrency": pace.Concurrency()}
    base = replace(plain, **mode)
    filled = st.builds(replace, st.just(base), slice_ms=lengths, on_absent=st.just(job.OnAbsent.FILL))
    alone = st.sampled_from([job.Overlap.FORBID, job.Overlap.ALLOW])
    fields = {"on_absent": st.just(job.OnAbsent.SKIP), "retry": st.just(pace.Retry()), "jitter_ms": st.just(0)}
    if not isinstance(plain.trigger, job.TIMED):
        return filled
    return filled | filled.flatmap(lambda each: st.builds(replace, st.just(each), overlap=alone, **fields))


def checks() -> st.SearchStrategy[tuple[check.Check, ...]]:
    probes = st.sampled_from(
        [
            check.ProcessProbe(pid_file="/run/x.pid"),
            check.ProcessProbe(name="nginx"),
            check.CommandProbe(("pg_isready", "-q")),
            check.UrlProbe("http://127.0.0.1:8080/health", (200, 204)),
            check.EndpointProbe("db", 5432),
            check.EndpointProbe("::1", 80),
            check.EndpointProbe("", 80),
        ]
    )
    often = st.integers(limits.CHECK_INTERVAL_MS_MIN, limits.CHECK_INTERVAL_MS_MAX)
    streaks = st.integers(1, limits.CHECK_STREAK_MAX)
    any_check = st.builds(check.Check, NAMES, probes, often, often, streaks, streaks)
    by_peers = st.builds(check.Check, NAMES, st.just(check.EndpointProbe("", 1)), observers=st.integers(0, 5))
    return st.lists(any_check | by_peers, max_size=3, unique_by=lambda each: each.name).map(tuple)


def definitions() -> st.SearchStrategy[job.Definition]:
    plain = plain_definitions()
    return plain | plain.flatmap(in_slices)


def plain_definitions() -> st.SearchStrategy[job.Definition]:
    return st.builds(
        _definition,
        modes(),
        name=NAMES,
        trigger=triggers(),
        task=command_tasks() | http_tasks() | tcp_tasks() | class_tasks(),
        namespace=st.just("default") | NAMES,
        owner=st.sampled_from(["", "ops/jobs.git", "me"]),
        nodes=st.lists(NAMES, unique=True, max_size=3).map(tuple),
        overlap=st.sampled_from(job.Overlap),
        guarantee=st.sampled_from(job.Guarantee),
        misfire=st.builds(
            job.Misfire,
            st.sampled_from(job.MisfirePolicy),
            DURATIONS_MS,
            st.integers(1, limits.MISFIRE_REPLAY_MAX),
        ),
        timeout_ms=DURATIONS_MS,
        kill_grace_ms=DURATIONS_MS,
        on_disconnect=st.sampled_from(job.OnDisconnect),
        retry=retries(),
        pool=st.just("") | NAMES,
        lock=st.just("") | st.tuples(NAMES, NAMES).map("/".join),
        after=st.lists(KEYS, unique=True, max_size=2).map(tuple),
        jitter_ms=st.just(0) | st.integers(0, limits.JITTER_MS_MAX),
        checks=checks(),
        queue=st.just("") | KEYS,
        params=st.dictionaries(st.sampled_from(["day", "full", "n_1"]), st.sampled_from(["", "mon", "ä b"])).map(
            lambda table: tuple(table.items())
        ),
        processes_max=st.just(0) | st.integers(1, limits.PROCESSES_MAX_MAX),
    ).map(_without_contradictions)


def _without_contradictions(row: job.Definition) -> job.Definition:
    """What starts a slot's work once does not retry it; what has no slots of its own has nothing to spread."""
    row = replace(row, retry=pace.Retry()) if row.guarantee is job.Guarantee.AT_MOST_ONCE else row
    row = row if isinstance(row.task, job.CommandTask | job.ClassTask) else replace(row, processes_max=0)
    row = row if isinstance(row.trigger, job.TIMED) else replace(row, jitter_ms=0)
    if row.mode is job.Mode.QUEUE:
        row = replace(row, queue=row.queue or "default/q", concurrency=replace(row.concurrency, per_node=1))
        row = replace(row, guarantee=job.Guarantee.AT_LEAST_ONCE)
        trigger = job.ManualTrigger() if isinstance(row.trigger, occasion.QueueTrigger) else row.trigger
        after = row.after if isinstance(trigger, job.ManualTrigger) else ()
        return replace(row, trigger=trigger, after=after, require=row.require if after else pace.Require.ALL_SUCCEEDED)
    if row.mode is not job.Mode.SINGLE or row.after or not row.concurrency.per_node:
        row = replace(row, queue="")
    if isinstance(row.trigger, job.ManualTrigger):
        return row
    return replace(row, after=(), require=pace.Require.ALL_SUCCEEDED, queue="")


def retries() -> st.SearchStrategy[pace.Retry]:
    pauses = st.tuples(DURATIONS_MS, DURATIONS_MS).map(sorted)
    return st.builds(
        lambda most, backoff, pauses_ms, jitter, on: pace.Retry(most, backoff, *pauses_ms, jitter, on),
        st.integers(0, limits.RETRIES_MAX),
        st.sampled_from(pace.Backoff),
        pauses,
        st.booleans(),
        st.sampled_from(pace.RetryOn),
    )


def _definition(mode: dict[str, Any], **more: Any) -> job.Definition:
    return job.Definition(**more, **mode)


def modes() -> st.SearchStrategy[dict[str, Any]]:
    """How the nodes share a job: the fields that mean something in its mode."""
    standby = {"failback": st.sampled_from(job.Failback), "failback_after_ms": DURATIONS_MS}
    own = {job.Mode.STANDBY: standby}
    return st.one_of(
        [
            st.fixed_dictionaries({"mode": st.just(mode), **own.get(mode, {})})
            for mode in job.Mode
            if mode is not job.Mode.SLICE
        ]
    )


@pytest.fixture(scope="session")
def any_definitions() -> st.SearchStrategy[list[tuple[job.Definition, bool]]]:
    """Lists of definitions with whether each is paused, no key twice."""
    pairs = st.tuples(definitions(), st.booleans())
    return st.lists(pairs, max_size=4, unique_by=lambda pair: (pair[0].namespace, pair[0].name))
