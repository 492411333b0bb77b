"""Replies: what a node's answer speaks of, and what it means that there was none."""

from __future__ import annotations

import http.client
import json

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


def worse(said: PeercronError, error: PeercronError) -> PeercronError:
    """Of two nodes' answers the one that says more; what one may have done, another has not undone."""
    if isinstance(said, OutcomeUnknown):
        return said
    return said if isinstance(error, Unreachable) and not isinstance(said, Unreachable) else error


def error_of(status: int, body: bytes, where: str) -> PeercronError:
    """The error that a problem+json answer speaks of."""
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
        found = [Problem(str(each["path"]), str(each["message"])) for each in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError):
        return Unreachable(f"{where} is not a peercron node: it answered {status} in another language")
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


def unanswered(where: str, method: str, error: Exception) -> PeercronError:
    if method in SAFE:
        return Unreachable(f"{where} did not answer: {reason_of(error)}")
    return OutcomeUnknown(f"{where} did not answer ({reason_of(error)}): it may have been done")


def reason_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        # What it sent instead is not for a terminal.
        return "it does not speak HTTP; a node does at the port of --peers + 1000"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
