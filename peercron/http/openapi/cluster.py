"""Cluster: how it is as a whole, its pause, its snapshot, and the checks of one node."""

from __future__ import annotations

from typing import Final, Literal

from peercron.http.doctor import SCOPES
from peercron.http.openapi.members import MemberView
from peercron.http.openapi.operation import ANYTHING, JSON, TEXT, Content, Operation
from peercron.http.openapi.parameters import choice, switch
from peercron.http.openapi.shape import Count, Shape

BYTES: Final = "application/octet-stream"
PLAIN: Final = "text/plain"


class Status(Shape):
    """The cluster as the asked node sees it.

    node: who says it
    healthy: somebody leads, and everybody is well
    leader: null: none is known here
    level: of the replicated language that is in force
    quorum: how many voters it takes
    survives: how many more voters may fail
    halted: why this node has stopped; null: it has not
    paused: all schedules stand still
    notes: what people should know
    """

    cluster: str
    node: str
    healthy: bool
    leader: str | None
    term: Count
    index: Count
    level: Count
    voters: Count
    quorum: Count
    survives: Count
    halted: str | None
    paused: bool
    notes: list[str]
    members: list[MemberView]


class Digest(Shape):
    """A fingerprint of the state: equal on all nodes at the same index."""

    index: Count
    digest: str


class Origin(Shape):
    """Where a snapshot is from."""

    cluster: str
    index: Count
    generation: Count


class Restored(Shape):
    """What was put in the place of what the cluster had.

    index: of the command that did it
    generation: it grows with each restore, and indexes with it
    """

    restored: Origin
    index: Count
    generation: Count
    jobs: Count
    runs: Count
    ledger: Count
    keys: Count


class FindingView(Shape):
    """One thing that is not as it should be.

    severity: note: worth knowing, and may be meant
    check: stable name of what was looked at
    where: "cluster", or a kind and a name like "node a" or "job default/x"
    advice: what to do, with the command where there is one
    """

    severity: Literal["critical", "warning", "note"]
    check: str
    where: str
    what: str
    advice: str


class Diagnosis(Shape):
    """What a node finds wrong, the worst first.

    node: who says it
    leader: null: none is known there
    """

    node: str
    leader: str | None
    term: Count
    index: Count
    findings: list[FindingView]


_CHECK: Final = Content(kinds={PLAIN: TEXT})
_VERBOSE: Final = {"verbose": switch("each check on a line of its own")}
OPERATIONS: Final = {
    "GET /v1/status": Operation("getStatus", {200: Status}, spares=frozenset({503})),
    "POST /v1/cluster:pause": Operation("pauseCluster", {200: Status}),
    "POST /v1/cluster:resume": Operation("resumeCluster", {200: Status}),
    "GET /v1/digest": Operation("getDigest", {200: Digest}, spares=frozenset({503})),
    "GET /v1/snapshot": Operation("saveSnapshot", {200: Content(kinds={BYTES: ANYTHING})}, refuses=frozenset({429})),
    "PUT /v1/snapshot": Operation(
        "restoreSnapshot",
        {200: Restored},
        body=Content(kinds={BYTES: ANYTHING}),
        refuses=frozenset({408}),
    ),
    "GET /livez": Operation("isAlive", {200: _CHECK, 503: _CHECK}, parameters=_VERBOSE),
    "GET /readyz": Operation("isReady", {200: _CHECK, 503: _CHECK}, parameters=_VERBOSE),
    "GET /metrics": Operation("readMetrics", {200: Content(kinds={PLAIN: TEXT, "application/openmetrics-text": TEXT})}),
    "GET /v1/doctor": Operation(
        "diagnose",
        {200: Diagnosis},
        parameters={"scope": choice("node: what it finds of itself alone", *SCOPES, usual="all")},
        spares=frozenset({503}),
    ),
    "GET /openapi.json": Operation(
        "describe",
        {200: Content(kinds={JSON: {"type": "object"}}, headers=("ETag",)), 304: Content(headers=("ETag",))},
        headers=("Known-ETag",),
    ),
}
