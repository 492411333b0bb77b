"""What users inherit from, and how classes become jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import types
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import peercron
from peercron import Job, PlainRunContext, RunContext, cron, every, once, registry
from peercron.core.limits import CHECKPOINT_BYTES_MAX
from peercron.errors import ConfigError
from peercron.jobs import Facts
from peercron.jobs.job import name_of, perform
from peercron.jobspec import read_document, read_job


class Reindex(Job):
    name = "reindex"
    schedule = "*/10 * * * *"
    timeout = timedelta(minutes=15)
    nodes = ("a", "b")
    env = {"DSN": {"file": "/run/secrets/dsn"}}  # noqa: RUF012 - as in jobs.toml

    async def run(self, ctx: RunContext) -> None: ...


class NightlyReport(Job):
    at = datetime(2026, 12, 1, 10, tzinfo=UTC)

    def run(self, ctx: PlainRunContext) -> None: ...


class Common(Job):
    abstract = True
    timeout = "5s"

    async def run(self, ctx: RunContext) -> None: ...


class Inherits(Common):
    every = "30s"


@every("30s", overlap="allow")
async def poll_prices(ctx: RunContext) -> None: ...


HERE = sys.modules[__name__]


def problems(kind: type[Job]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        registry.table(kind)
    return [str(problem) for problem in caught.value.problems]


def test_a_class_is_a_job_by_its_attributes() -> None:
    table = registry.table(Reindex)
    assert table == {
        "name": "reindex",
        "class": f"{__name__}:Reindex",
        "schedule": "*/10 * * * *",
        "timeout": "900000ms",
        "nodes": ["a", "b"],
        "env": {"DSN": {"file": "/run/secrets/dsn"}},
    }
    assert read_job(table).definition.timeout_ms == 900_000


def test_without_a_name_it_is_called_like_its_class() -> None:
    assert registry.table(NightlyReport)["name"] == "nightly-report"
    assert [name_of(kind) for kind in (Reindex, poll_prices)] == ["reindex", "poll-prices"]


def test_an_instant_may_be_a_datetime() -> None:
    assert read_job(registry.table(NightlyReport)).definition.trigger.at_ms == 1_796_119_200_000  # type: ignore[union-attr]


def test_functions_become_jobs() -> None:
    assert registry.table(poll_prices) == {
        "name": "poll-prices",
        "class": f"{__name__}:poll_prices",
        "every": "30s",
        "overlap": "allow",
    }
    assert registry.keys_of(cron("0 2 * * *", name="x")(lambda ctx: None))["schedule"] == "0 2 * * *"
    assert registry.keys_of(once("2026-12-01T10:00:00Z", name="x")(lambda ctx: None))["at"] == "2026-12-01T10:00:00Z"


def test_a_module_tells_its_own_classes_and_no_others() -> None:
    assert registry.classes(HERE) == [Reindex, NightlyReport, Inherits, poll_prices]
    (document,) = registry.documents([__name__])
    assert document["owner"] == f"import:{__name__}"
    assert len(read_document(document).definitions) == 4


def test_what_is_inherited_counts_but_for_being_abstract() -> None:
    assert registry.table(Inherits)["timeout"] == "5s"


def test_a_package_may_show_what_its_parts_define() -> None:
    package = types.ModuleType(__name__.rpartition(".")[0])
    package.Reindex = Reindex  # type: ignore[attr-defined]
    package.Job = Job  # type: ignore[attr-defined]
    assert registry.classes(package) == [Reindex]


def test_a_key_that_is_nearly_one_is_an_error() -> None:
    class Odd(Job):
        shedule = "* * * * *"
        page_size = 7  # a job's own

        async def run(self, ctx: Any) -> None: ...

    assert any("shedule is no key of a job; did you mean schedule?" in problem for problem in problems(Odd))
    assert not any("page_size" in problem for problem in problems(Odd))


def test_a_class_that_cannot_be_found_again_or_does_nothing_is_an_error() -> None:
    class Local(Job):
        """Hidden in a function."""

    told = problems(Local)
    assert any("define it at the top of its module" in problem for problem in told)
    assert any("has no run(self, ctx)" in problem for problem in told)


def test_a_class_is_found_by_its_target() -> None:
    assert registry.load(f"{__name__}:Reindex") is Reindex
    for target in (f"{__name__}:Nobody", "no_such_module:X", "peercron.no_such_part:X"):
        with pytest.raises(registry.Absent, match="this node"):
            registry.load(target)
    with pytest.raises(TypeError, match="does not inherit"):
        registry.load(f"{__name__}:HERE")


def test_a_module_that_misses_another_is_not_absent_itself(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        registry.load("needs_more:X")


class Spy:
    """A cluster that takes note."""

    def __init__(self) -> None:
        self.checkpoints: list[str] = []
        self.heard = asyncio.Event()

    async def checkpoint(self, data: str) -> None:
        self.checkpoints.append(data)
        self.heard.set()

    client: Any = None
    plain_client: Any = None


def context(reach: Spy) -> RunContext:
    facts = Facts(job="default/x", run_id="u/1", slot=datetime(2026, 1, 1, tzinfo=UTC), attempt=1, token=7, node="a")
    return RunContext(facts, reach)


async def test_the_facts_are_attributes() -> None:
    ctx = context(Spy())
    assert (ctx.job, ctx.token, ctx.last_checkpoint, ctx.shard_count) == ("default/x", 7, None, 1)
    with pytest.raises(AttributeError, match="no 'tokn'"):
        _ = ctx.tokn  # type: ignore[attr-defined]


async def test_a_checkpoint_is_json_of_bounded_size() -> None:
    reach = Spy()
    await context(reach).checkpoint({"done": [1, None, "ü"]})
    assert reach.checkpoints == ['{"done":[1,null,"\\u00fc"]}']
    for value in ("x" * CHECKPOINT_BYTES_MAX, float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            await context(reach).checkpoint(value)
    assert len(reach.checkpoints) == 1


async def test_a_thread_that_is_cancelled_is_told_and_waited_for() -> None:
    said = []

    class Waits(Job):
        def run(self, ctx: PlainRunContext) -> None:
            ctx.checkpoint("begun")
            said.append(ctx.cancelled.wait(10))

    reach = Spy()
    work = asyncio.ensure_future(perform(Waits, context(reach)))
    await reach.heard.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert said == [True]


def test_importing_peercron_costs_nothing() -> None:
    program = "import peercron, sys; print(sorted({m.partition('.')[0] for m in sys.modules} & {'asyncio', 'aiohttp'}))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_everything_that_is_promised_can_be_had() -> None:
    assert all(hasattr(peercron, name) for name in peercron.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Jobb'"):
        _ = peercron.Jobb
