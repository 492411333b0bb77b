"""Three jobs that take locks in a circle, each in its own way: through ctx, through the command line, through HTTP.

Each holds its first lock, says so, waits until it is told to go on, and asks for the lock that the next one holds. What
became of that is noted as "milliseconds word", by the asker's own clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from peercron import Job, RunContext
from peercron.errors import Refused

ROOT = Path(__file__).parents[2]
#: Name of the job -> the lock that it holds, and the one that it asks for then.
CIRCLE = {"context": ("circle/a", "circle/b"), "shell": ("circle/b", "circle/c"), "script": ("circle/c", "circle/a")}
WAIT = "30s"
LOOK_S = 0.01


class Context(Job):
    """Through ctx; found with --import."""

    async def run(self, ctx: RunContext) -> None:
        folder, (first, second) = Path(ctx.params["folder"]), CIRCLE["context"]
        async with ctx.lock(first, wait=WAIT):
            (folder / "context-holds").touch()
            while not (folder / "context-go").exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(LOOK_S)
            begun_s, came = time.monotonic(), "has it"
            try:
                async with ctx.lock(second, wait=WAIT):
                    pass
            except Refused as error:
                came = error.code
            note(folder, "context", begun_s, came)


def shell() -> str:
    """A line for sh: under the first lock, the same command line again for the second."""
    first, second = CIRCLE["shell"]
    acquire = f"{shlex.quote(sys.executable)} -m peercron lock acquire --wait {WAIT}"
    within = f"""
        cd "$PEERCRON_PARAM_FOLDER"; touch shell-holds
        while [ ! -e shell-go ]; do sleep {LOOK_S}; done
        cd {shlex.quote(str(ROOT))}; begun=$(date +%s%N)
        said=$({acquire} {second} -- true 2>&1) && said="has it"
        took=$(( ($(date +%s%N) - begun) / 1000000 ))
        cd "$PEERCRON_PARAM_FOLDER"; echo "$took $said" > shell.new; mv shell.new shell
    """
    return f"cd {shlex.quote(str(ROOT))} && {acquire} {first} -- sh -c {shlex.quote(within)}"


def script() -> None:
    """Through HTTP, with the secret of the attempt; what it holds ends with it."""
    folder, (first, second) = Path(os.environ["PEERCRON_PARAM_FOLDER"]), CIRCLE["script"]
    acquire(first)
    (folder / "script-holds").touch()
    while not (folder / "script-go").exists():
        time.sleep(LOOK_S)
    begun_s, came = time.monotonic(), "has it"
    try:
        acquire(second)
    except urllib.error.HTTPError as error:
        came = json.load(error)["code"]
    note(folder, "script", begun_s, came)


def acquire(lock: str) -> None:
    run, token = os.environ["PEERCRON_RUN_ID"], int(os.environ["PEERCRON_FENCING_TOKEN"])
    body = {"owner": f"script/{os.getpid()}", "wait": WAIT, "run": run, "attempt": token}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['PEERCRON_TOKEN']}"}
    url = f"{os.environ['PEERCRON_URL']}/v1/locks/{lock}:acquire"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).close()


def note(folder: Path, name: str, begun_s: float, came: str) -> None:
    told = folder / f"{name}.new"
    told.write_text(f"{(time.monotonic() - begun_s) * 1_000:.0f} {came}\n", encoding="utf-8")
    told.rename(folder / name)


if __name__ == "__main__":
    script()
