"""Definitions: what a stored job must obey, told in one sentence that names the field as jobs.toml writes it.

Cron expressions and time zones are only measured here, not read: what they mean depends on the time zone data of the
machine, and members that disagreed about it would part. Whoever takes a definition in asks `core.schedule.check`.
"""

from __future__ import annotations

from peercron.core import params
from peercron.core.apply.check import flaw_of_checks
from peercron.core.apply.occasion import flaw_of_occasion
from peercron.core.apply.task import flaw_of_task
from peercron.core.calendar import flaw_of_calendars
from peercron.core.job import (
    AtTrigger,
    ClassTask,
    CommandTask,
    CronTrigger,
    Definition,
    EveryTrigger,
    Guarantee,
    ManualTrigger,
    Mode,
    OnAbsent,
    Overlap,
    Trigger,
)
from peercron.core.limits import (
    AFTER_MAX,
    EVERY_MS_MIN,
    EXPRESSION_LENGTH_MAX,
    INSTANT_MS_MAX,
    JITTER_MS_MAX,
    LIVE_RUNS_PER_JOB_MAX,
    MEMBERS_MAX,
    MISFIRE_REPLAY_MAX,
    NAME_LENGTH_MAX,
    OWNER_LENGTH_MAX,
    PROCESSES_MAX_MAX,
    RETRIES_MAX,
    SLICE_MS_MAX,
    SLICE_MS_MIN,
    TIMEOUT_MS_MAX,
)
from peercron.core.naming import named as named
from peercron.core.pace import Require
from peercron.core.posting import flaw_of_queue
from peercron.core.where import where_flaw

#: What a node can do by itself when an earlier run of its own is alive.
_OVERLAPS_ALONE = (Overlap.FORBID, Overlap.ALLOW)
_NAME_RULE = f"wants letters, digits, '.', '_', '-', no '.' or '-' first, at most {NAME_LENGTH_MAX}"


def flaw(definition: Definition) -> str:
    """What is wrong with the definition, in one sentence that begins with the field; empty: nothing.

    >>> flaw(Definition("a", EveryTrigger(5), CommandTask(("true",))))
    'every: 5 ms is less than 100 ms'
    """
    return (
        _flaw_of_names(definition)
        or _trigger(definition.trigger)
        or flaw_of_task(definition.task)
        or _policies(definition)
        or _slices(definition)
    )


def _flaw_of_names(definition: Definition) -> str:
    if not named(definition.name):
        return f"name: {_NAME_RULE}, not {definition.name[:NAME_LENGTH_MAX]!r}"
    if not named(definition.namespace):
        return f"namespace: {_NAME_RULE}, not {definition.namespace[:NAME_LENGTH_MAX]!r}"
    if len(definition.owner) > OWNER_LENGTH_MAX or not _plain(definition.owner):
        return f"owner: wants at most {OWNER_LENGTH_MAX} printable characters"
    if len(definition.nodes) > MEMBERS_MAX:
        return f"nodes: {len(definition.nodes)} are named, a cluster has at most {MEMBERS_MAX}"
    if len(set(definition.nodes)) < len(definition.nodes):
        return "nodes: one is named twice"
    wrong = next((node for node in definition.nodes if not named(node)), None)
    return f"nodes: {_NAME_RULE}, not {wrong[:NAME_LENGTH_MAX]!r}" if wrong is not None else ""


def _trigger(trigger: Trigger) -> str:
    match trigger:
        case CronTrigger():
            if not 0 < len(trigger.expression) <= EXPRESSION_LENGTH_MAX:
                return f"schedule: wants 1 to {EXPRESSION_LENGTH_MAX} characters"
            return "" if 0 < len(trigger.timezone) <= NAME_LENGTH_MAX else "timezone: wants the name of a time zone"
        case EveryTrigger():
            if trigger.every_ms < EVERY_MS_MIN:
                return f"every: {trigger.every_ms} ms is less than {EVERY_MS_MIN} ms"
            if trigger.every_ms > INSTANT_MS_MAX or not 0 <= trigger.anchor_ms <= INSTANT_MS_MAX:
                return "every, anchor: want an instant between the years 1970 and 9999"
            return ""
        case AtTrigger():
            return (
                "" if 0 <= trigger.at_ms <= INSTANT_MS_MAX else "at: wants an instant between the years 1970 and 9999"
            )
        case _:
            return flaw_of_occasion(trigger)


def _policies(definition: Definition) -> str:
    misfire = definition.misfire
    if not 0 <= definition.timeout_ms <= TIMEOUT_MS_MAX:
        return f"timeout: wants 0 (none) to {TIMEOUT_MS_MAX} ms"
    if not 0 <= definition.kill_grace_ms <= TIMEOUT_MS_MAX:
        return f"kill_grace: wants 0 to {TIMEOUT_MS_MAX} ms"
    if not 0 <= definition.failback_after_ms <= TIMEOUT_MS_MAX:
        return f"failback_after: wants 0 to {TIMEOUT_MS_MAX} ms"
    if not 0 <= definition.processes_max <= PROCESSES_MAX_MAX:
        return f"processes_max: wants 0 (the bound of all jobs) to {PROCESSES_MAX_MAX}"
    if definition.processes_max and not isinstance(definition.task, CommandTask | ClassTask):
        return "processes_max: has a meaning only with command, shell or class"
    wrong = _sharing(definition)
    if wrong:
        return wrong
    if not 0 <= misfire.window_ms <= INSTANT_MS_MAX:
        return "misfire.window: wants 0 (the default) or more"
    if not 1 <= misfire.max <= MISFIRE_REPLAY_MAX:
        return f"misfire.max: wants 1 to {MISFIRE_REPLAY_MAX}"
    if not 0 <= definition.jitter_ms <= JITTER_MS_MAX:
        return f"jitter: wants 0 (none) to {JITTER_MS_MAX} ms"
    given = params.flaw(definition.params, definition.task)
    order = given or _order(definition) or flaw_of_queue(definition) or flaw_of_calendars(definition)
    return order or _capacity(definition) or _retry(definition) or flaw_of_checks(definition.checks)


