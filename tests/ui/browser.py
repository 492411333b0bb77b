"""A browser without a window, driven over its DevTools protocol: one page, what it asks for, and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_S = 20.0
WAIT_S = 10.0
POLL_S = 0.05
#: Alone on this machine: it updates nothing, reports nothing, and asks nobody but the page's own node.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--no-proxy-server", "--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1"),
)


@dataclass
class Page:
    """One page. `wrong`: exceptions, violations of its policy and errors on its console, as they come."""

    socket: aiohttp.ClientWebSocketResponse
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _count: int = 0
    _answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    #: Answers of the page's own, in the place of the node's: what the address contains -> body.
    faked: dict[str, str] = field(default_factory=dict)
    _told: list[asyncio.Task[Any]] = field(default_factory=list)

    async def listen(self) -> None:
        """All that the browser says; what it says of itself is kept."""
        async for message in self.socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._hear(said["method"], said["params"])

    def _hear(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.wrong.append(str(details.get("exception", details).get("description", details)))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.wrong.append(str([each.get("value") for each in told["args"]]))
            # A node that is gone is a line on the console, which no page can help.
            case "Log.entryAdded" if told["entry"]["level"] == "error" and told["entry"]["source"] != "network":
                self.wrong.append(told["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Page.javascriptDialogOpening":
                self.wrong.append(f"a dialog: {told['message']}")
            case "Fetch.requestPaused":
                self._told.append(asyncio.ensure_future(self._fake(told)))

    async def _fake(self, told: dict[str, Any]) -> None:
        body = next((body for part, body in self.faked.items() if part in told["request"]["url"]), None)
        if body is None:
            await self.tell("Fetch.continueRequest", requestId=told["requestId"])
            return
        kind = [{"name": "Content-Type", "value": "application/json"}]
        coded = base64.b64encode(body.encode()).decode()
        await self.tell(
            "Fetch.fulfillRequest", requestId=told["requestId"], responseCode=200, responseHeaders=kind, body=coded
        )

    async def tell(self, method: str, **params: Any) -> Any:
        """One command, and its result."""
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": self._count, "method": method, "params": params})
        told = await asyncio.wait_for(answer, START_S)
        assert "error" not in told, f"{method}: {told}"
        return told["result"]

    async def fake(self, part: str, body: str) -> None:
        """From now on requests whose address contains `part` are answered so."""
        self.faked[part] = body
        await self.tell("Fetch.enable", patterns=[{"urlPattern": f"*{part}*"}])

    async def open(self, url: str) -> None:
        await self.tell("Page.navigate", url=url)

    async def look(self, script: str) -> Any:
        """The value of an expression in the page."""
        told = await self.tell("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        """What a reader sees of it; empty: it is not there."""
        return str(await self.look(f"document.querySelector({selector!r})?.innerText ?? ''"))

    async def wait(self, script: str, timeout_s: float = WAIT_S) -> Any:
        """The first true value of an expression."""
        until_s = asyncio.get_running_loop().time() + timeout_s
        while not (found := await self.look(script)):
            if asyncio.get_running_loop().time() > until_s:
                raise AssertionError(f"waited {timeout_s:g} s for {script}; the page says:\n{await self.text()}")
            await asyncio.sleep(POLL_S)
        return found

    async def says(self, selector: str, text: str, timeout_s: float = WAIT_S) -> None:
        """Wait until it has this text."""
        await self.wait(f"document.querySelector({selector!r})?.innerText.includes({json.dumps(text)})", timeout_s)

    async def click(self, selector: str) -> None:
        await self.wait(f"document.querySelector({selector!r}) !== null")
        await self.look(f"document.querySelector({selector!r}).click()")

    async def picture(self, width: int, height: int, *, dark: bool = False) -> bytes:
        """What it looks like, as a PNG."""
        await self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.tell("Emulation.setEmulatedMedia", features=[scheme])
        await asyncio.sleep(0.3)
        told = await self.tell("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A browser with an empty profile in the folder, and its first page; it is gone afterwards."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port = await _until(lambda: _port(folder))
        async with aiohttp.ClientSession() as session:
            url = await _page_at(session, port)
            async with session.ws_connect(url, max_msg_size=0) as socket:
                page = Page(socket)
                ears = asyncio.create_task(page.listen())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.tell(f"{domain}.enable")
                yield page
                ears.cancel()
    finally:
        _end(process)
        await process.wait()


def _end(process: asyncio.subprocess.Process) -> None:
    """It has many processes, all in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _port(folder: Path) -> int | None:
    path = folder / "DevToolsActivePort"
    return int(path.read_text().split()[0]) if path.exists() and path.read_text().strip() else None


async def _page_at(session: aiohttp.ClientSession, port: int) -> str:
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [each for each in await answer.json() if each["type"] == "page"]
        if pages:
            return str(pages[0]["webSocketDebuggerUrl"])
        await asyncio.sleep(POLL_S)


async def _until(found: Callable[[], Any]) -> Any:
    until_s = asyncio.get_running_loop().time() + START_S
    while not (answer := found()):
        if asyncio.get_running_loop().time() > until_s:
            raise AssertionError("the browser does not start")
        await asyncio.sleep(POLL_S)
    return answer
