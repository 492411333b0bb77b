"""Health's part of apply: verdicts come in when they change, and go with who gave them."""

from __future__ import annotations

from collections.abc import Callable

from peercron.core.apply.probe import note_probe
from peercron.core.apply.standing import note_unfit
from peercron.core.check import TRIGGER_CHECK
from peercron.core.commands import ReportHealth
from peercron.core.fitness import unfit
from peercron.core.health import HealthReport, Opinion
from peercron.core.job import Definition, Job
from peercron.core.limits import HEALTH_DETAIL_LENGTH_MAX, HEALTH_REPORTS_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: Whether the word (check, subject, observer, well) goes.
Gone = Callable[[str, str, str, bool], bool]


def report_health(state: ClusterState, command: ReportHealth) -> Verdict:
    """The answer is how many verdicts changed; those on what is not there any more are passed over."""
    observer = state.members.get(command.observer)
    if observer is None or not observer.open or observer.session != command.session:
        detail = f"session {command.session} is not the open one of {command.observer}"
        return Refused(state.index, Refusal.STALE_SESSION, detail)
    if len(command.reports) > HEALTH_REPORTS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"reports: at most {HEALTH_REPORTS_MAX} are taken at once")
    return Done(state.index, sum(_take(state, command.observer, report) for report in command.reports))


def forget_session(state: ClusterState, member_id: str) -> None:
    """It is not there any more: those that are have the say. When it is back, it must be looked at to be well."""
    _forget(state, lambda _check, subject, observer, well: observer == member_id or (subject == member_id and well))


def doubt_session(state: ClusterState, member_id: str) -> None:
    """It came back anew: its last word stands until it has looked again, so that nobody is well for want of words.

    What it said good of itself does not: what it runs may not have come back with it. Nor does what starts jobs.
    """
    _forget(
        state,
        lambda check, subject, observer, well: subject == observer == member_id and (well or check == TRIGGER_CHECK),
    )


def forget_subject(state: ClusterState, member_id: str) -> None:
    """It is no member any more."""
    _forget(state, lambda _check, subject, _observer, _well: subject == member_id)
    for uid, edges in tuple(state.edges.items()):
        if edges.pop(member_id, None) is not None and not edges:
            del state.edges[uid]


def forget_checks(state: ClusterState, job: Job, before: Definition) -> None:
    """Its definition changed: what was said of a check that is another now, or is gone, is not said of this one."""
    kept = {check.name for check in job.definition.watched if check in before.watched}
    if TRIGGER_CHECK not in kept:
        state.edges.pop(job.uid, None)
    _forget_in(state, job.uid, lambda check, _subject, _observer, _well: check not in kept)


def forget_job(state: ClusterState, job_uid: str) -> None:
    """It is deleted."""
    state.health.pop(job_uid, None)
    state.edges.pop(job_uid, None)


def _take(state: ClusterState, observer: str, report: HealthReport) -> bool:
    job = state.jobs.get(report.job_uid)
    if job is None or report.subject not in state.members:
        return False
    if not any(check.name == report.check for check in job.definition.watched):
        return False
    said = state.health.setdefault(report.job_uid, {})
    member = state.members[report.subject]
    was_fit = not unfit(state, job.definition, member)
    key = (report.check, report.subject, observer)
    present = said.get(key)
    if present is not None and present.well is report.well:
        return False
    said[key] = Opinion(report.well, state.now_ms, report.detail[:HEALTH_DETAIL_LENGTH_MAX])
    told = {"job": job.key, "check": report.check, "observer": state.members[observer].info.name}
    state.happened("health", "good" if report.well else "bad", member.info.name, **told, detail=said[key].detail)
    if was_fit and unfit(state, job.definition, member):
        note_unfit(state, member)
    state.touch(report.job_uid)
    if report.check == TRIGGER_CHECK and report.subject == observer:
        note_probe(state, job, observer)
    return True


def _forget(state: ClusterState, gone: Gone) -> None:
    for job_uid in tuple(state.health):
        _forget_in(state, job_uid, gone)


def _forget_in(state: ClusterState, job_uid: str, gone: Gone) -> None:
    said = state.health.get(job_uid, {})
    dropped = [key for key, opinion in said.items() if gone(*key, opinion.well)]
    for key in dropped:
        del said[key]
    if dropped:
        state.touch(job_uid)
        if not said:
            del state.health[job_uid]
