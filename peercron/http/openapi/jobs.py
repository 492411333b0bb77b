"""Jobs: what is run, when and where; their coming slots, their ledger, and why they run or do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from peercron.core.job import Mode
from peercron.core.limits import LEDGER_KEPT_PER_JOB
from peercron.core.run import RunState
from peercron.http.jobs import ADDED, JOBS_LISTED, JOBS_LISTED_MAX, NEXT_SLOTS_MAX
from peercron.http.openapi.job_forms import REFINED as _FORMS
from peercron.http.openapi.operation import JSON, Content, Operation, optional
from peercron.http.openapi.parameters import INSTANT, OF_JOB, whole
from peercron.http.openapi.runs import ASKED, RunList
from peercron.http.openapi.shape import Count, Given, GivenInstant, Instant, Key, Number, Shape
from peercron.jobspec.tables import JobTable


class LedgerEntry(Shape):
    """What became of one slot.

    run: the id of its run
    slot: milliseconds since 1970
    token: of the last attempt
    """

    run: str
    slot: int
    scheduled_for: Instant
    manual: bool
    outcome: RunState
    reason: str
    attempts: Count
    node: str | None
    token: Number | None
    decided_at: Instant


class JobView(JobTable, kw_only=True):
    """A job in the words of jobs.toml, without what is as usual, and with the cluster's bookkeeping.

    uid: never used again, not even by a job of the same name
    key: namespace/name
    revision: its ETag
    next: its next slot; null while it is paused, and where nothing is due or the leader has not computed it yet
    last: the outcome of its last slot
    incumbent: in mode standby: who runs it
    line: in mode turns: whose turns are next
    """

    mode: Mode
    paused: bool
    uid: str
    key: Key
    revision: Number
    created_at: Instant
    updated_at: Instant
    next: Instant | None
    running: Count
    queued: Count
    last: LedgerEntry | None
    incumbent: str | UnsetType | None = UNSET
    line: list[str] | UnsetType = UNSET


#: As a PUT takes it: the name stands in the path, and what a view adds is passed over.
JobPut = msgspec.defstruct(
    "JobPut",
    [("name", str | UnsetType, UNSET), *((key, Any, UNSET) for key in sorted(ADDED))],
    bases=(JobTable,),
    namespace={"__doc__": "A job in the words of jobs.toml. What a JobView has besides is passed over."},
    kw_only=True,
)
JobPatch = msgspec.defstruct(
    "JobPatch",
    [],
    bases=(JobPut,),
    namespace={"__doc__": "What is to be different in a job (RFC 7396): null takes a key away."},
    kw_only=True,
)


class JobList(Shape):
    """Jobs in the order in which they were made.

    total: how many there are without limit and offset
    """

    jobs: list[JobView]
    total: Count


class JobDeleted(Shape):
    """Its key and its uid."""

    deleted: Key
    uid: str


class Slot(Shape):
    """A coming slot.

    slot: milliseconds since 1970
    local: in the time zone of the job
    left_out: why nothing will run then
    node: in mode slice: whose it is; empty: nobody's
    """

    slot: int
    scheduled_for: Instant
    local: str
    left_out: str | UnsetType = UNSET
    node: str | UnsetType = UNSET


class Slots(Shape):
    """The coming slots of a job; a paused one shows those that it would have."""

    job: Key
    paused: bool
    timezone: str
    next: list[Slot]


class Ledger(Shape):
    """The outcome of every slot that is kept."""

    job: Key
    ledger: list[LedgerEntry]


class NodeOfJob(Shape):
    """Whether a node may run a job, and why not."""

    node: str
    may_run: bool
    why: str


class Explanation(Shape):
    """Why a job is running or is not.

    why: sentences for people, the most telling first
    heard: what it has heard of the jobs that it comes after
    """

    job: Key
    why: list[str]
    nodes: list[NodeOfJob]
    heard: dict[str, RunState]


class RunBody(Shape):
    """What a run is given on its way: it sees them as PEERCRON_PARAM_<NAME>."""

    params: Given = msgspec.field(default_factory=dict)


class BackfillBody(Shape):
    """A range of past slots, both ends included.

    dry_run: only say what would be run
    force: also what has succeeded
    """

    from_: GivenInstant = msgspec.field(name="from")
    to: GivenInstant
    dry_run: bool = False
    force: bool = False


class Backfilled(Shape):
    """What is run.

    slots: for which
    left_out: slots of the range that have succeeded, or whose run is alive
    runs: ids; empty of a dry run
    """

    job: Key
    slots: list[Instant]
    left_out: list[Instant]
    runs: list[str]


REFINED: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = _FORMS
_REPORT: Final = {"schedule": "0 2 * * *", "command": ["python3", "/srv/report.py"], "timeout": "15m"}
MERGE_PATCH: Final = "application/merge-patch+json"
_JOB = "/v1/jobs/{name}"
_NAME: Final = {"name": OF_JOB}
_REVISION: Final = ("If-Match", "If-None-Match")
_WITH_ETAG: Final = Content(JobView, headers=("ETag",))
_CREATED: Final = Content(JobView, headers=("ETag", "Location"))
OPERATIONS: Final = {
    "GET /v1/jobs": Operation(
        "listJobs",
        {200: JobList},
        parameters={"limit": whole("at most so many", low=1, high=JOBS_LISTED_MAX, usual=JOBS_LISTED)},
    ),
    "POST /v1/jobs": Operation(
        "createJob", {201: _CREATED}, body=Content(JobTable, example={"name": "nightly-report"} | _REPORT)
    ),
    f"GET {_JOB}": Operation("getJob", {200: _WITH_ETAG}, parameters=_NAME),
    f"PUT {_JOB}": Operation(
        "putJob",
        {200: _WITH_ETAG, 201: _CREATED},
        body=Content(JobPut, example=_REPORT),
        parameters=_NAME,
        headers=_REVISION,
    ),
    f"PATCH {_JOB}": Operation(
        "patchJob",
        {200: _WITH_ETAG},
        body=Content(kinds={JSON: JobPatch, MERGE_PATCH: JobPatch}, example={"timeout": "1h", "retry": None}),
        parameters=_NAME,
        headers=_REVISION,
    ),
    f"DELETE {_JOB}": Operation("deleteJob", {200: JobDeleted}, parameters=_NAME, headers=_REVISION),
    f"POST {_JOB}:run": Operation("runJob", {202: ASKED}, body=optional(RunBody), parameters=_NAME),
    f"POST {_JOB}:pause": Operation("pauseJob", {200: JobView}, parameters=_NAME),
    f"POST {_JOB}:resume": Operation("resumeJob", {200: JobView}, parameters=_NAME),
    f"POST {_JOB}:failback": Operation("failBackJob", {200: JobView}, parameters=_NAME),
    f"POST {_JOB}:backfill": Operation(
        "backfillJob", {200: Backfilled, 202: Backfilled}, body=BackfillBody, parameters=_NAME
    ),
    f"GET {_JOB}/next": Operation(
        "listNextSlots",
        {200: Slots},
        parameters=_NAME
        | {
            "n": whole("how many", low=1, high=NEXT_SLOTS_MAX, usual=5),
            "from": INSTANT | {"description": "after this"},
        },
        refuses=frozenset({422}),
    ),
    f"GET {_JOB}/runs": Operation("listRunsOfJob", {200: RunList}, parameters=_NAME),
    f"GET {_JOB}/ledger": Operation(
        "readLedger",
        {200: Ledger},
        parameters=_NAME
        | {
            "limit": whole("at most so many", low=1, usual=LEDGER_KEPT_PER_JOB),
            "last": whole("only so many of the newest", low=1, high=LEDGER_KEPT_PER_JOB, usual=LEDGER_KEPT_PER_JOB),
        },
    ),
    f"GET {_JOB}/explain": Operation("explainJob", {200: Explanation}, parameters=_NAME),
}
