"""Documents: whole job files, planned, applied and exported."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from peercron.http.documents import TOML
from peercron.http.openapi.operation import JSON, TEXT, Content, Operation
from peercron.http.openapi.parameters import choice
from peercron.http.openapi.shape import Count, Key, Shape
from peercron.jobspec.tables import JobTable


class JobsFile(Shape):
    """The content of a jobs.toml.

    owner: whose jobs these are; needed to prune
    defaults: keys of jobs, for all of them that do not say otherwise
    """

    version: Literal[1] = 1
    owner: str = ""
    defaults: dict[str, Any] = msgspec.field(default_factory=dict)
    jobs: list[JobTable] = msgspec.field(default_factory=list)


class Change(Shape):
    """What would become, or became, of one job.

    fields: of an update: key -> what it was and what it is to be; null: not written
    """

    job: Key
    action: Literal["create", "update", "delete", "unchanged"]
    fields: dict[str, tuple[Any, Any]] | UnsetType = UNSET


class Plan(Shape):
    """What applying would do."""

    changes: list[Change]


class Applied(Shape):
    """What applying did.

    changed: how many jobs
    """

    changed: Count
    changes: list[Change]


_REPORT: Final = {"name": "nightly-report", "schedule": "0 2 * * *", "command": ["python3", "/srv/report.py"]}
_FILE: Final = Content(
    kinds={JSON: JobsFile, TOML: TEXT}, example={"version": 1, "owner": "ops/jobs.git", "jobs": [_REPORT]}
)
OPERATIONS: Final = {
    "POST /v1/plan": Operation("planJobs", {200: Plan}, body=_FILE),
    "POST /v1/apply": Operation("applyJobs", {200: Applied}, body=_FILE),
    "GET /v1/export": Operation(
        "exportJobs",
        {200: Content(kinds={JSON: JobsFile, TOML: TEXT})},
        parameters={"format": choice("TOML also comes where Accept asks for it", "json", "toml", usual="json")},
    ),
}
