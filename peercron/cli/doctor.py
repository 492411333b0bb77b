"""peercron doctor: every member asked, and what is wrong with each and with the whole, the worst first."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from peercron.cli.failures import DEGRADED, OK
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import is_terminal, listing, record, say

if TYPE_CHECKING:
    from peercron.core.checkup.finding import Finding

Row = Mapping[str, Any]

PATH = "/v1/doctor"
#: To look at a hundred thousand jobs takes a node some seconds.
LOOK_S = 30.0
#: How long a port may take to be connected to.
CONNECT_S = 2.0
#: What is no member yet, or none any more.
NO_MEMBER = ("invited", "removed")
WORST_FIRST = ("critical", "warning", "note")
_STYLES = {"critical": "red", "warning": "yellow", "note": "dim"}


@click.command()
@common()
def doctor() -> int:
    """What is wrong, how bad that is, and what to do. Exit: 0 fine, 5 degraded, 4 nobody answers.

    The first node that answers is asked about the cluster, and every member about itself; the ports of all are tried
    from here. Notes say what may be meant, and do not count.
    """
    options = options_of()
    connection = options.connection()
    first = connection.request("GET", PATH, answer_s=LOOK_S).json
    status = connection.request("GET", "/v1/status").json
    members = [row for row in status["members"] if row["state"] not in NO_MEMBER]
    seen = list(_rounds(options, members, first["node"]))
    answers = [first, *(answer for answer, _ in seen if answer is not None)]
    found = [finding for answer in answers for finding in answer["findings"]]
    found += [finding.view for _, findings in seen for finding in findings]
    found += [finding.view for finding in _differences(answers)]
    found.sort(key=lambda finding: WORST_FIRST.index(finding["severity"]))
    degraded = any(finding["severity"] != "note" for finding in found)
    _show(
        options, {"verdict": "degraded" if degraded else "fine", "cluster": status["cluster"]}, answers, members, found
    )
    return DEGRADED if degraded else OK


def _show(options: Options, head: dict[str, Any], answers: list[Row], members: list[Row], found: list[Row]) -> None:
    asked = [answer["node"] for answer in answers]
    if not options.for_people:
        if options.output in ("jsonl", "name"):
            listing(options, found, (), name="check")
        else:
            record(options, head | {"asked": asked, "findings": found}, ())
        return
    for finding in found:
        severity = f"{finding['severity']:<8}"
        if is_terminal(options):
            severity = click.style(severity, fg=_colour(finding["severity"]), bold=True)
        check = f"  [{finding['check']}]" if options.output == "wide" else ""
        say(options, f"{severity}  {finding['where']}: {finding['what']}{check}")
        say(options, f"          → {finding['advice']}")
    say(options, f"{head['cluster']}: {head['verdict']}; {len(asked)} of {len(members)} members asked, {_count(found)}")


def _colour(severity: str) -> str | None:
    return {"critical": "red", "warning": "yellow"}.get(severity)


def _count(found: list[Row]) -> str:
    counts = [(sum(finding["severity"] == word for finding in found), word) for word in WORST_FIRST]
    told = [f"{count} {word}{'s' if count != 1 and word != 'critical' else ''}" for count, word in counts if count]
    return ", ".join(told) or "nothing found"


def _rounds(options: Options, members: list[Row], asked: str) -> Iterable[tuple[Row | None, list[Finding]]]:
    """Of each member what it says of itself (None: nothing, or it was asked already), and whether it can be reached."""
    from concurrent.futures import ThreadPoolExecutor

    if not members:
        return ()
    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(lambda row: _round(options, row, ask=row["name"] != asked), members))


def _round(options: Options, row: Row, *, ask: bool) -> tuple[Row | None, list[Finding]]:
    found = _peer_port(row)
    if not ask or not row.get("http"):
        return None, found
    answer, wrong = _asked(options, row)
    if answer is None and found and wrong:
        return None, [_gone(row, wrong[0])]
    return answer, found + wrong


def _asked(options: Options, row: Row) -> tuple[Row | None, list[Finding]]:
    from peercron.client import Connection
    from peercron.core.checkup.finding import critical, note
    from peercron.errors import PeercronError, Unreachable

    where, like = f"node {row['name']}", options.connection()
    scheme = "https" if options.addresses[0].startswith("https:") else "http"
    connection = Connection((f"{scheme}://{row['http']}",), options.timeout_s, like.token, like.ca_file)
    try:
        return connection.request("GET", PATH, params={"scope": "node"}).json, []
    except Unreachable as error:
        advice = f"is its process there, and {row['http']} open from here? Its log and `peercron status` say more"
        return None, [critical("http_unreachable", where, f"HTTP does not answer: {error.message}", advice)]
    except PeercronError as error:
        if error.code == "not_found":
            what = f"it runs {row.get('version') or 'an older version'}, which cannot be asked about itself"
            return None, [note("not_asked", where, what, "upgrade it")]
        what = f"it does not say how it is: {error.message}"
        return None, [note("not_asked", where, what, "ask it: peercron doctor --addr, with its address")]


def _gone(row: Row, said: Finding) -> Finding:
    """One finding, where neither port answers."""
    from peercron.core.checkup.finding import critical

    what = f"neither {row['address']} (peers) nor {row['http']} (HTTP) can be connected to from here"
    return critical("unreachable", said.where, what, "is its process there? If so, its log says more; else start it")


def _peer_port(row: Row) -> list[Finding]:
    """Whether somebody listens where the other members reach it."""
    from peercron.address import split_address
    from peercron.core.checkup.finding import critical, note

    host, port = split_address(row["address"])
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        what = f"{row['address']} cannot be connected to from here: {error.strerror or error}"
        if row["state"] in ("leader", "follower", "learner"):
            told = f"{what}; the members reach it"
            return [note("peer_port", f"node {row['name']}", told, "a firewall between here and there is no fault")]
        advice = "is its process there, and its port open for the other members?"
        return [critical("peer_port", f"node {row['name']}", what, advice)]
    return []


def _differences(answers: list[Row]) -> list[Finding]:
    """What the nodes say differently of the same thing."""
    from peercron.core.checkup.finding import warning

    leaders = dict.fromkeys(answer["leader"] for answer in answers if answer["leader"] is not None)
    told = "; ".join(f"{a['node']}: {a['leader'] or 'nobody'} (term {a['term']})" for a in answers)
    advice = "ask again: it passes with an election, and lasts where the network lets only some reach each other"
    if len(leaders) > 1:
        return [warning("leaders_differ", "cluster", f"nodes name different leaders: {told}", advice)]
    lost = [a["node"] for a in answers if a["leader"] is None]
    if leaders and lost:
        what = f"{', '.join(lost)} {'know' if len(lost) > 1 else 'knows'} of no leader, others do: {told}"
        return [warning("leaders_differ", "cluster", what, advice)]
    return []
