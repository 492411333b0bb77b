"""Two whole nodes, and a clock that is far off: time in the log stays true, and jobs go on by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peercron.core.commands import PutJob
from peercron.core.history import entries_of
from peercron.core.job import CommandTask, Definition, EveryTrigger
from peercron.node import Node
from tests.sim.whole.clients import Clients, commit
from tests.sim.whole.cluster import Cluster
from tests.sim.whole.host import EPOCH_MS, Host
from tests.sim.whole.run import plan_of

# Who dies in the middle of its work leaves coroutines that nobody awaits.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)
STEP_MS = 300_000
#: What clocks and messages take, and a leader that hands over.
LATE_MS = 1_500


class Pair:
    """Two nodes with a job that is due every second."""

    def __init__(self) -> None:
        self.cluster = Cluster(replace(plan_of(7, faults="", members=2), narrow=False))
        self.clients = Clients(self.cluster)
        for host in self.cluster.hosts.values():
            host.start()
        self.go_on(10)
        job = Definition("job", EveryTrigger(1_000), CommandTask(("work", "0.1", "0.1", "0", "0.1")))
        self.clients.start(self._put(job))
        self.go_on(5)

    async def _put(self, job: Definition) -> None:
        await self.clients.ask(self.leader, lambda node: commit(node, PutJob(job)))

    @property
    def leader(self) -> Host:
        leader = self.cluster.leader()
        assert leader is not None
        return leader

    @property
    def true_ms(self) -> int:
        return EPOCH_MS + round(self.cluster.time.now_s * 1_000)

    def go_on(self, seconds: int) -> None:
        """At each second nobody's log is ahead of true time."""
        for _ in range(seconds):
            self.cluster.time.run(1.0)
            for node in self.nodes:
                assert node.state.now_ms <= self.true_ms + LATE_MS

    @property
    def nodes(self) -> list[Node]:
        return [host.node for host in self.cluster.hosts.values() if host.node is not None]

    def decided(self) -> dict[int, str]:
        """The job's slots of the last 20 s but for the newest, and what became of them."""
        state = self.nodes[0].state
        (uid,) = state.jobs
        from_ms, to_ms = self.true_ms - 20_000, self.true_ms - 2_000
        return {row.slot_ms: str(row.outcome) for row in entries_of(state, uid) if from_ms <= row.slot_ms < to_ms}


@pytest.mark.parametrize("step_ms", [STEP_MS, -STEP_MS])
@pytest.mark.parametrize("whose", ["leader", "follower"])
def test_a_clock_that_is_set_wrong_moves_no_slot(step_ms: int, whose: str) -> None:
    pair = Pair()
    hosts = pair.cluster.hosts.values()
    host = pair.leader if whose == "leader" else next(host for host in hosts if host is not pair.leader)
    host.wall_offset_ms += step_ms
    pair.go_on(25)
    assert list(pair.decided().values()) == ["succeeded"] * 18
    host.wall_offset_ms -= step_ms
    pair.go_on(25)
    assert list(pair.decided().values()) == ["succeeded"] * 18
    assert pair.cluster.findings == []


@pytest.mark.parametrize("step_ms", [STEP_MS, -STEP_MS])
@pytest.mark.parametrize("name", ["n1", "n2"])
def test_a_node_that_boots_with_a_wrong_clock_does_not_stamp_the_log(step_ms: int, name: str) -> None:
    """The other has agreed with it before, and knows which of the two has moved: it gets leadership back."""
    pair = Pair()
    host = pair.cluster.hosts[name]
    host.kill()
    pair.cluster.time.run(1.0)
    host.wall_offset_ms += step_ms
    host.start()
    pair.go_on(5)
    assert pair.leader is not host, "the other has more of the log, or won"
    assert pair.leader.node is not None
    pair.leader.node._driver.replica.hand_over(None, pair.leader.node._clock.monotonic() + 1.0)
    pair.leader.node._driver.kick()
    pair.go_on(25)
    assert pair.leader is not host
    assert host.name in pair.cluster.leaders.values()
    assert list(pair.decided().values()) == ["succeeded"] * 18
