"""Jobs, for programs: define them, run them, see what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from peercron.client.link import Link
from peercron.client.words import Duration, path, seconds
from peercron.errors import Refused

#: How long one read waits for a change of a run.
LOOK_S: Final = 20.0

Json = dict[str, Any]
Rows = list[Json]


class Jobs:
    """Jobs in the words of jobs.toml, runs as `GET /v1/runs` gives them. A name is in the namespace "default", or
    written namespace/name.

    >>> await client.jobs.put("hello", every="30s", shell="echo hello")     # doctest: +SKIP
    >>> run = await client.jobs.run("hello", wait="1m")                     # doctest: +SKIP
    >>> run["state"]                                                        # doctest: +SKIP
    'succeeded'

    Every method raises Refused (not_found, conflict), ConfigError (with every problem of a definition), and NoLeader,
    Busy, Unreachable or OutcomeUnknown where the cluster could not be asked.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self, *, namespace: str | None = None, owner: str | None = None) -> Rows:
        """All jobs, in order of creation."""
        wanted = {"namespace": namespace, "owner": owner}
        params = {key: value for key, value in wanted.items() if value is not None}
        found: Rows = []
        while True:
            more = {"offset": str(len(found)), "limit": "1000"}
            page = (await self._link.ask("GET", "/v1/jobs", params=params | more)).json["jobs"]
            found += page
            if len(page) < 1_000:
                return found

    async def get(self, name: str) -> Json:
        """One job, with what the cluster knows of it beside its definition."""
        return await self._ask("GET", name)

    async def put(self, name: str, definition: Mapping[str, Any] | None = None, /, **more: Any) -> Json:
        """Create or replace the job. Keys of jobs.toml, as a mapping or as arguments; unchanged changes nothing."""
        return await self._ask("PUT", name, body={**(definition or {}), **more})

    async def delete(self, name: str) -> bool:
        """Whether there was one to delete. Its queued runs are cancelled, running ones are ended by their nodes."""
        return await _unless_gone(self._link.ask("DELETE", _path(name)))

    async def pause(self, name: str) -> Json:
        """No slot fires until it is resumed; what runs goes on."""
        return await self._ask("POST", name, ":pause")

    async def resume(self, name: str) -> Json:
        return await self._ask("POST", name, ":resume")

    async def run(self, name: str, params: Mapping[str, str] | None = None, *, wait: Duration | None = None) -> Json:
        """Run it now, whatever its schedule; the run, with `wait` as it is when it has ended or the time is up."""
        run = await self._ask("POST", name, ":run", body={"params": dict(params)} if params else {})
        return run if wait is None else await self.wait(run["id"], wait)

    async def runs(self, name: str, *, limit: int = 100) -> Rows:
        """Runs that are alive or kept in full, the newest first."""
        answer = await self._link.ask("GET", f"{_path(name)}/runs", params={"limit": str(limit)})
        found: Rows = answer.json["runs"]
        return found

    async def find_run(self, run_id: str) -> Json:
        found: Json = (await self._link.ask("GET", _run_path(run_id))).json
        return found

    async def cancel(self, run_id: str) -> Json:
        """End the run: at once where it waits, by TERM and after its grace by KILL where it runs."""
        found: Json = (await self._link.ask("POST", _run_path(run_id) + ":cancel", {})).json
        return found

    async def retry(self, run_id: str) -> Json:
        """Do the work of a run that has ended once more, for the same slot; the new run."""
        found: Json = (await self._link.ask("POST", _run_path(run_id) + ":retry", {})).json
        return found

    async def wait(self, run_id: str, wait: Duration) -> Json:
        """The run when it has ended, or as it is when the time is up."""
        loop = asyncio.get_running_loop()
        until_s, index = loop.time() + seconds(wait), -1
        while True:
            left_s = max(0.0, min(LOOK_S, until_s - loop.time()))
            params = {"wait": f"{round(left_s * 1_000)}ms"} | ({"index": str(index)} if index >= 0 else {})
            answer = await self._link.ask("GET", _run_path(run_id), params=params, answer_s=left_s)
            run: Json = answer.json
            if run["finished_at"] is not None or loop.time() >= until_s:
                return run
            index = int(answer.headers["peercron-index"])

    async def _ask(self, method: str, name: str, deed: str = "", body: object = None) -> Json:
        body = {} if body is None and method == "POST" else body
        found: Json = (await self._link.ask(method, _path(name, deed), body)).json
        return found


async def _unless_gone(asking: Any) -> bool:
    try:
        await asking
    except Refused as error:
        if error.code == "not_found":
            return False
        raise
    return True


def _path(name: str, deed: str = "") -> str:
    return path("jobs", name, deed)


def _run_path(run_id: str) -> str:
    return path("runs", run_id)
