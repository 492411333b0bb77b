"""Probes against real files, processes, commands and sockets of this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from aiohttp import web

from peercron.core.check import CommandProbe, EndpointProbe, Probe, ProcessProbe, UrlProbe
from peercron.health.probes import Prober, Result
from tests.http.conftest import free_port

ALIVE_S = 10.0


async def look(probe: Probe, host: str = "127.0.0.1", timeout_s: float = ALIVE_S) -> Result:
    prober = Prober()
    try:
        return await prober.look(probe, host, timeout_s)
    finally:
        await prober.close()


# Processes.


async def test_a_process_is_found_by_its_pid_file(tmp_path: Path) -> None:
    pid_file = tmp_path / "x.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    assert await look(ProcessProbe(str(pid_file))) == Result(True, f"process {os.getpid()} of {pid_file} is alive")


@pytest.mark.parametrize(
    ("content", "said"), [("", "holds no process id"), ("x", "holds no"), ("999999999", "not there")]
)
async def test_a_pid_file_of_nobody(tmp_path: Path, content: str, said: str) -> None:
    pid_file = tmp_path / "x.pid"
    pid_file.write_text(content)
    well, detail = await look(ProcessProbe(str(pid_file)))
    assert not well
    assert said in detail


async def test_a_pid_file_that_is_not_there(tmp_path: Path) -> None:
    well, detail = await look(ProcessProbe(str(tmp_path / "none")))
    assert not well
    assert "No such file" in detail


async def test_a_zombie_is_no_process(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it ends at once
    pid_file = tmp_path / "x.pid"
    pid_file.write_text(str(child))
    well, _ = await look(ProcessProbe(str(pid_file)))
    os.waitpid(child, 0)  # noqa: ASYNC222 - it has ended
    assert not well


async def test_a_process_is_found_by_its_name(tmp_path: Path) -> None:
    """Also by a name that is longer than what the kernel keeps of it."""
    name = f"pc{os.getpid()}-long-name"
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    assert not (await look(ProcessProbe(name=name))).well
    process = await asyncio.create_subprocess_exec(str(program), "60")
    try:
        well, detail = await look(ProcessProbe(name=name))
        assert well
        assert str(process.pid) in detail
    finally:
        process.kill()
        await process.wait()
    assert await look(ProcessProbe(name=name)) == Result(False, f"no process is named {name}")


# Commands.


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("true", Result(True, "exit code 0")),
        ("echo fine; echo really fine", Result(True, "exit code 0: really fine")),
        ("echo no >&2; exit 3", Result(False, "exit code 3: no")),
        ("kill -9 $$", Result(False, "exit code -9")),
    ],
)
async def test_a_command_is_judged_by_its_exit_code(script: str, result: Result) -> None:
    assert await look(CommandProbe(("/bin/sh", "-c", script))) == result


async def test_a_command_that_is_not_there_is_bad() -> None:
    assert not (await look(CommandProbe(("/no/such/program",)))).well


async def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "child"
    script = f"sleep 600 & echo $! > {pid_file}; wait"
    looking = asyncio.create_task(look(CommandProbe(("/bin/sh", "-c", script)), timeout_s=1.0))
    assert await looking == Result(False, "no answer within 1 s")
    assert not (await look(ProcessProbe(str(pid_file)))).well


async def test_a_command_that_leaves_a_child_with_its_output_is_not_waited_for(tmp_path: Path) -> None:
    pid_file = tmp_path / "child"
    result = await look(CommandProbe(("/bin/sh", "-c", f"sleep 600 & echo $! > {pid_file}; echo done")))
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert result == Result(True, "exit code 0: done")


async def test_a_command_sees_nothing_of_what_the_node_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERCRON_SECRET_FILE", "/etc/secret")
    assert await look(CommandProbe(("/bin/sh", "-c", "env | grep -c PEERCRON"))) == Result(False, "exit code 1: 0")


async def test_much_output_keeps_nobody_waiting() -> None:
    script = f'{sys.executable} -c \'print("x" * 10**6); print("last")\''
    assert await look(CommandProbe(("/bin/sh", "-c", script))) == Result(True, "exit code 0: last")


# HTTP and TCP.


async def serve(status: int, port: int) -> web.AppRunner:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/"} if status == 302 else {})

    app = web.Application()
    app.router.add_get("/health", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


@pytest.mark.parametrize(
    ("status", "expected", "result"),
    [
        (200, (), Result(True, "HTTP 200 OK")),
        (204, (), Result(True, "HTTP 204 No Content")),
        (302, (), Result(False, "HTTP 302 Found")),
        (500, (), Result(False, "HTTP 500 Internal Server Error")),
        (500, (500,), Result(True, "HTTP 500 Internal Server Error")),
        (200, (204,), Result(False, "HTTP 200 OK")),
    ],
)
async def test_an_answer_is_judged_by_its_status(status: int, expected: tuple[int, ...], result: Result) -> None:
    port = free_port()
    runner = await serve(status, port)
    assert await look(UrlProbe(f"http://127.0.0.1:{port}/health", expected)) == result
    await runner.cleanup()


async def test_nobody_answers() -> None:
    assert not (await look(UrlProbe(f"http://127.0.0.1:{free_port()}/"))).well
    assert not (await look(EndpointProbe("", free_port()))).well


async def test_an_endpoint_takes_connections_or_not() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await look(EndpointProbe("", port)) == Result(True, f"127.0.0.1 port {port} takes connections")
    assert (await look(EndpointProbe("127.0.0.1", port), host="nowhere.invalid")).well
    server.close()
    await server.wait_closed()


async def test_a_server_that_says_nothing_is_given_up() -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await look(UrlProbe(f"http://127.0.0.1:{port}/"), timeout_s=0.2) == Result(False, "no answer within 0.2 s")
    for writer in writers:
        writer.close()
    server.close()
