"""Shapes: types of bodies and answers, and the forms of what stands in them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from peercron.times import DURATION_FORM, INSTANT_FORM

NAME = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
DURATION = r"^([0-9]{1,15}(\.[0-9]{1,6})?(ms|[wdhms]))+$"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = rf"^{_DATE}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}"


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """One object: what has no default is always there, and what is not said here never is.

    The first paragraph of its docstring describes it, and lines like "ttl: how long" below describe its fields.
    """


#: An instant in an answer.
Instant = Annotated[str, Meta(pattern=rf"{_INSTANT}\.[0-9]{{3}}Z$", extra_json_schema={"format": "date-time"})]
#: An instant in a body.
GivenInstant = Annotated[str, Meta(description=INSTANT_FORM, extra_json_schema={"format": "date-time"})]
#: A duration as text.
Duration = Annotated[str, Meta(pattern=DURATION, description=DURATION_FORM, examples=["30s"])]
#: A duration in a body: as text, or in seconds.
Span = Duration | Annotated[float, Meta(ge=0, description="seconds")]
#: Seconds, counted from when the request was sent.
Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
#: A fencing token, the id of an item or of a session: the index of the command that gave it.
Number = Annotated[int, Meta(ge=1)]
#: "namespace/name".
Key = Annotated[str, Meta(pattern="^[^/]+/.+$")]