def _capacity(definition: Definition) -> str:
    per_node, per_job = definition.concurrency.per_node, definition.concurrency.per_job
    if not (0 <= per_node <= LIVE_RUNS_PER_JOB_MAX and 0 <= per_job <= LIVE_RUNS_PER_JOB_MAX):
        return f"concurrency: wants 0 (any number) to {LIVE_RUNS_PER_JOB_MAX}"
    if per_node and definition.mode in {Mode.STANDBY, Mode.TURNS}:
        return f"concurrency: per_node has no meaning with mode {definition.mode.value}, which says where a run goes"
    if definition.pool and not named(definition.pool):
        return f"pool: {_NAME_RULE}, not {definition.pool[:NAME_LENGTH_MAX]!r}"
    if definition.lock and not all(map(named, (definition.lock.partition("/")[0], definition.lock.partition("/")[2]))):
        return f"lock: wants namespace/name, not {definition.lock[:NAME_LENGTH_MAX]!r}"
    return ""


def _order(definition: Definition) -> str:
    after = definition.after
    if not after:
        return "" if definition.require is Require.ALL_SUCCEEDED else "require: has a meaning only with after"
    if not isinstance(definition.trigger, ManualTrigger):
        return "after: cannot stand beside schedule, every or at: the ends of other jobs are the slots of this one"
    if len(after) > AFTER_MAX or len(set(after)) < len(after):
        return f"after: wants at most {AFTER_MAX} jobs, each once"
    wrong = next((key for key in after if key.count("/") != 1 or not all(map(named, key.split("/")))), None)
    return "" if wrong is None else f"after: {wrong[: 2 * NAME_LENGTH_MAX]!r} is not the name of a job"


def _retry(definition: Definition) -> str:
    retry = definition.retry
    if not 0 <= retry.max <= RETRIES_MAX:
        return f"retry.max: wants 0 (none) to {RETRIES_MAX}"
    if not 0 <= retry.base_ms <= retry.cap_ms <= TIMEOUT_MS_MAX:
        return f"retry.base, retry.cap: want 0 to {TIMEOUT_MS_MAX} ms, and base no longer than cap"
    if retry.max and definition.guarantee is Guarantee.AT_MOST_ONCE:
        return "retry: would start a slot's work again, and guarantee at_most_once says that it is started once"
    return ""


def _slices(definition: Definition) -> str:
    if definition.mode is not Mode.SLICE:
        if definition.slice_ms:
            return "slice: has a meaning only with mode slice"
        return "" if definition.on_absent is OnAbsent.SKIP else "on_absent: has a meaning only with mode slice"
    if not SLICE_MS_MIN <= definition.slice_ms <= SLICE_MS_MAX:
        return f"slice: mode slice wants {SLICE_MS_MIN} to {SLICE_MS_MAX} ms, not {definition.slice_ms}"
    if definition.lock:
        return "lock: is given by the cluster, and in mode slice the nodes fire their own slices and ask nobody"
    return _alone(definition) if definition.on_absent is OnAbsent.SKIP else ""


def _alone(definition: Definition) -> str:
    """What the nodes of a job cannot do each by itself, with nobody to ask."""
    if not isinstance(definition.trigger, CronTrigger | EveryTrigger | AtTrigger):
        return (
            "on_absent: skip wants a schedule, every or at: the nodes fire by their clocks, and nobody else starts it"
        )
    if definition.after:
        return "after: takes a quorum; with on_absent skip the nodes fire by their clocks alone"
    if definition.overlap not in _OVERLAPS_ALONE:
        return f"overlap: {definition.overlap.value} takes a quorum; slices with on_absent skip know forbid and allow"
    if definition.retry.max:
        return "retry: takes a quorum; with on_absent skip a slot is tried once, by the node whose slice it is"
    if definition.concurrency.per_node or definition.concurrency.per_job or definition.pool:
        return "concurrency, pool: are counted by the cluster, and with on_absent skip the nodes ask nobody"
    if definition.jitter_ms:
        return "jitter: with on_absent skip a slot is fired at its instant, or it would lose its slice's time"
    return ""


def _plain(text: str) -> bool:
    return text.isprintable()


def _sharing(definition: Definition) -> str:
    """How the nodes share it."""
    if definition.where and (wrong := where_flaw(definition.where)):
        return f"where: {wrong}"
    if not 0 <= definition.count <= MEMBERS_MAX:
        return f"count: wants 0 (all of them) to {MEMBERS_MAX}"
    if len(definition.order) > MEMBERS_MAX or len(set(definition.order)) < len(definition.order):
        return f"order: wants at most {MEMBERS_MAX} nodes, none of them twice"
    strangers = [name for name in definition.order if definition.nodes and name not in definition.nodes]
    if strangers or not all(map(named, definition.order)):
        return "order: wants names of nodes" + (f"; {strangers[0]} is not one of the job's nodes" if strangers else "")
    if definition.order and (definition.sync or definition.count):
        return "order: one after another has no meaning together with sync or count"
    if definition.lock and definition.sync:
        return "lock: those that start together cannot exclude each other; leave sync or lock out"
    return ""
