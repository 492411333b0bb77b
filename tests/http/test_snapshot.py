"""The snapshot as HTTP gives and takes it."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from peercron.core.apply import apply
from peercron.core.commands import AdoptSnapshot, BeginRestore, Command, EndRuns, Once, PutJob, PutKey, StageSnapshot
from peercron.core.job import CommandTask, Definition, EveryTrigger
from peercron.core.state import ClusterState
from peercron.core.verdict import Done
from peercron.core.views import digest
from peercron.errors import NoLeader, OutcomeUnknown, PeercronError, Refused
from peercron.http import restoring, snapshot
from peercron.wire.archive import ArchiveReader, ArchiveWriter, Header, inflate
from peercron.wire.snapshot import thaw
from tests.http.conftest import NOW_MS, Site
from tests.wire.test_archive import file_of, sealed
from tests.wire.test_snapshot import some_state

HEADER = Header("other", 9, 1, 2, 3, "0.1.0", 4, 5, 6, 7, 8)


def old_state() -> ClusterState:
    """What another cluster was: jobs, runs, a ledger, and values enough for some parts."""
    dice, state = random.Random(5), some_state(11, 300)
    for n in range(3):
        apply(state, PutKey("large", f"k{n}", dice.randbytes(100_000)), state.now_ms)
    return state


OLD = old_state()
FILE = file_of(OLD, HEADER)


async def test_a_snapshot_is_the_state_as_it_is(site: Site) -> None:
    await site.put_job()
    await site.run_job()
    await site.ask("PUT", "/v1/state/default/k", b"v")
    barriers = site.node.barriers
    answer = await site.get("/v1/snapshot")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    assert site.node.barriers == barriers + 1
    reader = ArchiveReader()
    state = thaw([inflate(chunk) for chunk in reader.feed(answer.body)])
    header = reader.finish()
    assert repr(state) == repr(site.node.state)
    assert (header.cluster, header.index, header.generation, header.term) == ("peercron", state.index, 1, 7)
    assert (header.created_ms, header.jobs, header.runs, header.keys, header.members) == (NOW_MS, 1, 1, 1, 1)
    assert answer.headers["Peercron-Index"] == str(state.index)
    assert f"peercron-{state.index}.snapshot" in answer.headers["Content-Disposition"]


async def test_without_a_leader_only_a_stale_snapshot_is_given(site: Site) -> None:
    site.node.has_leader = False
    assert (await site.get("/v1/snapshot")).status == 503
    assert (await site.get("/v1/snapshot?consistency=stale")).status == 200
    assert (await site.get("/v1/snapshot?consistency=maybe")).status == 400


async def test_what_is_written_meanwhile_is_not_in_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One index: also rows of blocks that are made after the state went on."""
    await site.put_job()
    before = copy.deepcopy(site.node.state)
    frozen = site.node.frozen

    def disturbed() -> Iterator[bytes]:
        blocks = frozen()  # now, as `save` expects it
        return (block for block in blocks if apply(site.node.state, PutKey("n", f"{len(block)}", b"v"), NOW_MS))

    monkeypatch.setattr(site.node, "frozen", disturbed)
    answer = await site.get("/v1/snapshot")
    assert site.node.state.keys
    assert thaw([inflate(chunk) for chunk in ArchiveReader().feed(answer.body)]) == before


async def test_a_snapshot_that_breaks_off_is_seen_to_do_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[bytes]:
        yield b"x" * 10
        raise OSError

    monkeypatch.setattr(snapshot, "_file", broken)
    with pytest.raises(aiohttp.ClientError):
        await site.get("/v1/snapshot")
    assert not site.node.state.jobs


async def test_head_reads_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_file", None)
    answer = await site.ask("HEAD", "/v1/snapshot")
    assert (answer.status, answer.body) == (200, b"")


async def test_a_node_writes_a_few_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(snapshot.AT_ONCE, "save", 0)
    answer = await site.get("/v1/snapshot")
    assert (answer.status, answer.json["code"]) == (429, "busy")


