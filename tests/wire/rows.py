"""Random rows by their own type annotations, and one fixed example of each command."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st

from peercron.core import check as k
from peercron.core import commands as c
from peercron.core import job as j
from peercron.core import occasion as o
from peercron.core.health import HealthReport
from peercron.core.lock import Claim, LockKind
from peercron.core.member import MemberInfo, Role
from peercron.core.run import AttemptState, RunState
from peercron.core.slices import SliceEntry
from peercron.core.token import Scope

#: What msgpack can carry.
INTEGERS = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: INTEGERS,
    str: st.text(max_size=20),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    type(None): st.none(),
}


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Any value of an annotation that occurs in a row."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        hints = typing.get_type_hints(annotation)
        return st.builds(annotation, **{f.name: values(hints[f.name]) for f in dataclasses.fields(annotation)})
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([values(option) for option in arguments])
    assert origin is tuple, annotation
    if arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    return st.tuples(*[values(argument) for argument in arguments])


DEFINITION = j.Definition(
    name="nightly",
    trigger=j.CronTrigger("0 3 * * *", "Europe/Berlin", j.DstGap.SKIP, j.DstOverlap.BOTH),
    task=j.CommandTask(("tar", "c"), "", (j.EnvEntry("TOKEN", j.SecretSource.FILE, "/etc/t"),), "/srv", "backup"),
    namespace="ops",
    owner="file",
    nodes=("n1",),
    overlap=j.Overlap.QUEUE_ONE,
    guarantee=j.Guarantee.AT_MOST_ONCE,
    misfire=j.Misfire(j.MisfirePolicy.ALL, 60_000, 3),
    timeout_ms=5_000,
    kill_grace_ms=1_000,
    on_disconnect=j.OnDisconnect.KEEP,
)
CALL = j.Definition(
    "call",
    j.EveryTrigger(60_000, 7),
    j.HttpTask("POST", "http://127.0.0.1/x", (("A", "b"),), b"{}", (200, 204)),
)
SLICED = j.Definition(
    "sliced",
    j.EveryTrigger(10_000),
    j.CommandTask(("true",)),
    mode=j.Mode.SLICE,
    slice_ms=10_000,
    on_absent=j.OnAbsent.FILL,
)
CHECKS = (
    k.Check("pid", k.ProcessProbe("/run/x.pid")),
    k.Check("pg", k.CommandProbe(("pg_isready",)), 1_000, 500, 1, 2),
    k.Check("web", k.UrlProbe("http://127.0.0.1/x", (200, 204))),
    k.Check("port", k.EndpointProbe("", 5432), observers=2),
)
OCCASIONS: tuple[j.Trigger, ...] = (
    o.ConditionTrigger('state("stock") < 10'),
    o.HookTrigger(),
    o.HookTrigger(j.EnvEntry("webhook_secret", j.SecretSource.FILE, "/run/secrets/hook")),
    o.EventTrigger("ops", "deployed"),
    o.QueueTrigger("default", "mail"),
    o.ProbeTrigger(k.Check("on:", k.FileProbe("/srv/in"), 1_000, rise=1, fall=1)),
    o.ProbeTrigger(k.Check("on:", k.EndpointProbe("db", 5432)), False),
)
INFO = MemberInfo(
    "h:7400", "n1", "h:7400", "http://h:8400", "east", (("disk", "ssd"),), Role.WITNESS, "0.1.0", 1, "cafe"
)
COMMANDS: tuple[c.Command, ...] = (
    c.OpenSession(INFO, 7),
    c.ExpireSession("h:7400", 7),
    c.Invite("i:7400", Role.WITNESS, "n9"),
    c.Uninvite("i:7400"),
    c.DrainMember("h:7400", False),
    c.PutJob(DEFINITION, 3, True),
    c.PutJob(j.Definition("once", j.AtTrigger(1_700_000_000_000), j.CommandTask(shell="date"))),
    c.ApplyJobs(
        (CALL, j.Definition("m", j.ManualTrigger(), j.CommandTask(("true",)))), "file", True, (("a/b", False),)
    ),
    c.DeleteJob("ops/nightly", 9),
    c.PauseJob("ops/nightly"),
    c.ResumeJob("ops/nightly"),
    c.RunJob("ops/nightly"),
    c.CancelRun("12/1700000000000"),
    c.Fire("12", 3, 1_000, (2_000, 3_000), 3_000, 4_000, 1_000, 5, 500),
    c.PlaceRun("12/2000"),
    c.AttemptStarted("12/2000", 77, 2_001),
    c.AttemptFinished("12/2000", 77, AttemptState.TIMED_OUT, 2_500, -9, "killed", "tail"),
    c.PutKey("default", "k", b"\x00v", 0),
    c.DeleteKey("default", "k", 8),
    c.BeginRestore("ab12", 2, 9, True, 1),
    c.StageSnapshot("ab12", 1, b"\x78\x01"),
    c.EndRuns("ab12"),
    c.AdoptSnapshot("ab12", 2, bytes(range(32)), True),
    c.AbandonRestore("other", 1_700_000_000_000),
    c.PutJob(j.Definition("port", j.ManualTrigger(), j.TcpTask("db", 5432, b"PING", b"PONG"))),
    c.SetCalendar("holidays", ("2026-12-25", "sat")),
    c.DeleteCalendar("holidays"),
    c.PauseCluster(),
    c.ResumeCluster(),
    c.Backfill("ops/nightly", (1_700_000_000_000, 1_700_000_060_000), True),
    c.SetPool("db", 3),
    c.DeletePool("db"),
    c.OpenClient("batch/1", 30_000),
    c.CloseClient(77),
    c.ExpireLease(78),
    c.PutJob(SLICED),
    c.RecordSlices(
        "n1",
        "12",
        (
            SliceEntry(2_000, RunState.SUCCEEDED, "", 2_001, 2_500, 0, "tail"),
            SliceEntry(3_000, RunState.MISSED, "node n1 was down"),
        ),
        3_000,
    ),
    c.ArrangeSlices(7),
    c.PutKey("default", "k", b"v", ttl_ms=30_000),
    c.IncrKey("default", "n", -3, 30_000),
    c.ReportHealth("h:7400", 7, (HealthReport("12", "port", "i:7400", False, "refused"),)),
    c.PutJob(j.Definition("checked", j.ManualTrigger(), j.CommandTask(("true",)), checks=CHECKS)),
    *[c.PutJob(j.Definition("occasion", trigger, j.CommandTask(("true",)))) for trigger in OCCASIONS],
    c.CallHook("ops/nightly", (("day", "mon"),)),
    c.EmitEvent("ops", "deployed", (("tag", "v1"),)),
    c.PutQueue("default", "mail", 30_000, 5, "lost", 9),
    c.DeleteQueue("default", "mail"),
    c.PutItem("default", "mail", b'{"to":1}', False, "k1", -3, "g", 1_000),
    c.ReceiveItems("default", "mail", 10, 5_000, "n1/88/Thread-2", 77),
    c.AckItems(90, (81, 82)),
    c.NackItems(90, (83,), 2_000, "no route", True),
    c.ExtendDelivery(90, 60_000),
    c.PurgeQueue("default", "mail"),
    c.ReplayItems("default", "mail", 100),
    c.FailBack("ops/nightly"),
    c.AttemptReady("12/2000#1", 77),
    c.Contend("12/2000", "h:7400", 7),
    c.AcquireLock(
        *("reports", "db", Claim("n1/12/Thread-2", 30_000, "r1", True, 500, 77, "12/2000", 76), True),
        *(LockKind.RW, 1, "h:7400", 7),
    ),
    c.GrantLock("reports", "db"),
    c.ReleaseLock("reports", "db", 79),
    c.ForsakeLock("reports", "db", 80, 81, True),
    c.Checkpoint("12/2000", 77, b'{"done":5}'),
    c.PutJob(
        j.Definition("reindex", j.ManualTrigger(), j.ClassTask("acme.jobs:Reindex", (), "/srv", 1 << 28)),
    ),
    c.TakeItem("12"),
    c.PutJob(j.Definition("mailer", j.ManualTrigger(), j.CommandTask(("true",)), queue="default/mail")),
    c.CreateToken("ci", bytes(range(32)), (Scope.RUN, Scope.JOBS), 86_400_000),
    c.RevokeToken("ci", True),
)
