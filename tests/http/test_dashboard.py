"""The dashboard: its page and files, what their headers forbid, and that its scripts ask for what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import peercron.http
from peercron.http.app import ROUTES
from peercron.http.openapi.document import template
from tests.http.conftest import Site

FOLDER = Path(peercron.http.__file__).parent / "ui"
NAMES = sorted(path.name for path in FOLDER.iterdir())
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js")}
ALL = "\n".join(SCRIPTS.values())
BYTES_MAX = 66_000


@pytest.mark.parametrize("name", NAMES)
async def test_every_file_is_served_without_a_leader_and_known_again(site: Site, name: str) -> None:
    site.node.has_leader = False
    path = "/" if name == "index.html" else f"/ui/{name}"
    answer = await site.get(path)
    assert (answer.status, answer.body) == (200, (FOLDER / name).read_bytes())
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == ("no-cache", "Accept-Encoding")
    again = await site.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])


async def test_what_is_no_file_of_it_is_not_there(site: Site) -> None:
    for path in ("/ui/other.js", "/ui/dashboard.py", "/ui/..%2Fapp.py", "/ui/", "/ui/%2e%2e/dashboard.py"):
        assert (await site.get(path)).status == 404, path


def test_the_page_needs_nothing_from_elsewhere_and_has_no_script_or_style_within() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert [name for name in named if name.removeprefix("/ui/") not in NAMES and name != "/v1/status"] == []
    assert not re.search(r"<style|<script(?![^>]*src=)|\sstyle=|\son\w+=", page)
    assert "url(" not in (FOLDER / "style.css").read_text(encoding="utf-8")
    assert set(re.findall(r'^import .* from "\./(\w+\.js)";$', ALL, re.MULTILINE)) <= set(NAMES)


def test_no_text_becomes_html_or_a_program() -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\b|\bFunction\(|javascript:|DOMParser"
    assert re.findall(ways, ALL) == []


def test_its_scripts_ask_for_routes_that_there_are() -> None:
    """`path` is what they call the address of what they show; an action stands behind it."""
    known = {re.sub(r"\{\w+\}", "{}", template(route.path)[0]): route for route in ROUTES}
    bases = re.findall(r"[`\"](/v1/[^`\"?]*)", ALL)
    asked = {path for base in bases for path in _spelled(base)}
    for name, script in SCRIPTS.items():
        for base in re.findall(r"const path = `(/v1/[^`]*)`", script):
            asked |= {
                path
                for tail in re.findall(r"\$\{(?:this\.)?path\}([/:][\w:/]+)", script)
                for path in _spelled(base + tail)
            }
        assert "/v1" not in re.sub(r"[`\"]/v1/", "", script), f"{name} makes a path that this test does not see"
    assert len(asked) > 12
    assert sorted(path for path in asked if path not in known) == []
    for deed in re.findall(r'do_\("(\w+)"', ALL):
        assert known[f"/v1/jobs/{{}}:{deed}"].method == "POST"


def _spelled(path: str) -> set[str]:
    return {re.sub(r"\$\{[^}]*\}+", "{}", re.sub(r"\$\{part\(`[^`]*`\)\}", "{}", path))}


async def test_it_is_small(site: Site) -> None:
    sent = [await site.get(f"/ui/{name}", auto_decompress=False) for name in NAMES]
    assert sum(len(answer.body) for answer in sent) < BYTES_MAX / 2
    assert sum((FOLDER / name).stat().st_size for name in NAMES) < BYTES_MAX


async def test_a_node_says_who_it_is_and_which_namespaces_there_are(site: Site) -> None:
    assert (await site.get("/v1/status")).json["node"] == "n1"
    for key in ("b/one", "a/one", "a/two"):
        assert (await site.ask("PUT", f"/v1/state/{key}", 1)).status == 200
    await site.ask("DELETE", "/v1/state/b/one")
    assert (await site.get("/v1/state")).json == {"namespaces": [{"namespace": "a", "keys": 2}]}


async def test_the_newest_of_a_ledger(site: Site) -> None:
    await site.put_job()
    ids = []
    for _ in range(3):
        ids.append((await site.run_job())["id"])
        await site.node.start_attempt(ids[-1])
        await site.node.finish_attempt(ids[-1])
    newest = (await site.get("/v1/jobs/hello/ledger?last=2")).json["ledger"]
    assert [entry["run"] for entry in newest] == ids[1:]
    assert (await site.get("/v1/jobs/hello/ledger?last=0")).status == 400


async def test_since_when_a_queue_has_its_oldest_item(site: Site) -> None:
    await site.ask("POST", "/v1/queues/default/mail/items", {"payload": 1, "delay": "5s"})
    assert (await site.get("/v1/queues/default/mail")).json["oldest_at"] is None
    await site.ask("POST", "/v1/queues/default/mail/items", {"payload": 2})
    assert (await site.get("/v1/queues/default/mail")).json["oldest_at"] == "2027-01-15T08:00:00.000Z"
