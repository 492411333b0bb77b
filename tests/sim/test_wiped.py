"""A wiped disk under an old name must not help to elect somebody who has less than was promised."""

from __future__ import annotations

from peercron.consensus.election import NOTHING
from tests.sim.world import Member, World


def with_something_acknowledged(world: World) -> Member:
    """A leader, after writes that only one of its followers has."""
    assert world.run_until(lambda: world.leader() is not None, 10)
    leader = world.leader()
    assert leader is not None
    behind = next(m for m in world.members.values() if m is not leader)
    behind.kill()
    for _ in range(20):
        world.propose(leader)
        world.run(0.05)
    assert world.acknowledged
    return leader


def test_a_wiped_voter_elects_nobody_who_may_lack_what_it_forgot() -> None:
    world = World(1, 3)
    leader = with_something_acknowledged(world)
    behind = next(m for m in world.members.values() if not m.up)
    witness = next(m for m in world.members.values() if m.up and m is not leader)
    witness.kill()
    leader.kill()
    witness.disk.files.clear()
    witness.disk.synced.clear()
    behind.start()
    witness.start()
    world.run(20)
    assert world.leader() is None
    leader.start()
    assert world.run_until(world.converged, 40)
    assert world.acknowledged <= set(leader.machine.values)
    assert not world.violations


def test_a_cluster_that_begins_needs_no_more_than_a_majority() -> None:
    world = World(2, 3)
    for member in world.members.values():
        member.kill()
        member.disk.files.clear()
        member.disk.synced.clear()
    for member in list(world.members.values())[:2]:
        member.start()
        assert member.replica is not None
        assert member.replica.journal.doubt
        assert tuple(reversed(member.replica.journal.last)) == NOTHING
    assert world.run_until(lambda: world.leader() is not None, 10)
    world.run(1)
    assert all(m.replica is None or not m.replica.journal.doubt for m in world.members.values())
