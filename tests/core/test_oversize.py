"""What is refused for its size alone is known without any state, and apply says the same."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from peercron.core import commands
from peercron.core.apply import apply
from peercron.core.commands import (
    AcquireLock,
    CallHook,
    Checkpoint,
    Command,
    CreateToken,
    EmitEvent,
    IncrKey,
    Invite,
    OpenClient,
    PutItem,
    PutKey,
    PutQueue,
    ReceiveItems,
    RunJob,
    SetCalendar,
    SetPool,
)
from peercron.core.lock import Claim
from peercron.core.occasion import EventTrigger
from peercron.core.oversize import BOUNDS, Bound, oversize
from peercron.core.token import Scope
from peercron.core.verdict import Refused
from tests.core.builders import NOW, cluster, put

CLAIM = Claim("n1/1/1", 30_000, "r")
#: One of each command that is bounded, which is done, but for those that want something that is not there.
SAMPLES: tuple[Any, ...] = (
    PutKey("default", "k", b"v"),
    IncrKey("default", "n"),
    PutQueue("default", "q", 30_000, 5),
    PutItem("default", "q", b"1"),
    ReceiveItems("default", "q"),
    AcquireLock("default", "l", CLAIM),
    OpenClient("batch", 30_000),
    Checkpoint("none", 1, b"{}"),
    RunJob("default/hello"),
    CallHook("default/hello"),
    EmitEvent("default", "e"),
    SetCalendar("holidays", ("12-25",)),
    SetPool("db", 3),
    Invite("n9:7400"),
    CreateToken("ops", bytes(32), (Scope.ADMIN,)),
)
#: From the path of a request, which no server takes beyond some thousand characters; or refused as a job would be.
ELSEWHERE = {
    "ApplyJobs", "Backfill", "CancelRun", "DeleteCalendar", "DeleteJob", "DeleteKey", "DeletePool", "DeleteQueue",
    "FailBack", "ForsakeLock", "PauseJob", "PurgeQueue", "PutJob", "ReleaseLock", "ReplayItems", "ResumeJob",
    "RevokeToken", "Uninvite",
}  # fmt: skip
#: What members and leaders say, and what a route cuts.
CUT = {
    "AbandonRestore", "AdoptSnapshot", "AttemptFinished", "AttemptReady", "AttemptStarted", "BeginRestore", "Contend",
    "DrainMember", "EndRuns", "ExpireSession", "Fire", "GrantLock", "NackItems", "OpenSession", "PlaceRun",
    "RecordSlices", "ReportHealth", "StageSnapshot", "TakeItem",
}  # fmt: skip


def texts(kind: type, path: str = "") -> list[str]:
    """The fields of a command that hold text or bytes, by their dotted paths."""
    found = []
    for field in fields(kind):
        told, name = get_type_hints(kind)[field.name], f"{path}{field.name}"
        if is_dataclass(told):
            found += texts(told, f"{name}.")  # type: ignore[arg-type]
        elif any(word in str(told) for word in ("str", "bytes", "Report", "Entry", "Definition")):
            found.append(name)
    return found


def test_whatever_text_a_request_may_carry_is_bounded() -> None:
    """A new command has to be put in one of three places, and a new field of a bounded one too."""
    #: Ids of runs and members, that the door looks up or writes itself.
    known = {"claim.run_id", "member", "run_id", "key", "again"}
    for kind in get_args(Command):
        bounded, name = BOUNDS.get(kind), kind.__name__
        places = (bounded is not None) + (name in ELSEWHERE) + (name in CUT)
        assert places == (1 if texts(kind) else 0), f"{name} has {texts(kind)}"
        assert set(texts(kind)) - set(bounded or texts(kind)) <= known, name
    assert {type(sample) for sample in SAMPLES} == set(BOUNDS)
    assert {*ELSEWHERE, *CUT} <= {*commands.__all__}


def grown(path: str, value: Any, most: int) -> Any:
    """A value of the same type that is so large."""
    if isinstance(value, tuple):
        return (("p", "x" * (most - 1)),) if path == "params" else ("x" * most,)
    return b"x" * most if isinstance(value, bytes) else "x" * most


def with_field(command: Any, path: str, value: Any) -> Any:
    first, _, rest = path.partition(".")
    return replace(command, **{first: with_field(getattr(command, first), rest, value) if rest else value})


def value_at(command: Any, path: str) -> Any:
    for name in path.split("."):
        command = getattr(command, name)
    return command


CASES = [(sample, path, bound) for sample in SAMPLES for path, bound in BOUNDS[type(sample)].items()]


@pytest.mark.parametrize(("sample", "path", "bound"), CASES, ids=[f"{type(s).__name__}.{p}" for s, p, _ in CASES])
def test_what_the_door_refuses_apply_refuses_too(sample: Any, path: str, bound: Bound) -> None:
    """Or a program that comes in through the door is told no where the cluster would have said yes."""
    state = cluster("n1")
    put(state, "hello", trigger=EventTrigger("default", "e"))
    value = value_at(sample, path)
    assert oversize(with_field(sample, path, grown(path, value, bound.most))) is None
    large = with_field(sample, path, grown(path, value, bound.most + 1))
    found = oversize(large)
    assert found is not None
    assert found.code == ("too_large" if isinstance(value, bytes) else "invalid")
    assert found.detail.startswith(f"{path.rpartition('.')[2]}: {bound.most + 1} ")
    assert isinstance(apply(state, large, NOW), Refused)


def test_keys_are_measured_in_bytes_and_names_in_characters() -> None:
    assert oversize(IncrKey("default", "é" * 256)) is None
    assert oversize(IncrKey("default", "é" * 257)) is not None
    assert oversize(ReceiveItems("default", "q", owner="é" * 512)) is None
