"""Job classes run in processes that are like any attempt's: with its time, its output and its end."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from peercron.clock import SystemClock
from peercron.core.job import ClassTask, EnvEntry, SecretSource
from peercron.core.run import AttemptState
from peercron.execution.limits import WORKERS_WAITING
from peercron.execution.port import AttemptResult, ImportFailed
from peercron.execution.processes import Process, below, look, table
from peercron.execution.supervisor import Supervisor
from peercron.execution.worker import NICE, OOM_SCORE
from tests.execution.conftest import Witness, is_dead, until

MODULE = "tests.execution.some_jobs"


class Classes(Witness):
    """A witness whose supervisor knows the module of the jobs."""

    modules: tuple[str, ...] = (MODULE,)

    def new_supervisor(self) -> Supervisor:
        return Supervisor(self.data_dir, "a", SystemClock(), self.on_started, self.on_finished, modules=self.modules)

    def begin(self, name: str, *, env: dict[str, str] | None = None, **given: Any) -> tuple[str, int]:
        """An attempt at a class of the module; `cwd` and `memory_max_bytes` are the task's."""
        target = name if ":" in name else f"{MODULE}:{name}"
        entries = tuple(EnvEntry(key, SecretSource.LITERAL, value) for key, value in (env or {"MORE": "more"}).items())
        task = ClassTask(target, entries, given.pop("cwd", ""), given.pop("memory_max_bytes", 0))
        spec = self.spec(task, **{"params": (("folder", str(self.folder)),)} | given)
        variables = {
            "PEERCRON_JOB": spec.job_key,
            "PEERCRON_RUN_ID": spec.run_id,
            "PEERCRON_ATTEMPT": str(spec.attempt),
            "PEERCRON_SLOT": "2026-12-01T10:00:00.000Z",
            "PEERCRON_NODE": "a",
            "PEERCRON_FENCING_TOKEN": str(spec.token),
            "PEERCRON_URL": "http://127.0.0.1:1",
            "PEERCRON_TOKEN": "secret",
        }
        return self.launch(task, token=spec.token, run_id=spec.run_id, params=spec.params, **given | {"env": variables})

    def launch(self, task: Any, **given: Any) -> tuple[str, int]:
        spec = self.spec(task, **given)
        self.supervisor.launch(spec)
        return spec.run_id, spec.token

    async def done(self, name: str, **given: Any) -> AttemptResult:
        return await self.result(self.begin(name, **given))

    def output(self, key: tuple[str, int]) -> str:
        path = self.supervisor.log_path(*key)
        return path.read_text() if path else ""

    async def wrote(self, key: tuple[str, int], text: str) -> None:
        await until(lambda: text in self.output(key))

    def workers(self) -> list[Process]:
        """Processes that run Python below the guardian and are no shepherds."""
        guardian = self.supervisor.guardian_pid
        assert guardian is not None
        shepherds = {p.pid for p in table().values() if p.parent == guardian}
        return [p for p in below(guardian, table()) if p.parent in shepherds]

    async def warm(self) -> list[Process]:
        """The workers that wait, once they do nothing any more but wait."""
        await self.supervisor.scan()
        found: list[Process] = await until(lambda: len(w := self.workers()) == WORKERS_WAITING and w)
        await until(lambda: all(map(_waits, found)))
        return found


def _waits(process: Process) -> bool:
    """It has become a worker and sleeps."""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.startswith(f"{process.pid} (peercron-work) S")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Classes]:
    witness = Classes(tmp_path)
    await witness.supervisor.start()
    witness.supervisor.set_lease(math.inf, math.inf)
    yield witness
    await witness.supervisor.close(grace_s=0)
    assert not witness.supervisor.running