def restored(state: ClusterState) -> bool:
    return repr(state.jobs) == repr(OLD.jobs) and repr(state.cursors) == repr(OLD.cursors)


async def test_a_snapshot_is_put_in_the_place_of_nothing(site: Site) -> None:
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert answer.status == 200, answer.text
    assert answer.json == {
        "restored": {"cluster": "other", "index": 9, "generation": 1},
        "index": site.node.state.index,
        "generation": 2,
        "jobs": 4,
        "runs": 5,
        "ledger": 6,
        "keys": 7,
    }
    state = site.node.state
    assert restored(state)
    assert repr(state.keys) == repr(OLD.keys)
    assert [member.info.name for member in state.members.values()] == ["n1"]
    assert (await site.get("/v1/jobs")).json["total"] == len(OLD.jobs)


async def test_what_was_saved_can_be_restored(site: Site) -> None:
    await site.put_job()
    await site.ask("PUT", "/v1/state/default/k", b"v")
    file = (await site.get("/v1/snapshot")).body
    await site.ask("DELETE", "/v1/state/default/k")
    assert (await site.ask("PUT", "/v1/snapshot?force=1", file)).status == 200
    assert (await site.get("/v1/state/default/k")).body == b"v"


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"hello",
        FILE[:-1],
        FILE[: len(FILE) // 2],
        FILE[:40],
        FILE + b"x",
        FILE[:5000] + bytes([FILE[5000] ^ 1]) + FILE[5001:],
        FILE[:-1] + bytes([FILE[-1] ^ 1]),
    ],
    ids=["nothing", "other", "a byte short", "half", "the head", "a byte more", "a changed byte", "its digest"],
)
async def test_a_damaged_file_changes_nothing(site: Site, spoiled: bytes) -> None:
    before, index = digest(site.node.state), site.node.state.index
    answer = await site.ask("PUT", "/v1/snapshot", spoiled)
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (422, "snapshot_damaged", False)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (digest(site.node.state), site.node.state.index) == (before, index)


def sound_file(*contents: bytes) -> bytes:
    writer = ArchiveWriter()
    return b"".join([writer.begin(HEADER), *(chunk for c in contents for chunk in writer.write(c)), writer.end()])


async def test_a_sound_file_of_something_else_changes_nothing(site: Site) -> None:
    for content in (b"", b"\x00\x00\x00\x05hello", b"\x00\x00\x01\x00x"):
        answer = await site.ask("PUT", "/v1/snapshot", sound_file(content))
        assert (answer.status, answer.json["code"]) == (422, "snapshot_damaged"), content
    assert site.node.state.stage is None


async def test_a_newer_file_is_named_as_such(site: Site) -> None:
    newer = sound_file(b"\x00\x00\x00\x0b\x92\xa8peercron\x09")
    for file in (newer, sealed(FILE[:8] + b"\0\0\0\2")):
        answer = await site.ask("PUT", "/v1/snapshot", file)
        assert (answer.status, answer.json["code"]) == (422, "snapshot_too_new")
    assert site.node.state.stage is None


async def test_a_cluster_that_has_something_is_asked_for_force(site: Site) -> None:
    await site.put_job()
    before = digest(site.node.state)
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert "1 jobs" in answer.json["detail"]
    state = site.node.state
    state.index -= 1  # the refused command has its index, and changed nothing else
    assert digest(state) == before
    state.index += 1
    assert (await site.ask("PUT", "/v1/snapshot?force=true", FILE)).status == 200
    assert restored(state)
    again = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (again.status, "already" in again.json["detail"]) == (409, True)


async def test_what_runs_here_ends_before_it_is_replaced(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    asked = asyncio.create_task(site.ask("PUT", "/v1/snapshot?force=1", FILE))
    await site.node.waiting.wait()
    assert site.node.state.runs[run["id"]].cancel_requested
    assert not restored(site.node.state)
    await site.node.finish_attempt(run["id"])
    assert (await asked).status == 200
    assert restored(site.node.state)


async def test_what_does_not_end_is_not_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "END_S", 0.01)
    await site.put_job()
    await site.run_job()
    answer = await site.ask("PUT", "/v1/snapshot?force=1", FILE)
    assert (answer.status, answer.json["code"]) == (409, "not_ready")
    assert not restored(site.node.state)
    assert (site.node.state.stage, site.node.state.staged) == (None, {})


