"""Calendars over HTTP and on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Shell, shell
from tests.http.conftest import Site

__all__ = ["shell"]  # a fixture


async def test_a_calendar_is_made_read_and_deleted(site: Site) -> None:
    row = {"name": "holidays", "days": ["2027-01-16", "12-25"]}
    assert (await site.ask("PUT", "/v1/calendars/holidays", {"days": row["days"]})).json == row
    assert (await site.get("/v1/calendars")).json == {"calendars": [row]}
    await site.put_job(every=None, schedule="0 12 * * *", calendar={"exclude": ["holidays"]})
    assert (await site.get("/v1/jobs/hello")).json["calendar"] == {"exclude": ["holidays"]}
    coming = (await site.get("/v1/jobs/hello/next?n=2")).json["next"]
    assert ["left_out" in slot for slot in coming] == [False, True]
    assert (await site.ask("DELETE", "/v1/calendars/holidays")).status == 409
    await site.put_job()
    assert (await site.ask("DELETE", "/v1/calendars/holidays")).json == {"deleted": "holidays"}
    assert (await site.get("/v1/calendars/holidays")).status == 404


async def test_what_is_no_day_is_named(site: Site) -> None:
    for days in (None, "sat", [1], ["yesterday"], []):
        answer = await site.ask("PUT", "/v1/calendars/c", {"days": days})
        assert answer.status == 422, days
        assert "days" in answer.text


def test_on_the_command_line(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "days"
    path.write_text("# holidays\n2026-12-25  # Christmas\n\nsat\n")
    assert shell.ok("calendar", "set", "holidays", str(path)) == "calendar  holidays: 2 rules\n"
    assert shell.json("calendar", "list") == [{"name": "holidays", "days": ["2026-12-25", "sat"]}]
    assert "2026-12-25 sat" in shell.ok("calendar", "list")
    assert shell.ok("calendar", "rm", "holidays") == 'calendar "holidays" deleted\n'
