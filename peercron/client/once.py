"""Once: what a write carries so that the cluster knows it again when it comes a second time, by another node."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final

from peercron.client.replies import SAFE

#: From this level of the cluster on an Idempotency-Key is heeded.
ONCE_LEVEL: Final = 2
#: What a node is asked to be known: it needs no leader.
STATUS: Final = "/v1/status"
#: What these do is no command of the log, by which it would be known again.
_UNHEEDED: Final = re.compile(r"DELETE /v1/members/[^/]+|POST /v1/leader:transfer")


def key_of(method: str, path: str) -> dict[str, str]:
    """The header of a write of its own; empty: the route does not heed one."""
    if method in SAFE or _UNHEEDED.fullmatch(f"{method} {path}"):
        return {}
    return {"Idempotency-Key": secrets.token_hex(16)}


def since(told: Mapping[str, str]) -> dict[str, str]:
    """What a write says that comes again, by what a node told (names in lower case) before it came first: not before
    which index that was. Empty: the cluster does not know requests again.
    """
    level, index = told.get("peercron-level", ""), told.get("peercron-index", "")
    if not (level.isdigit() and index.isdigit() and int(level) >= ONCE_LEVEL):
        return {}
    return {"Idempotency-Since": str(max(1, int(index)))}
