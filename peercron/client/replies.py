"""Replies: what a node's answer speaks of, and what it means that there was none."""

from __future__ import annotations

import http.client
import json
from typing import Final

from peercron.errors import (
    Busy,
    Compacted,
    ConfigError,
    NoLeader,
    OutcomeUnknown,
    PeercronError,
    Problem,
    Refused,
    Unreachable,
)

#: Methods that may be sent again although the first may have been carried out.
SAFE = frozenset({"GET", "HEAD"})


#: A header of every answer of a node, whatever it says.
MARK: Final = "Peercron-Index"
NO_HTTP: Final = "it does not speak HTTP; a node does at the port of --peers + 1000"
BROKE_OFF: Final = "its answer broke off"


def worse(said: PeercronError, error: PeercronError) -> PeercronError:
    """Of two nodes' answers the one that says more; what one may have done, another has not undone."""
    if isinstance(said, OutcomeUnknown):
        return said
    return said if isinstance(error, Unreachable) and not isinstance(said, Unreachable) else error


def stranger(status: int, mark: str | None, where: str, method: str) -> PeercronError | None:
    """What it means that an answer is no node's; None: it is one's. `mark` is its header MARK. A page that somebody
    else has at that address is not what was asked for, however well it went.
    """
    return _in_another_language(status, where, method) if mark is None else None


def error_of(status: int, body: bytes, where: str, method: str = "GET") -> PeercronError:
    """The error that a problem+json answer to a request of this method speaks of."""
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
        found = [Problem(str(each["path"]), str(each["message"])) for each in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError):
        return _in_another_language(status, where, method)
    match code:
        case "no_leader" | "stale_session":
            return NoLeader(detail)
        case "busy":
            return Busy(detail)
        case "unknown_outcome":
            return OutcomeUnknown(detail)
        case "compacted":
            return Compacted(int(problem.get("index", 0)), detail)
        case _ if found:
            return ConfigError(found)
        case _:
            return Refused(code, detail)


def _in_another_language(status: int, where: str, method: str) -> PeercronError:
    said = f"it answered {status} in another language"
    # A gateway that says that it got no answer may have passed the request on.
    if status >= http.client.INTERNAL_SERVER_ERROR and method not in SAFE:
        return OutcomeUnknown(f"{where} is not a peercron node: {said}; a node behind it may have done it")
    return Unreachable(f"{where} is not a peercron node: {said}")


def unanswered(where: str, method: str, error: Exception) -> PeercronError:
    if method in SAFE:
        return Unreachable(f"{where} did not answer: {reason_of(error)}")
    return OutcomeUnknown(f"{where} did not answer ({reason_of(error)}): it may have been done")


def reason_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        # What it sent instead is not for a terminal.
        return NO_HTTP
    if isinstance(error, http.client.IncompleteRead):
        return BROKE_OFF
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