async def test_a_class_runs_and_knows_what_it_is(node: Classes) -> None:
    key = node.begin("Hello", checkpoint=b'{"done":7}', attempt=2, cwd="/usr")
    result = await node.result(key)
    assert (result.outcome, result.exit_code, result.reason) == (AttemptState.SUCCEEDED, 0, "")
    told = node.output(key)
    assert f"default/job 2 {key[1]} {{'folder': '{node.folder}'}} {{'done': 7}} more\n" in told
    assert told.endswith(f"/usr {os.environ['HOME']} True\n")
    assert "INFO peercron.job.default/job: logged" in told
    assert node.started[key] >= 0


async def test_a_plain_function_has_a_thread(node: Classes) -> None:
    key = node.begin("Plain")
    assert (await node.result(key)).outcome is AttemptState.SUCCEEDED
    assert node.output(key) == "in a thread: True\n"


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("Raises", 1, "ValueError: no such page"),
        ("Exits", 3, "exit code 3"),
        ("Vanishes", 7, "exit code 7"),
        ("Crashes", None, "killed by signal SIGSEGV"),
        ("NoJob", 1, "TypeError: tests.execution.some_jobs:NoJob does not inherit from peercron.Job"),
    ],
)
async def test_how_a_class_fails(node: Classes, name: str, code: int | None, reason: str) -> None:
    result = await node.done(name)
    assert (result.outcome, result.exit_code, result.reason) == (AttemptState.FAILED, code, reason)


async def test_a_traceback_shows_the_job_and_not_peercron(node: Classes) -> None:
    key = node.begin("Raises")
    await node.result(key)
    assert 'in run\n    raise ValueError("no such page' in node.output(key)
    assert "execution/worker.py" not in node.output(key)


@pytest.mark.parametrize("target", ["Nobody", "nowhere.jobs:Report"])
async def test_what_is_not_here_is_refused_so_that_another_node_gets_it(node: Classes, target: str) -> None:
    result = await node.done(target)
    assert (result.outcome, result.started_ms) == (AttemptState.REFUSED, None)
    assert "this node" in result.reason


async def test_a_secret_that_cannot_be_read_fails_the_attempt(node: Classes) -> None:
    task = ClassTask(f"{MODULE}:Hello", (EnvEntry("DSN", SecretSource.FILE, "/nowhere/dsn"),))
    result = await node.result(node.launch(task))
    assert (result.outcome, result.exit_code) == (AttemptState.FAILED, 126)
    assert "DSN" in result.reason


async def test_cancelling_is_heard_by_a_coroutine(node: Classes) -> None:
    key = node.begin("Waits")
    await node.wrote(key, "waits")
    node.supervisor.stop(*key, "cancelled")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED
    assert node.output(key) == "waits\ncleans up: True\n"


async def test_cancelling_is_heard_in_a_thread(node: Classes) -> None:
    key = node.begin("WaitsPlainly")
    await node.wrote(key, "waits")
    node.supervisor.stop(*key, "cancelled")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED
    assert node.output(key) == "waits\nwas told\n"


async def test_who_is_deaf_is_killed_after_the_grace(node: Classes) -> None:
    key = node.begin("Blocks", kill_grace_ms=200)
    await node.wrote(key, "blocks")
    node.supervisor.stop(*key, "cancelled")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED


async def test_a_lost_lease_cancels_and_then_kills(node: Classes) -> None:
    heeding, deaf = node.begin("Waits"), node.begin("Blocks")
    await node.wrote(heeding, "waits")
    await node.wrote(deaf, "blocks")
    kill_at = node.lease(0.1, 0.4)
    results = [await node.result(key) for key in (heeding, deaf)]
    assert {result.outcome for result in results} == {AttemptState.LOST}
    assert SystemClock().monotonic() < kill_at + 2
    assert "cleans up: True" in node.output(heeding)


async def test_the_timeout_counts_from_the_assignment(node: Classes) -> None:
    await node.warm()
    key = node.begin("Deadline", timeout_ms=300)
    result = await node.result(key)
    assert (result.outcome, result.reason) == (AttemptState.TIMED_OUT, "timed out after 0.3 s")
    assert node.output(key) == "True\n"


