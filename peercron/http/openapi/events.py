"""Events: what happens in the cluster, as it happens."""

from __future__ import annotations

from typing import Final

from peercron.core.chronicle import KINDS
from peercron.http.events import LEADER
from peercron.http.openapi.operation import Content, Operation
from peercron.http.openapi.parameters import text, whole
from peercron.http.openapi.streams import WITHIN, EventSent
from peercron.http.streaming import SSE

_KIND: Final = f"({'|'.join((*KINDS, LEADER))})"
OPERATIONS: Final = {
    "GET /v1/events": Operation(
        "followEvents",
        {200: Content(kinds={SSE: EventSent}, within=WITHIN)},
        parameters={
            "from": text("go on after this event", pattern=r"^([0-9]{1,18}(\.[0-9]{1,9})?)?$"),
            "last": whole("begin with so many of the last"),
            "kind": text("only of these kinds, with commas between them", pattern=f"^({_KIND}(,{_KIND})*)?$"),
            "name": text("only of this name: in namespace default, or namespace/name"),
            "follow": text("0: end with what there is", enum=["1", "0"], default="1"),
        },
        headers=("Last-Event-ID",),
        refuses=frozenset({410}),
    ),
}
