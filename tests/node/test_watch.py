"""Watch: a change of a resource wakes those who wait for it, and nobody else."""

from __future__ import annotations

import asyncio

from peercron.core.state import ClusterState
from peercron.node.watch import Watch
from tests.node.staged import until


class Listener:
    def __init__(self, watch: Watch, *resource: str) -> None:
        kind, namespace, name = resource
        self.told = asyncio.ensure_future(watch.change((kind, namespace, name), 60.0))


async def listeners(watch: Watch, *names: str) -> dict[str, Listener]:
    found = {name: Listener(watch, "lock", "default", name) for name in names}
    await asyncio.sleep(0)
    return found


async def test_only_who_waits_for_it_is_woken() -> None:
    state = ClusterState()
    watch = Watch(lambda: state)
    watch.turn()
    found = await listeners(watch, "a", "b", "")
    state.tell("lock", "default", "a")
    state.tell("queue", "default", "b")
    watch.turn()
    assert await found["a"].told
    assert await found[""].told  # whoever waits for any lock of the namespace
    assert not found["b"].told.done()
    state.tell("lock", "other", "b")
    watch.turn()
    await asyncio.sleep(0)
    assert not found["b"].told.done()
    found["b"].told.cancel()


async def test_time_is_up() -> None:
    state = ClusterState()
    watch = Watch(lambda: state)
    assert not await watch.change(("lock", "default", "a"), 0.0)
    assert watch._listening == {}


async def test_another_state_wakes_everybody() -> None:
    states = [ClusterState(), ClusterState()]
    watch = Watch(lambda: states[-1])
    watch.turn()
    found = await listeners(watch, "a", "b")
    states.append(ClusterState(index=5))
    watch.turn()
    assert [await each.told for each in found.values()] == [True, True]


async def test_an_index_is_waited_for() -> None:
    state = ClusterState(index=4)
    watch = Watch(lambda: state)
    await watch.beyond(3, 60.0)
    waits = asyncio.ensure_future(watch.beyond(4, 60.0))
    await until(lambda: watch._waiting)
    watch.turn()
    assert not waits.done()
    state.index = 5
    watch.turn()
    await waits
