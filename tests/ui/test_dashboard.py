"""The dashboard in a real browser, on three real nodes: what it shows, what its buttons do, what it says of losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peercron.access import digest_of, fresh_token
from tests.system.processes import Cluster, Node, cluster_in
from tests.ui.browser import CHROMIUM, Page, browser

pytestmark = [
    pytest.mark.xdist_group("nodes"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium: the dashboard is not tried in a browser (apt install chromium)"
    ),
]

#: Would show itself as a dialog, or as an exception.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
JOBS: list[dict[str, Any]] = [
    {"name": "greet", "shell": f"echo '{HOSTILE}'", "webhook": True},
    {"name": "beat", "every": "1s", "shell": "true"},
    {"name": "slow", "shell": "echo begun; sleep 60", "webhook": True},
]


def rows(of: str) -> str:
    return f"[...document.querySelectorAll('{of} tbody tr')].map((row) => row.innerText)"


async def test_it_is_true_and_harmless_while_nodes_are_lost(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        for job in JOBS:
            cluster.add_job(job)
        cluster.request("PUT", "/v1/state/default/%3Cimg%20src=x%20onerror=alert(3)%3E", HOSTILE.encode())
        lock = {"owner": HOSTILE, "ttl": "60s"}
        cluster.request("POST", "/v1/locks/default/reports:acquire", lock)
        cluster.request("POST", "/v1/queues/default/mail/items", {"payload": {"to": HOSTILE}})
        leader = cluster.leader()
        near = cluster.others(leader)[0]
        async with browser(tmp_path / "browser") as page:
            await page.open(f"http://{near.host}:{near.http_port}/")
            await shows_the_cluster(page, cluster, near.name)
            await runs_a_job(page)
            await cancels_a_run(page)
            await shows_hostile_texts_as_they_are(page)
            await asks_little_and_nothing_where_nobody_looks(page)
            await page.look("location.hash = '#/'")
            leader.kill()
            await page.says("#banner", f"{leader.name} is unreachable", 15)
            await page.says("#health", "degraded")
            next(node for node in cluster.others(near) if node.alive).kill()
            await page.says("#banner", "No leader", 15)
            near.kill()
            await page.says("#banner", "the node does not answer")
            cluster.start()
            await page.says("#health", "healthy", 20)
            await page.wait("document.querySelector('#banner').innerText === ''")
            await asks_for_a_token(page, near)
            assert page.wrong == []


async def shows_the_cluster(page: Page, cluster: Cluster, near: str) -> None:
    await page.says("#health", "healthy")
    assert f"this page is from {near}" in (await page.text("#head")).replace("\n", " ")
    await page.wait(f"{rows('section')}.some((row) => row.includes('beat') && row.includes('succeeded'))")
    shown = " ".join(await page.look(rows("section")))
    assert [node.name for node in cluster.nodes if node.name not in shown] == []
    assert [job["name"] for job in JOBS if job["name"] not in shown] == []
    await page.look("(filter.value = 'gree', filter.dispatchEvent(new Event('input')))")
    await page.wait(f"{rows('.jobs')}.length === 1")
    await page.look("(filter.value = '', filter.dispatchEvent(new Event('input')))")


async def runs_a_job(page: Page) -> None:
    await page.click('button[aria-label="Run now: greet"]')
    await page.says("#notices", "peercron job run greet")
    await page.click("#notices a")
    await page.says("#main .badge", "succeeded")
    assert HOSTILE in await page.wait("document.querySelector('#output')?.innerText")
    await page.look("location.hash = '#/job/default%2Fgreet'")
    await page.wait("document.querySelectorAll('.strip .slot.succeeded').length === 1")
    await page.click('button[aria-label="Pause: greet"]')
    await page.click('button[aria-label="Resume: greet"]')


async def cancels_a_run(page: Page) -> None:
    await page.look("location.hash = '#/job/default%2Fslow'")
    await page.click('button[aria-label="Run now: slow"]')
    await page.click("td a[href^='#/run/']")
    await page.says("#output", "begun")
    await page.click("button.danger")
    await page.click("dialog[open] button[value=yes]")
    await page.says("#main .badge", "cancelled")


async def shows_hostile_texts_as_they_are(page: Page) -> None:
    """Names of jobs are letters and digits; but who knows what a node answers."""
    for place, text in (
        ("locks", HOSTILE),
        ("queue/default%2Fmail", HOSTILE),
        ("state/default", "<img"),
        ("events", "greet"),
    ):
        await page.look(f"location.hash = '#/{place}'")
        await page.says("#main", text)
    job = {"name": HOSTILE, "namespace": HOSTILE, "key": f"{HOSTILE}/{HOSTILE}", "uid": HOSTILE, "mode": HOSTILE}
    job |= {"schedule": HOSTILE, "timezone": HOSTILE, "next": "2030-01-01T00:00:00.000Z", "paused": False, "running": 0}
    last = {"outcome": HOSTILE, "decided_at": HOSTILE, "reason": HOSTILE}
    await page.fake("/v1/jobs?", json.dumps({"jobs": [job | {"queued": 0, "last": last}], "total": 1}))
    await page.look("location.hash = '#/'")
    await page.says(".jobs", HOSTILE)
    assert await page.look("document.querySelectorAll('#main img, #main script').length") == 0
    page.faked.clear()
    await page.tell("Fetch.disable")


async def asks_little_and_nothing_where_nobody_looks(page: Page) -> None:
    await page.look("location.hash = '#/job/default%2Fbeat'")
    await page.wait("document.querySelectorAll('.strip .slot').length > 0")
    await page.look("(document.querySelector('.strip .slot:last-child').focus(), window.held = document.activeElement)")
    page.asked.clear()
    await page.look("new Promise((resolve) => setTimeout(resolve, 1600))")
    assert 4 <= len(page.asked) <= 9, page.asked
    assert await page.look("document.activeElement === window.held && window.held.matches('.strip .slot')")
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    turned = "document.dispatchEvent(new Event('visibilitychange'))"
    await page.look(f"({hide % 'true'}, {turned})")
    page.asked.clear()
    await page.look("new Promise((resolve) => setTimeout(resolve, 1600))")
    assert page.asked == []
    await page.look(f"({hide % 'false'}, {turned})")
    await page.wait("document.querySelector('.live').innerText.includes('live')")


async def asks_for_a_token(page: Page, near: Node) -> None:
    boss = fresh_token()
    headers = {"Authorization": f"Bearer {boss}"}
    first = {"name": "boss", "scopes": ["admin"], "digest": digest_of(boss).hex()}
    assert near.request("POST", "/v1/tokens", first, headers=headers)[0] == 201
    eye = near.request("POST", "/v1/tokens", {"name": "eye", "scopes": ["read"]}, headers=headers)[1]["token"]
    await page.says("dialog[open]", "wants an access token")
    await shows(page, "pcr_wrong")
    await page.says("dialog[open]", "no such token")
    await shows(page, eye)
    await page.says(".live", "live")
    await page.click('button[aria-label="Run now: greet"]')
    await page.says("#notices", "scope run")
    await page.click("#head button")
    await page.says("dialog[open]", "wants an access token")
    await shows(page, boss)
    await page.click('button[aria-label="Run now: greet"]')
    await page.says("#notices", "of greet: running")
    assert await page.look("[document.cookie, localStorage.length]") == ["", 0]


async def shows(page: Page, token: str) -> None:
    await page.look(f"document.querySelector('dialog[open] input').value = '{token}'")
    await page.click("dialog[open] button")
    await page.wait(f"sessionStorage.getItem('peercron-token') === '{token}'")
