"""What a command writes is kept within bounds, and costs nobody else anything."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.limits import OUTPUT_TAIL_BYTES_MAX
from peercron.core.run import AttemptState
from peercron.execution import supervisor
from peercron.execution.limits import (
    OUTPUT_END_BYTES_MAX,
    OUTPUT_FILE_BYTES_MAX,
    OUTPUT_GAP_LINE_BYTES_MAX,
    OUTPUT_HEAD_BYTES_MAX,
)
from peercron.execution.output import Output, prune, text_tail
from tests.execution.conftest import Witness, is_dead, until


def written(path: Path, *chunks: bytes) -> Output:
    output = Output(str(path))
    for chunk in chunks:
        output.write(chunk)
    output.finish()
    return output


@pytest.mark.parametrize("size", [1, 5_000, OUTPUT_HEAD_BYTES_MAX, OUTPUT_HEAD_BYTES_MAX + OUTPUT_END_BYTES_MAX])
def test_what_fits_is_kept_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    output = written(tmp_path / "o", *(data[n : n + 60_000] for n in range(0, size, 60_000)))
    assert (tmp_path / "o").read_bytes() == data
    assert output.dropped == 0


@pytest.mark.parametrize("extra", [1, 100_000, 3_000_000])
def test_what_does_not_fit_is_dropped_from_the_middle_and_counted(tmp_path: Path, extra: int) -> None:
    data = os.urandom(OUTPUT_HEAD_BYTES_MAX + OUTPUT_END_BYTES_MAX + extra)
    output = written(tmp_path / "o", *(data[n : n + 50_001] for n in range(0, len(data), 50_001)))
    kept = (tmp_path / "o").read_bytes()
    line = f"\n... {extra} bytes dropped ...\n".encode()
    assert output.dropped == extra
    assert kept == data[:OUTPUT_HEAD_BYTES_MAX] + line + data[-OUTPUT_END_BYTES_MAX:]
    assert len(kept) <= OUTPUT_FILE_BYTES_MAX


def test_the_line_about_the_gap_has_room_for_any_gap() -> None:
    assert len(f"\n... {2**63} bytes dropped ...\n") <= OUTPUT_GAP_LINE_BYTES_MAX


def test_silence_makes_no_file(tmp_path: Path) -> None:
    written(tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_output_is_its_owner_s_alone(tmp_path: Path) -> None:
    written(tmp_path / "o", b"x")
    assert (tmp_path / "o").stat().st_mode & 0o777 == 0o600


def test_a_file_of_an_older_life_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "o").write_bytes(b"old and long")
    written(tmp_path / "o", b"new")
    assert (tmp_path / "o").read_bytes() == b"new"


def test_a_full_disk_loses_the_file_and_keeps_the_tail() -> None:
    output = written(Path("/dev/full"), b"a" * 70_000, b"the end")
    assert output.lost == "No space left on device"
    assert output.tail().endswith("the end")


def test_the_tail_spans_head_and_end(tmp_path: Path) -> None:
    output = written(tmp_path / "o", b"x" * (OUTPUT_HEAD_BYTES_MAX - 3), b"abcdef")
    assert output.tail() == "x" * (OUTPUT_TAIL_BYTES_MAX - 6) + "abcdef"


@given(st.binary(max_size=3 * OUTPUT_TAIL_BYTES_MAX) | st.text(max_size=2_000).map(str.encode))
def test_a_tail_is_text_within_its_bound(data: bytes) -> None:
    tail = text_tail(data)
    assert len(tail.encode()) <= OUTPUT_TAIL_BYTES_MAX
    clean = data.decode(errors="replace")
    assert clean.endswith(tail)
    assert len(tail) == len(clean) or len(tail.encode()) > OUTPUT_TAIL_BYTES_MAX - 4


def test_pruning_takes_the_oldest_and_leaves_what_is_alive(tmp_path: Path) -> None:
    for n in range(10):
        (tmp_path / str(n)).write_bytes(b"x" * 100)
        os.utime(tmp_path / str(n), (n, n))
    assert prune(tmp_path, keep={"0"}, files_max=5, bytes_max=10_000) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "5", "6", "7", "8", "9"]
    assert prune(tmp_path, keep={"0"}, files_max=5, bytes_max=250) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "8", "9"]


# With a real command.


async def test_the_output_file_holds_both_streams_in_order(node: Witness) -> None:
    key = node.launch("for n in 1 2 3; do echo out $n; echo err $n >&2; done; sleep 60")
    path = await until(lambda: node.supervisor.log_path(*key))
    await until(lambda: path.read_text().count("\n") == 6)  # while it runs
    assert path.read_text() == "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n"
    node.supervisor.stop(*key, "enough")
    await node.result(key)


async def test_who_says_nothing_has_no_file(node: Witness) -> None:
    result = await node.run("true")
    assert node.supervisor.log_path(result.run_id, result.token) is None


async def test_a_flood_fills_neither_disk_nor_memory_nor_holds_up_others(node: Witness) -> None:
    flood = node.launch("yes 'all work and no play'", timeout_ms=1_500)
    path = await until(lambda: node.supervisor.log_path(*flood))
    await until(lambda: path.stat().st_size >= OUTPUT_HEAD_BYTES_MAX)
    assert (await node.run("echo quick")).output_tail == "quick\n"
    assert flood in node.supervisor.running, "the others were held up until the flood had ended"
    result = await node.result(flood)
    assert result.outcome is AttemptState.TIMED_OUT
    assert path.stat().st_size <= OUTPUT_FILE_BYTES_MAX
    gap = re.search(r"\n\.\.\. (\d+) bytes dropped \.\.\.\n", path.read_text())
    assert gap
    assert int(gap[1]) > 10_000_000, "it was no flood"
    assert result.output_tail.endswith("all work and no play\n") or len(result.output_tail) == OUTPUT_TAIL_BYTES_MAX


async def test_the_last_words_before_the_end_are_not_lost(node: Witness) -> None:
    result = await node.run("head -c 50000 /dev/zero | tr '\\0' x; echo the end")
    assert result.output_tail.endswith("xthe end\n")
    path = node.supervisor.log_path(result.run_id, result.token)
    assert path is not None
    assert path.stat().st_size == 50_008


async def test_what_stands_in_the_pipe_at_the_end_is_read(node: Witness) -> None:
    """More of it than the shepherd takes at a time, and all of it written while the shepherd slept."""
    fill = (
        "import fcntl, os; fcntl.fcntl(1, 1031, 2**20); open('big', 'w'); os.getppid(); input(); print('x' * 700_000)"
    )
    key = node.launch(f'echo $$ > me; mkfifo go; exec {sys.executable} -I -S -c "{fill}" < go')
    me = await node.process("me")
    await until((node.folder / "go").exists)
    with open(node.folder / "go", "w") as go:  # noqa: ASYNC230 - the other end waits already, or will at once
        await until((node.folder / "big").exists)
        os.kill(me.parent, signal.SIGSTOP)
        go.write("\n")
    await until(lambda: is_dead(me))
    os.kill(me.parent, signal.SIGCONT)
    await node.result(key)
    path = node.supervisor.log_path(*key)
    assert path is not None
    assert path.stat().st_size == 700_001


async def test_a_disk_that_takes_no_output_lets_the_job_go_on(node: Witness) -> None:
    spec = node.spec("echo one; echo two; exit 3")
    (node.data_dir / "output" / f"{spec.token}-uid%2F{spec.token}.log").symlink_to("/dev/full")
    node.supervisor.launch(spec)
    result = await node.result((spec.run_id, spec.token))
    assert (result.outcome, result.exit_code) == (AttemptState.FAILED, 3)
    assert result.reason == "exit code 3; output lost: No space left on device"
    assert result.output_tail == "one\ntwo\n"


async def test_what_cannot_be_recorded_is_not_started(node: Witness) -> None:
    """A command that no boot after a disaster could find must not run here; lost, it gets its try elsewhere."""
    spec = node.spec("echo x > ran")
    (node.data_dir / "attempts" / f"{spec.token}-uid%2F{spec.token}.json").symlink_to("/dev/full")
    node.supervisor.launch(spec)
    result = await node.result((spec.run_id, spec.token))
    assert (result.outcome, result.started_ms) == (AttemptState.LOST, None)
    assert result.reason == "the command was not started: No space left on device"
    assert not (node.folder / "ran").exists()


async def test_old_output_goes_while_the_node_runs(node: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "OUTPUT_PRUNE_EVERY", 4)
    monkeypatch.setattr(supervisor, "OUTPUT_FILES_MAX", 2)
    results = [await node.run(f"echo {n}") for n in range(4)]
    await until(lambda: len(list((node.data_dir / "output").iterdir())) == 2)
    kept = [node.supervisor.log_path(result.run_id, result.token) is not None for result in results]
    assert kept == [False, False, True, True]


async def test_a_record_goes_with_its_attempt(node: Witness) -> None:
    key = node.launch("echo $$ > me; sleep 60")
    await node.process("me")
    assert [path.name for path in (node.data_dir / "attempts").iterdir()] == [f"{key[1]}-uid%2F{key[1]}.json"]
    node.supervisor.stop(*key, "enough")
    await node.result(key)
    await until(lambda: not list((node.data_dir / "attempts").iterdir()))
