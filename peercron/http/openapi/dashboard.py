"""Dashboard: the page for people, and its files."""

from __future__ import annotations

from typing import Final

from peercron.http.dashboard import KINDS
from peercron.http.openapi.operation import TEXT, Content, Operation

_KNOWN: Final = Content(headers=("ETag",))
OPERATIONS: Final = {
    "GET /": Operation(
        "openDashboard",
        {200: Content(kinds={KINDS["html"]: TEXT}, headers=("ETag",)), 304: _KNOWN},
        headers=("Known-ETag",),
    ),
    "GET /ui/{file}": Operation(
        "openFile",
        {200: Content(kinds=dict.fromkeys(KINDS.values(), TEXT), headers=("ETag",)), 304: _KNOWN},
        headers=("Known-ETag",),
    ),
}
