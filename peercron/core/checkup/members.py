"""Members: whether there is a quorum and how many failures it bears, who is missing, behind, expected or drained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from peercron.core.checkup.finding import Finding, critical, note, span, warning
from peercron.core.level import LEVEL, behind
from peercron.core.state import ClusterState

Row = Mapping[str, Any]

#: Who was silent for so long does not come back by itself.
DEAD_MS: Final = 600_000
#: Entries that a healthy member is behind for a moment only.
BEHIND_MAX: Final = 1_000
#: Somebody who was to join did not, for so long.
INVITED_LONG_MS: Final = 3_600_000
#: Members of a cluster that votes.
VOTING: Final = ("voter", "witness")


def of_cluster(status: Row, state: ClusterState) -> Iterator[Finding]:
    """Status JSON of one node, and its state."""
    if status["leader"] is None:
        reach = next((n for n in status.get("notes", ()) if n.startswith("no leader")), "no leader")
        advice = "start the missing voters; where a majority is gone for good: peercron recover"
        yield critical("no_leader", "cluster", reach, advice)
    elif not status.get("survives") and status.get("voters", 0) > 2:
        what = f"one more failure stops it: {status['quorum']} of {status['voters']} voters have to be there"
        yield warning("no_spare", "cluster", what, "bring back who is missing, or remove it and add another member")
    yield from _voters(status)
    if state.paused:
        yield warning("cluster_paused", "cluster", "the schedules of all jobs are stopped", "peercron resume")
    yield from _versions(status, state)


def of_members(status: Row, state: ClusterState, now_ms: int) -> Iterator[Finding]:
    """Each member as status shows it."""
    for row in status["members"]:
        if row["state"] == "invited":
            continue
        yield from _member(row)
        if row.get("drained"):
            yield _drained(row)
    for invitation in state.invitations.values():
        if now_ms - invitation.invited_ms >= INVITED_LONG_MS:
            who = invitation.name or invitation.address
            what = f"expected for {span(now_ms - invitation.invited_ms)}, and did not join"
            advice = f"start it there with --join, or peercron member remove {who}"
            yield note("invited_long", f"node {who}", what, advice)


def _member(row: Row) -> Iterator[Finding]:
    name, where = row["name"], f"node {row['name']}"
    silent_ms = row.get("silent_ms") or 0
    if row["state"] == "unreachable" and silent_ms >= DEAD_MS:
        advice = f"start it again; if it is gone for good: peercron member remove {name}, and add another"
        yield critical("member_dead", where, f"not heard of for {span(silent_ms)}", advice)
    elif row["state"] == "unreachable":
        what = f"not heard of for {span(silent_ms)}" if silent_ms else "it is not there"
        yield warning("member_unreachable", where, what, "look at its process, its log, and the network to it")
    elif row["state"] == "connected":
        what = "connected, and has not answered the leader yet"
        yield warning("member_silent", where, what, "if it stays so its process hangs: look at its log")
    elif row["state"] == "halted":
        yield critical(
            "member_halted", where, "its consensus has stopped", "its log says why; start it again after that"
        )
    if (row.get("behind") or 0) > BEHIND_MAX:
        what = f"{row['behind']} entries behind: it is no help in a failure"
        yield warning("member_behind", where, what, "look at its disk and its load; it catches up by itself")


def _drained(row: Row) -> Finding:
    running = row.get("running") or 0
    what = f"drained, and {running} of its runs go on" if running else "drained, and nothing runs there any more"
    advice = f"when its maintenance is over: peercron member undrain {row['name']}"
    return (note if running else warning)("member_drained", f"node {row['name']}", what, advice)


def _voters(status: Row) -> Iterator[Finding]:
    roles = [
        row["role"] for row in status["members"] if row["role"] in VOTING and row["state"] not in ("invited", "removed")
    ]
    if len(roles) == 2 and "witness" not in roles:
        what = "two voters and no witness: losing either stops everything but slices"
        yield warning(
            "two_voters", "cluster", what, "peercron member add HOST:PORT --role witness, on any small machine"
        )
    elif len(roles) == 2:
        what = "one voter and one witness: losing either stops everything but slices"
        yield warning("two_voters", "cluster", what, "peercron member add HOST:PORT")
    elif len(roles) == 1:
        advice = "peercron member add HOST:PORT, twice"
        yield note("one_voter", "cluster", "one voter: nothing takes over when it fails", advice)
    elif roles and len(roles) % 2 == 0:
        what = f"{len(roles)} voters bear no more failures than {len(roles) - 1} would"
        yield note("even_voters", "cluster", what, "peercron member add HOST:PORT --role witness, or one less")


def _versions(status: Row, state: ClusterState) -> Iterator[Finding]:
    versions: dict[str, list[str]] = {}
    for row in status["members"]:
        if row.get("version"):
            versions.setdefault(row["version"], []).append(row["name"])
    if len(versions) > 1:
        told = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(versions.items()))
        advice = "finish the upgrade: one node after another"
        yield note("versions_mixed", "cluster", f"members run different versions ({told})", advice)
    if state.level < LEVEL and (old := tuple(behind(state, LEVEL))):
        what = f"level {state.level} of the language is in force, and not {LEVEL}, for {', '.join(old)}"
        yield note("level_behind", "cluster", what, "upgrade them, start them if they are down, or remove them")
