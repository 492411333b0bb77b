"""Done when 11: pickle is never reached, from the frame to the snapshot; and nothing of peercron asks for it."""

from __future__ import annotations

import ast
import itertools
import pickle  # noqa: TID251 - to set the trap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import peercron
from peercron.consensus.replica import Replica
from peercron.core.commands import OpenSession, Proposal, PutKey, RunJob
from peercron.core.member import MemberInfo
from peercron.core.state import ClusterState
from peercron.machine import Machine
from peercron.wire.codec import pack_proposal
from peercron.wire.frames import NONCE_BYTES, Channel, secret_key
from peercron.wire.plain import pack, unpack
from tests.sim.world import Member, World
from tests.wire.rows import COMMANDS

KEY = secret_key(b"s")


def trap(*_: Any, **__: Any) -> NoReturn:
    raise BaseException("pickle was reached")  # noqa: TRY002 - nothing may catch it


@pytest.fixture
def trapped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "loads",
        "load",
        "dumps",
        "dump",
        "Unpickler",
        "Pickler",
        "_Unpickler",
        "_Pickler",
        "_loads",
        "_dumps",
    ):
        monkeypatch.setattr(pickle, name, trap)


class Real(Machine):
    """The true state machine, in the simulator's world."""

    def __init__(self, member: Member) -> None:
        super().__init__(member.name)
        self.member = member

    @property
    def values(self) -> list[int]:
        return [self.state.index] * self.state.index


class Wired(Member):
    """A member with the true state machine, whose messages go as authenticated frames."""

    def make_machine(self) -> Any:
        return Real(self)

    def _snapshot(self, replica: Replica) -> None:
        writer = replica.begin_snapshot()
        for block in self.machine.frozen():
            writer.write(block)
        writer.seal()
        writer.sync()
        replica.snapshot_published(writer.publish().index)


class WiredWorld(World):
    """Each connection of the world is a pair of channels."""

    frames = 0

    def packer(self, a: str, b: str, number: int) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        ends = self.__dict__.setdefault("ends", {})
        if (a, b, number) not in ends:
            nonces = (bytes([number % 256]) * NONCE_BYTES, bytes(NONCE_BYTES))
            dialer = Channel(a, "c", KEY, nonces[0], dialer=True, expect=b)
            listener = Channel(b, "c", KEY, nonces[1], dialer=False)
            listener.receive(dialer.greeting())
            dialer.receive(listener.greeting() + listener.take())
            listener.receive(dialer.take())
            ends[a, b, number] = (dialer, listener)
        dialer, listener = ends[a, b, number]
        return lambda message: dialer.seal(pack(message)), lambda raw: self._open(listener, raw)

    def _open(self, listener: Channel, raw: bytes) -> Any:
        self.frames += 1
        (payload,) = listener.receive(raw)
        return unpack(payload)


@pytest.mark.usefixtures("trapped")
def test_pickle_is_never_reached_from_the_frame_to_the_snapshot() -> None:
    world = WiredWorld(5, 3, member_type=Wired, compact_every=20)
    assert world.run_until(lambda: world.leader() is not None, 20)
    seqs = itertools.count(1)

    def propose_all() -> None:
        me = OpenSession(MemberInfo("a", "a", "a", "http://x"), 1)
        for command in (me, *COMMANDS, *(PutKey("n", f"k{i}", b"v") for i in range(15)), RunJob("ops/nightly")):
            member = next(m for m in world.members.values() if m.up)
            payload = pack_proposal(Proposal("a", 1, next(seqs), 1, command))
            member.guarded(lambda replica, payload=payload: replica.propose([(1, payload)]))  # type: ignore[misc]
            member.turn_soon()
            world.run(0.05)

    propose_all()
    victim = next(m for m in world.members.values() if not m.leads)
    victim.kill()
    propose_all()
    propose_all()
    victim.start()
    assert world.run_until(lambda: world.converged() and victim.machine.state.index > 60, 20)
    assert world.violations == []
    assert victim.replica is not None
    assert victim.replica.snapshot_index > 1
    states: list[ClusterState] = [m.machine.state for m in world.members.values()]
    assert states[0] == states[1] == states[2]
    assert any(m.machine.generation for m in world.members.values())  # somebody was restored from a snapshot
    assert world.frames > 500


def test_the_trap_works(trapped: None) -> None:
    with pytest.raises(BaseException, match="pickle was reached"):
        pickle.loads(b"")


FORBIDDEN = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "copyreg"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
            "import_module",
            "__import__",
        }:
            names |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return names


def test_nothing_of_peercron_imports_what_makes_code_of_bytes() -> None:
    sources = sorted(Path(peercron.__file__).parent.rglob("*.py"))
    assert len(sources) > 50
    assert {str(path): found for path in sources if (found := imported(path) & FORBIDDEN)} == {}


def test_who_looks_for_imports_finds_them(tmp_path: Path) -> None:
    for text in (
        "import pickle",
        "from marshal import loads",
        "importlib.import_module('shelve')",
        "import pickle as p",
    ):
        (tmp_path / "x.py").write_text(text)
        assert imported(tmp_path / "x.py") & FORBIDDEN, text
