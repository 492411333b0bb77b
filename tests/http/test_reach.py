"""How a run speaks to its cluster: as itself, until it is heard, and no longer than it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peercron.access import digest_of, fresh_token
from peercron.core.commands import CreateToken
from peercron.core.token import Scope
from peercron.errors import ConfigError, LeaseLost, NoLeader, OutcomeUnknown, Refused
from peercron.jobs import reach as reaching
from peercron.jobs.reach import HttpReach, context_from
from peercron.runpass import run_pass
from tests.http.conftest import Site


async def environment(site: Site, **changes: str) -> dict[str, str]:
    await site.put_job()
    run = await site.run_job()
    token = run["attempts"][0]["token"]
    settings = site.node.settings
    return {
        "PEERCRON_JOB": run["job"],
        "PEERCRON_RUN_ID": run["id"],
        "PEERCRON_ATTEMPT": "1",
        "PEERCRON_SLOT": "2026-12-01T10:00:00.000Z",
        "PEERCRON_NODE": "n1",
        "PEERCRON_FENCING_TOKEN": str(token),
        "PEERCRON_URL": site.url,
        "PEERCRON_TOKEN": run_pass(site.node.pass_key, settings.cluster, run["id"], token),
    } | changes


WORK: dict[str, Any] = {"deadline_ms": 0, "params": [["day", "mon"]], "checkpoint": '{"done":3}'}


async def test_a_checkpoint_arrives(site: Site) -> None:
    environ = await environment(site)
    ctx = context_from(environ, WORK, HttpReach(environ, ""))
    await ctx.checkpoint({"done": 4})
    assert site.node.state.runs[ctx.run_id].checkpoint == b'{"done":4}'
    assert (ctx.params, ctx.last_checkpoint, ctx.deadline) == ({"day": "mon"}, {"done": 3}, None)


async def test_an_attempt_that_was_superseded_is_told_to_stop(site: Site) -> None:
    environ = await environment(site)
    await site.node.finish_attempt(environ["PEERCRON_RUN_ID"])
    with pytest.raises(LeaseLost, match="another attempt"):
        await HttpReach(environ, "").checkpoint("1")


async def test_a_stranger_is_refused(site: Site) -> None:
    environ = await environment(site, PEERCRON_TOKEN="guessed")
    with pytest.raises(Refused) as caught:
        await HttpReach(environ, "").checkpoint("1")
    assert caught.value.code == "forbidden"


async def test_without_a_leader_it_is_said_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = await environment(site)
    propose, problems = site.node.propose, [NoLeader(), OutcomeUnknown()]

    async def elect(*given: Any, **named: Any) -> Any:
        if problems:
            raise problems.pop()
        return await propose(*given, **named)

    monkeypatch.setattr(site.node, "propose", elect)
    await HttpReach(environ, "").checkpoint("5")
    assert not problems
    assert site.node.state.runs[environ["PEERCRON_RUN_ID"]].checkpoint == b"5"


async def test_a_cluster_that_is_gone_is_not_waited_for_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = await environment(site, PEERCRON_URL="http://127.0.0.1:1")
    monkeypatch.setattr(reaching, "PATIENCE_S", 0.1)
    with pytest.raises(NoLeader, match="does not answer"):
        await HttpReach(environ, "").checkpoint("1")


async def test_the_shared_state_is_reached_from_coroutines_and_threads(site: Site) -> None:
    environ = await environment(site)
    reach = HttpReach(environ, "")
    ctx = context_from(environ, WORK, reach)
    assert await ctx.state.incr("search/generation") == 1

    def plainly() -> Any:
        return reach.plain_client.state.get("search/generation")

    assert await asyncio.to_thread(plainly) == 1
    await reach.close()


async def test_a_lock_of_a_run_ends_with_its_attempt(site: Site) -> None:
    environ = await environment(site)
    reach = HttpReach(environ, "")
    lock = context_from(environ, WORK, reach).lock("search/index", ttl="1h")
    assert await lock.acquire() > 0
    (grant,) = site.node.state.lock_grants["search/index"].values()
    assert (grant.claim.run_id, grant.claim.owner.partition("/")[0]) == (environ["PEERCRON_RUN_ID"], "n1")
    await site.node.finish_attempt(environ["PEERCRON_RUN_ID"])
    assert "search/index" not in site.node.state.lock_grants
    await lock.release()
    assert "lost before" in lock.lost
    await reach.close()


async def test_a_lock_without_a_time_lives_as_long_as_its_attempt(site: Site) -> None:
    environ = await environment(site)
    reach = HttpReach(environ, "")
    async with context_from(environ, WORK, reach).lock("search/index") as lock:
        assert lock.held
        assert site.node.state.leases == {}, "there is nothing to renew, and no session"
    assert "search/index" not in site.node.state.lock_grants
    await reach.close()


async def test_nobody_locks_in_the_name_of_another_run(site: Site) -> None:
    environ = await environment(site, PEERCRON_TOKEN="guessed")
    reach = HttpReach(environ, "")
    with pytest.raises(ConfigError, match="PEERCRON_TOKEN of this very attempt"):
        await reach.client.lock("search/index").acquire()
    assert not site.node.state.lock_grants
    await reach.close()


async def test_tokens_change_nothing_for_a_run_that_lives(site: Site) -> None:
    environ = await environment(site)
    await site.node.do(CreateToken("ops", digest_of(fresh_token()), (Scope.ADMIN,)))
    ctx = context_from(environ, WORK, reach := HttpReach(environ, ""))
    assert await ctx.state.incr("n") == 1
    await ctx.queue("mail").put({"n": 1})
    await ctx.checkpoint(5)
    lock = ctx.lock("search/index")
    assert await lock.acquire() > 0
    await site.node.finish_attempt(ctx.run_id)
    await lock.release()
    assert "lost before" in lock.lost
    with pytest.raises(LeaseLost, match="another attempt"):
        await ctx.checkpoint(6)
    with pytest.raises(Refused, match="is over") as caught:
        await ctx.state.incr("n")
    assert caught.value.code == "stale_token"
    await reach.close()
