"""The test kit: a job is tested in three lines, by the rules of a real cluster, and no time passes."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from peercron import Job, every
from peercron.core.commands import RunJob
from peercron.errors import ConfigError, JobNotFound, Refused
from peercron.testing import LocalCluster, Stuck


class Report(Job):
    name = "nightly-report"
    schedule = "0 2 * * *"
    timeout = "15m"

    async def run(self, ctx: Any) -> None:
        await asyncio.sleep(600)


class Pages(Job):
    """Goes on where it was."""

    indexed: list[tuple[int, int]]

    async def run(self, ctx: Any) -> None:
        for page in range(ctx.last_checkpoint or 0, 5):
            self.indexed.append((ctx.attempt, page))
            await ctx.checkpoint(page + 1)


class Mails(Job):
    """Its slots are items of a queue, and each is pulled twice."""

    every = "10s"
    mode = "queue"
    queue = "mail"
    overlap = "allow"
    in_hand: list[tuple[int, Any]]

    async def run(self, ctx: Any) -> None:
        self.in_hand.append((ctx.attempt, ctx.item))
        if ctx.attempt == 1 and ctx.item["run"] == ctx.run_id:
            raise RuntimeError("pull it again")


class Slow(Job):
    every = "10s"
    overlap = "queue_one"
    timeout = "25s"

    async def run(self, ctx: Any) -> None:
        await ctx.cancelled.wait()


class Flaky(Job):
    retry = {"max": 2, "base": "30s", "jitter": False}  # noqa: RUF012 - as in jobs.toml

    def run(self, ctx: Any) -> None:
        if ctx.attempt < int(ctx.params.get("good_at", 3)):
            raise ConnectionError(f"attempt {ctx.attempt}")


class Plain(Job):
    def run(self, ctx: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        ctx.checkpoint({"page": (ctx.last_checkpoint or {"page": 0})["page"] + 1})


@every("1m")
async def poll(ctx: Any) -> None:
    ctx.log.info("polled at %s", ctx.slot)


def test_a_job_is_tested_in_three_lines() -> None:
    with LocalCluster(Report) as cluster:
        assert cluster.run("nightly-report").state == "succeeded"


def test_time_passes_only_when_it_is_told_to() -> None:
    with LocalCluster(Report, start=datetime(2026, 12, 1, tzinfo=UTC)) as cluster:
        assert cluster.runs("nightly-report") == []
        cluster.advance("2h")
        assert [run.state for run in cluster.runs("nightly-report")] == ["running"]
        cluster.advance("1d")
        assert [(run.slot.hour, run.state) for run in cluster.runs("nightly-report")] == [
            (2, "succeeded"),
            (2, "running"),
        ]
        assert cluster.now == datetime(2026, 12, 2, 2, tzinfo=UTC)


def test_a_function_is_a_job_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with LocalCluster(poll) as cluster:
        cluster.advance(180)
        assert [run.state for run in cluster.runs("poll")] == ["succeeded"] * 3
    assert "polled at 2026-01-01 00:01:00+00:00" in caplog.messages


def test_a_run_goes_on_from_its_checkpoint_after_a_crash() -> None:
    Pages.indexed = []
    with LocalCluster(Pages) as cluster:
        cluster.crash_after_checkpoints(3)
        run = cluster.run("pages")
    assert (run.state, run.attempts) == ("succeeded", 2)
    assert Pages.indexed == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4)]


def test_another_node_goes_on_where_there_is_one() -> None:
    Pages.indexed = []
    with LocalCluster(Pages, nodes=("a", "b", "c")) as cluster:
        cluster.crash_after_checkpoints(1)
        assert cluster.run("pages").attempts == 2


class Writer(Job):
    async def run(self, ctx: Any) -> None:
        for n in range(3):
            await ctx.queue("mail").put({"n": n})


class Mailer(Job):
    queue = "mail"
    mailed: list[Any]

    async def run(self, ctx: Any) -> None:
        self.mailed.append(ctx.item)
        if ctx.item == {"n": 1} and len(self.mailed) == 2:
            raise ConnectionError("no route")


def test_a_job_works_through_a_queue() -> None:
    Mailer.mailed = []
    with LocalCluster(Writer, Mailer) as cluster:
        cluster.run("writer")
        cluster.advance("1s")
        assert cluster.queued("mail") == []
        assert [run.state for run in cluster.runs("mailer")] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert Mailer.mailed == [{"n": 0}, {"n": 1}, {"n": 1}, {"n": 2}]


class Sums(Job):
    """Counts under a lock, in the shared state."""

    overlap = "allow"

    async def run(self, ctx: Any) -> None:
        async with ctx.lock("sums", wait="1m") as lock:
            total = await ctx.state.get("total", 0)
            await asyncio.sleep(10)
            await ctx.state.put("total", total + 1)
            assert lock.token > 0
            assert await ctx.state.incr("runs") >= 1
            await ctx.queue("mail").put({"total": total}, key=ctx.run_id)


class PlainSums(Job):
    every = "1s"
    overlap = "allow"

    def run(self, ctx: Any) -> None:
        with ctx.lock("sums"):
            ctx.state.put("total", (ctx.state.get("total") or 0) + 1)
        entry = ctx.state.entry("total")
        ctx.state.put("mine", 1, ttl="5s")
        assert entry.revision > 0
        assert not ctx.state.delete("nothing")
        ctx.queue("ops/mail").put(b"bytes")


def test_runs_share_state_and_exclude_each_other() -> None:
    with LocalCluster(Sums) as cluster:
        runs = [cluster.do(RunJob("default/sums")).value for _ in range(3)]
        cluster.advance("1m")
        assert [(run.state, run.reason) for run in cluster.runs("sums")] == [("succeeded", "")] * 3
        assert (cluster.value("total"), cluster.value("nothing")) == (3, None)
        assert cluster.queued("mail") == [{"total": n} for n in range(3)]
        assert not cluster.state.lock_grants
    assert len(runs) == 3


def test_slots_go_through_a_queue_and_are_pulled_again() -> None:
    Mails.in_hand = []
    with LocalCluster(Mails, nodes=("n1", "n2")) as cluster:
        cluster.advance("25s")
        first, second = cluster.runs("mails")
        assert cluster.queued("mail") == []
    assert (first.state, second.state, first.attempts) == ("succeeded", "succeeded", 2)
    assert [attempt for attempt, _ in Mails.in_hand] == [1, 2, 1, 2]
    assert all(item["job"] == "default/mails" for _, item in Mails.in_hand)


def test_who_waits_too_long_for_a_lock_is_refused() -> None:
    with LocalCluster(Sums) as cluster:
        for _ in range(9):
            cluster.do(RunJob("default/sums"))
        cluster.advance("5m")
        states = [run.state for run in cluster.runs("sums")]
    assert states.count("succeeded") == 6
    assert states.count("failed") == 3


def test_threads_share_state_too_and_a_time_to_live_is_kept() -> None:
    with LocalCluster(PlainSums) as cluster:
        cluster.advance("3s")
        assert {run.state for run in cluster.runs("plain-sums")} == {"succeeded"}
        assert cluster.value("mine") == 1
        assert set(cluster.queued("ops/mail")) == {b"bytes"}


def test_what_a_crashed_run_held_comes_free() -> None:
    class Holds(Job):
        async def run(self, ctx: Any) -> None:
            async with ctx.lock("one", wait="1s"):
                await ctx.checkpoint(1)

    with LocalCluster(Holds) as cluster:
        cluster.crash_after_checkpoints(1)
        assert cluster.run("holds").state == "succeeded"


def test_timeouts_and_overlap_are_those_of_a_cluster() -> None:
    with LocalCluster(Slow) as cluster:
        cluster.advance("70s")
        found = [run.state for run in cluster.runs("slow")]
    assert found.count("timed_out") == 2
    assert "skipped" in found


def test_a_failure_is_an_outcome_with_its_error() -> None:
    with LocalCluster(Flaky) as cluster:
        run = cluster.run("flaky", good_at="9")
    assert (run.state, run.attempts, run.reason) == ("failed", 3, "ConnectionError: attempt 3")
    assert isinstance(run.error, ConnectionError)


def test_retries_wait_without_waiting() -> None:
    with LocalCluster(Flaky) as cluster:
        before = cluster.now
        assert cluster.run("flaky").state == "succeeded"
        assert (cluster.now - before).total_seconds() >= 60


def test_a_plain_function_may_checkpoint() -> None:
    with LocalCluster(Plain) as cluster:
        cluster.crash_after_checkpoints(1)
        assert cluster.run("plain").state == "succeeded"


def test_a_run_can_be_cancelled() -> None:
    with LocalCluster(Report, start=datetime(2026, 12, 1, 1, 59, tzinfo=UTC)) as cluster:
        cluster.advance("90s")
        (run,) = cluster.runs("nightly-report")
        assert cluster.cancel(run.id).state == "cancelled"


def test_a_job_that_waits_for_nothing_is_told() -> None:
    class Forever(Job):
        async def run(self, ctx: Any) -> None:
            await asyncio.Event().wait()

    with LocalCluster(Forever) as cluster, pytest.raises(Stuck):
        cluster.run("forever")


def test_what_is_wrong_with_a_class_is_told_at_once() -> None:
    class Odd(Job):
        shedule = "* * * * *"

        async def run(self, ctx: Any) -> None: ...

    class Late(Job):
        timeout = "soon"

        async def run(self, ctx: Any) -> None: ...

    with pytest.raises(ConfigError, match="did you mean schedule"):
        LocalCluster(Odd)
    with pytest.raises(ConfigError, match="timeout: 'soon' is not a duration"):
        LocalCluster(Late)


def test_who_asks_for_a_job_that_is_not_there_is_told() -> None:
    with LocalCluster(Report) as cluster:
        with pytest.raises(Refused, match="there is no job default/report"):
            cluster.run("report")
        with pytest.raises(JobNotFound):
            cluster.runs("report")


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (lambda ctx: ctx.state.put("k", float("nan")), "value: nan is no number of JSON"),
        (lambda ctx: ctx.queue("mail").put([float("inf")]), "payload[0]: inf is no number of JSON"),
        (lambda ctx: ctx.state.get(""), "key: the name must not be empty"),
        (lambda ctx: ctx.queue("a/b/c").put(1), "with one slash"),
    ],
)
def test_what_a_cluster_refuses_by_name_is_refused_here_too(deed: Any, told: str) -> None:
    class Wrong(Job):
        async def run(self, ctx: Any) -> None:
            await deed(ctx)

    with LocalCluster(Wrong) as cluster:
        ended = cluster.run("wrong")
    assert (ended.state, told in ended.reason) == ("failed", True)