async def test_one_restore_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(snapshot.AT_ONCE, "restore", 0)
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (429, "busy")


async def test_too_much_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "RESTORE_BYTES_MAX", len(FILE) - 1)
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (413, "too_large")


async def test_a_sender_who_stops_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "READ_S", 0.01)
    gone = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield FILE[:1000]
        await gone.wait()

    answer = await site.ask("PUT", "/v1/snapshot", None, data=half())
    gone.set()
    assert answer.status == 408


class Stumbling:
    """Stands between HTTP and the node: each of some commands goes wrong the first time."""

    def __init__(self, site: Site, error: PeercronError, kinds: tuple[type, ...], *, applied: bool) -> None:
        self.left = dict.fromkeys(kinds, 1)
        self.error, self.applied = error, applied
        self.propose, site.node.propose = site.node.propose, self  # type: ignore[method-assign]

    async def __call__(self, command: Command, timeout_s: float, once: Once | None = None) -> Done:
        if self.left.get(type(command), 0):
            self.left[type(command)] -= 1
            if self.applied:
                await self.propose(command, timeout_s)
            raise self.error
        return await self.propose(command, timeout_s)


@pytest.mark.parametrize("applied", [True, False], ids=["done", "not done"])
async def test_what_is_not_answered_is_said_again(site: Site, applied: bool) -> None:
    kinds = (BeginRestore, StageSnapshot, EndRuns, AdoptSnapshot)
    stumbling = Stumbling(site, OutcomeUnknown(), kinds, applied=applied)
    answer = await site.ask("PUT", "/v1/snapshot?force=1", FILE)
    assert (answer.status, answer.json["generation"]) == (200, 2)
    assert restored(site.node.state)
    assert not any(stumbling.left.values())


async def test_with_nobody_to_ask_nothing_has_happened(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "PATIENCE_S", 0.05)
    monkeypatch.setattr(restoring, "PAUSE_S", 0.001)
    site.node.fails = NoLeader()
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (503, "no_leader")
    site.node.fails = None
    assert (await site.ask("PUT", "/v1/snapshot", FILE)).status == 200


async def test_an_adoption_that_is_not_answered_is_unknown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "PATIENCE_S", 0.05)
    stumbling = Stumbling(site, OutcomeUnknown(), (AdoptSnapshot,), applied=False)
    stumbling.left[AdoptSnapshot] = 10**6
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (504, "unknown_outcome")
    stumbling.left.clear()
    assert (await site.ask("PUT", "/v1/snapshot", FILE)).status == 200


async def test_another_restore_in_between_is_told(site: Site) -> None:
    class Other(Stumbling):
        async def __call__(self, command: Command, timeout_s: float, once: Once | None = None) -> Done:
            if isinstance(command, StageSnapshot) and command.part == 1:
                await self.propose(BeginRestore("other", 1, 1), timeout_s)
            return await self.propose(command, timeout_s)

    Other(site, Refused("x"), (), applied=False)
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert site.node.state.stage is not None
    assert site.node.state.stage.restore_id == "other", "it is not ours to give up"


async def test_jobs_that_came_in_between_are_kept(site: Site) -> None:
    class Meanwhile(Stumbling):
        async def __call__(self, command: Command, timeout_s: float, once: Once | None = None) -> Done:
            if isinstance(command, AdoptSnapshot):
                await self.propose(PutKey("default", "k", b"v"), timeout_s)
                await self.propose(PutJob(Definition("j", EveryTrigger(1000), CommandTask(("true",)))), timeout_s)
            return await self.propose(command, timeout_s)

    Meanwhile(site, Refused("x"), (), applied=False)
    answer = await site.ask("PUT", "/v1/snapshot", FILE)
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert [job.key for job in site.node.state.jobs.values()] == ["default/j"]
    assert site.node.state.stage is None
