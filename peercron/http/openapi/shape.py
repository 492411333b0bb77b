"""Shapes: types of bodies and answers, and the forms of what stands in them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from peercron.core.limits import LEASE_MS_MAX, LEASE_MS_MIN, PARAMS_MAX
from peercron.http.fields import NUMBER_MAX
from peercron.times import DURATION_FORM, INSTANT_FORM

NAME = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
DURATION = r"^([0-9]{1,15}(\.[0-9]{1,6})?(ms|[wdhms]))+$"
#: Name of a job, a lock or a queue in namespace "default", or with its namespace before a slash.
IN_NAMESPACE = f"({NAME}/)?{NAME}"
MONTH_DAY = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
#: From 1 to 9999.
_YEAR = "([1-9][0-9]{3}|0[0-9]{2}[1-9]|0[0-9][1-9]0|0[1-9]00)"
DATE = f"{_YEAR}-{MONTH_DAY}"
TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
#: With the offset, without which it would mean another instant on each host.
INSTANT = rf"{DATE}T{TIME}(\.[0-9]{{1,6}})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """One object: what has no default is always there, and what is not said here never is.

    The first paragraph of its docstring describes it, and lines like "ttl: how long" below describe its fields.
    """


#: An instant in an answer.
Instant = Annotated[str, Meta(pattern=rf"^{DATE}T{TIME}\.[0-9]{{3}}Z$", extra_json_schema={"format": "date-time"})]
#: An instant in a body.
GivenInstant = Annotated[
    str, Meta(pattern=f"^{INSTANT}$", description=INSTANT_FORM, extra_json_schema={"format": "date-time"})
]
#: A duration as text.
Duration = Annotated[str, Meta(pattern=DURATION, description=DURATION_FORM, examples=["30s"])]
#: A duration in a body: as text, or in seconds.
Span = Duration | Annotated[float, Meta(ge=0, le=LEASE_MS_MAX / 1_000, description="seconds")]
#: That of a lease.
Life = Duration | Annotated[float, Meta(ge=LEASE_MS_MIN / 1_000, le=LEASE_MS_MAX / 1_000, description="seconds")]
Base64 = Annotated[
    str,
    Meta(
        pattern="^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        extra_json_schema={"contentEncoding": "base64"},
    ),
]
#: Seconds, counted from when the request was sent.
Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
#: A fencing token, the id of an item or of a session: the index of the command that gave it.
Number = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
#: "namespace/name".
Key = Annotated[str, Meta(pattern="^[^/]+/.+$")]
#: What a run is given.
Given = Annotated[
    dict[str, Annotated[str, Meta(pattern=r"^[^\u0000]*$")] | float | bool],
    Meta(max_length=PARAMS_MAX, extra_json_schema={"propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$"}}),
]