async def test_memory_has_a_bound_where_one_is_asked_for(node: Classes) -> None:
    result = await node.done("Eats", memory_max_bytes=512 << 20)
    assert (result.outcome, result.reason) == (AttemptState.FAILED, "MemoryError")


async def test_the_node_comes_first_when_processors_or_memory_run_short(node: Classes) -> None:
    key = node.begin("Priority")
    await node.result(key)
    niceness, oom_score = map(int, node.output(key).split())
    assert niceness == min(19, os.nice(0) + NICE)
    assert oom_score == int(OOM_SCORE)


async def test_a_family_that_ran_away_is_gone_after_the_cancel(node: Classes) -> None:
    key = node.begin("Forks", kill_grace_ms=100)
    root = await node.process("forked")
    sleepers: list[Process] = await until(lambda: len(found := _runaways(node, root)) == 3 and found)
    node.supervisor.stop(*key, "cancelled")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED
    assert all(map(is_dead, (root, *sleepers)))


def _runaways(node: Classes, root: Process) -> list[Process]:
    """What the shepherd of the job has adopted."""
    shepherd = look(root.parent)
    assert shepherd is not None
    return [p for p in below(shepherd.pid, table()) if p.pid != root.pid and _command(p.pid).startswith(b"sleep")]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_what_a_run_leaves_running_ends_with_it(node: Classes) -> None:
    result = await node.done("LeavesThings", kill_grace_ms=100)
    assert result.outcome is AttemptState.SUCCEEDED
    pid = int((node.folder / "left").read_text())
    assert look(pid) is None or is_dead(look(pid))


async def test_workers_wait_with_their_imports_done_and_serve_one_attempt_each(node: Classes) -> None:
    waiting = {p.pid for p in await node.warm()}
    keys = [node.begin("Numbers") for _ in range(2)]
    for key in keys:
        await node.result(key)
    pids = [int(node.output(key)) for key in keys]
    assert set(pids) == waiting
    await until(lambda: len({p.pid for p in node.workers()} - waiting) == WORKERS_WAITING)


async def test_more_attempts_than_waiting_workers_begin_at_once(node: Classes) -> None:
    await node.warm()
    keys = [node.begin("WaitsPlainly") for _ in range(WORKERS_WAITING + 2)]
    for key in keys:
        await node.wrote(key, "waits")
        node.supervisor.stop(*key, "cancelled")
    for key in keys:
        assert (await node.result(key)).outcome is AttemptState.CANCELLED


async def test_an_attempt_whose_worker_has_just_died_gets_another(node: Classes) -> None:
    for process in await node.warm():
        os.kill(process.pid, signal.SIGKILL)  # its death and the assignment are on their way together
    assert (await node.done("Numbers")).outcome is AttemptState.SUCCEEDED


async def test_waiting_workers_need_no_lease_and_get_no_attempt_without_one(node: Classes) -> None:
    waiting = {p.pid for p in await node.warm()}
    node.lease(-1, -1)
    result = await node.done("Numbers")
    assert (result.outcome, result.started_ms) == (AttemptState.LOST, None)
    assert "no lease" in result.reason
    node.lease(60, 60)
    key = node.begin("Numbers")
    await node.result(key)
    assert int(node.output(key)) in waiting


async def test_no_worker_outlives_the_node(tmp_path: Path) -> None:
    node = Classes(tmp_path)
    await node.supervisor.start()
    node.supervisor.set_lease(math.inf, math.inf)
    waiting = await node.warm()
    await node.supervisor.close(grace_s=0)
    assert all(map(is_dead, waiting))


async def test_workers_of_a_guardian_that_died_are_replaced(node: Classes) -> None:
    waiting = await node.warm()
    assert node.supervisor.guardian_pid is not None
    os.kill(node.supervisor.guardian_pid, signal.SIGKILL)
    await until(lambda: all(map(is_dead, waiting)))
    await until(lambda: node.supervisor.guardian_pid and len(node.workers()) == WORKERS_WAITING)
    assert (await node.done("Numbers")).outcome is AttemptState.SUCCEEDED


