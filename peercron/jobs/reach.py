"""reach: how a run speaks to its cluster over HTTP: through the node that it runs on, as the attempt that it is."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from peercron.clock import SystemClock
from peercron.errors import LeaseLost, NoLeader, Refused
from peercron.jobs.context import Facts, RunContext

if TYPE_CHECKING:
    from peercron.client import Client, SyncClient

#: An answer that does not come is asked for again after this …
ANSWER_S: Final = 6.0
#: … and a cluster that cannot take a checkpoint (it elects a leader) is asked again, for so long.
PATIENCE_S: Final = 30.0
PAUSE_S_MIN: Final = 0.05
PAUSE_S_MAX: Final = 1.0


class HttpReach:
    """The cluster as one attempt sees it. `environ`: its PEERCRON_* variables. `ca`: a file, or empty."""

    def __init__(self, environ: Mapping[str, str], ca: str) -> None:
        self._run = f"{environ['PEERCRON_URL']}/v1/runs/{quote(environ['PEERCRON_RUN_ID'], safe='')}"
        self._token = int(environ["PEERCRON_FENCING_TOKEN"])
        self._client: Client | None = None
        self._plain_client: SyncClient | None = None
        self._how: dict[str, Any] = {
            "addresses": environ["PEERCRON_URL"],
            "token": environ["PEERCRON_TOKEN"],
            "label": f"{environ['PEERCRON_NODE']}/{os.getpid()}",
            "ca_file": ca or None,
            "attempt": (environ["PEERCRON_RUN_ID"], self._token),
        }
        self._headers = {
            "Authorization": f"Bearer {environ['PEERCRON_TOKEN']}",
            "Content-Type": "application/json",
        }
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
        self._opener = urllib.request.build_opener(*handlers)

    async def checkpoint(self, data: str) -> None:
        """Saying the same again changes nothing, so that it is said until it is heard."""
        body = f'{{"token":{self._token},"data":{data}}}'.encode()
        clock, pause_s = SystemClock(), PAUSE_S_MIN
        until_s = clock.monotonic() + PATIENCE_S
        while True:
            try:
                await asyncio.to_thread(self._post, f"{self._run}:checkpoint", body)
            except NoLeader:
                if clock.monotonic() > until_s:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
            else:
                return

    # Imported late: aiohttp takes its time, and most runs need none of it.

    @property
    def client(self) -> Client:
        if self._client is None:
            from peercron.client import Client

            self._client = Client(**self._how)
        return self._client

    @property
    def plain_client(self) -> SyncClient:
        if self._plain_client is None:
            from peercron.client import SyncClient

            self._plain_client = SyncClient(**self._how)
        return self._plain_client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._plain_client is not None:
            await asyncio.to_thread(self._plain_client.close)

    def _post(self, url: str, body: bytes) -> None:
        request = urllib.request.Request(url, body, self._headers, method="POST")  # noqa: S310 - our node's own URL
        try:
            with self._opener.open(request, timeout=ANSWER_S) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            raise _problem(error) from None
        except OSError as error:
            raise NoLeader(f"the node does not answer: {error}") from None


def _problem(error: urllib.error.HTTPError) -> Exception:
    try:
        told = json.loads(error.read())
        code, detail = str(told["code"]), str(told["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        code, detail = "http", f"HTTP {error.code}"
    if code == "stale_token":
        return LeaseLost(f"the run belongs to another attempt by now: {detail}")
    return NoLeader(detail) if error.code >= 500 or error.code == 429 else Refused(code, detail)


def context_from(environ: Mapping[str, str], work: Mapping[str, Any], reach: HttpReach) -> RunContext:
    """The ctx of an attempt, from its variables and from what the node says beside them."""
    deadline_ms = work["deadline_ms"]
    facts = Facts(
        job=environ["PEERCRON_JOB"],
        run_id=environ["PEERCRON_RUN_ID"],
        slot=datetime.fromisoformat(environ["PEERCRON_SLOT"]),
        attempt=int(environ["PEERCRON_ATTEMPT"]),
        token=int(environ["PEERCRON_FENCING_TOKEN"]),
        node=environ["PEERCRON_NODE"],
        params=dict(work["params"]),
        shard_index=int(environ.get("PEERCRON_SHARD_INDEX", "0")),
        shard_count=int(environ.get("PEERCRON_SHARD_COUNT", "1")),
        deadline=datetime.fromtimestamp(deadline_ms / 1_000, UTC) if deadline_ms else None,
        last_checkpoint=json.loads(work["checkpoint"]) if work["checkpoint"] else None,
        item=_item(environ),
        item_id=int(environ.get("PEERCRON_ITEM_ID", "0")),
    )
    return RunContext(facts, reach)


def _item(environ: Mapping[str, str]) -> Any:
    """The payload that the attempt works on; None: none, or one that is too long for a variable."""
    if "PEERCRON_ITEM_BASE64" in environ:
        return base64.b64decode(environ["PEERCRON_ITEM_BASE64"])
    return json.loads(environ["PEERCRON_ITEM"]) if "PEERCRON_ITEM" in environ else None