async def test_a_module_that_kills_its_workers_is_not_tried_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    node = Classes(tmp_path)
    node.modules = ("deadly",)
    node.supervisor = node.new_supervisor()
    await node.supervisor.start()
    node.supervisor.set_lease(math.inf, math.inf)
    try:
        with pytest.raises(ImportFailed, match="exit code 9"):
            await node.supervisor.scan()
        result = await node.done(f"{MODULE}:Plain")
        assert result.outcome is AttemptState.SUCCEEDED
        await until(lambda: [r for r in caplog.records if r.message == "worker_died"])
        died = [r for r in caplog.records if r.message == "worker_died"]
        assert len(died) == 1
    finally:
        await node.supervisor.close(grace_s=0)


async def test_a_scan_tells_what_the_modules_define(node: Classes) -> None:
    (document,) = await node.supervisor.scan()
    assert document["owner"] == f"import:{MODULE}"
    names = [job["name"] for job in document["jobs"]]
    assert names[:2] == ["hello", "plain"]
    assert "no-job" not in names
    assert not list(node.data_dir.glob("import-*"))


async def test_a_scan_that_finds_nonsense_says_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.py").write_text("from peercron import Job\n\nclass Odd(Job):\n    shedule = '* * * * *'\n")
    monkeypatch.syspath_prepend(tmp_path)
    node = Classes(tmp_path)
    node.modules = ("odd",)
    node.supervisor = node.new_supervisor()
    await node.supervisor.start()
    node.supervisor.set_lease(math.inf, math.inf)
    try:
        with pytest.raises(ImportFailed) as caught:
            await node.supervisor.scan()
    finally:
        await node.supervisor.close(grace_s=0)
    assert "odd:Odd: shedule is no key of a job; did you mean schedule?" in str(caught.value)
    assert "odd:Odd: has no run(self, ctx)" in str(caught.value)
    assert "Traceback" not in str(caught.value)


async def test_a_scan_of_what_is_not_there_says_so_in_a_sentence(tmp_path: Path) -> None:
    node = Classes(tmp_path)
    node.modules = ("no.such.module",)
    node.supervisor = node.new_supervisor()
    await node.supervisor.start()
    node.supervisor.set_lease(math.inf, math.inf)
    try:
        with pytest.raises(ImportFailed) as caught:
            await node.supervisor.scan()
    finally:
        await node.supervisor.close(grace_s=0)
    assert str(caught.value) == "--import: this node has no Python module no.such.module: no is not there"


async def test_an_import_may_take_longer_than_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_jobs.py").write_text("import threading\nthreading.Event().wait(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    node = Classes(tmp_path)
    node.modules = ("slow_jobs",)
    node.supervisor = node.new_supervisor()
    await node.supervisor.start()
    node.lease(0.5, 0.7)
    try:
        assert await node.supervisor.scan() == [{"version": 1, "owner": "import:slow_jobs", "jobs": []}]
    finally:
        await node.supervisor.close(grace_s=0)


async def test_modules_are_found_where_the_node_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs_of_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    node = Classes(tmp_path)
    node.modules = ("jobs_of_here",)
    node.supervisor = node.new_supervisor()
    monkeypatch.chdir("/")
    await node.supervisor.start()
    node.lease(60, 60)
    try:
        assert (await node.supervisor.scan())[0]["owner"] == "import:jobs_of_here"
    finally:
        await node.supervisor.close(grace_s=0)


async def test_a_scan_waits_for_a_lease(tmp_path: Path) -> None:
    node = Classes(tmp_path)
    await node.supervisor.start()
    try:
        scan = asyncio.ensure_future(node.supervisor.scan())
        await asyncio.wait({scan}, timeout=0.1)
        assert not scan.done()
        node.supervisor.set_lease(math.inf, math.inf)
        assert await scan
    finally:
        await node.supervisor.close(grace_s=0)
