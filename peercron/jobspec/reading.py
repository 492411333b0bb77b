"""From tables to definitions: every problem of a document at once, each with the path of its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from peercron.core import limits
from peercron.core.apply.definition import flaw
from peercron.core.job import (
    AtTrigger,
    CronTrigger,
    Definition,
    EveryTrigger,
    Misfire,
    Mode,
    OnAbsent,
    Trigger,
)
from peercron.core.schedule import check
from peercron.errors import ConfigError, Problem
from peercron.jobspec.checks import read_checks
from peercron.jobspec.modes import read_mode
from peercron.jobspec.policies import read_policies
from peercron.jobspec.tables import DEFAULT_KEYS, DOCUMENT_KEYS, JOB_KEYS, JobTable, convert, join, key_problems
from peercron.jobspec.tasks import KEYS_OF_KINDS, read_task
from peercron.jobspec.triggers import TRIGGER_KEYS, read_occasion
from peercron.jobspec.wrong import Wrong, duration_ms
from peercron.times import instant_ms

VERSION = 1
#: Triggers by what the clock says.
_TIMES = frozenset({"schedule", "every", "at"})
#: A year: what is rarer has a date, and a date is a cron expression.
EVERY_MS_MAX = 366 * 86_400_000
#: A name stands in URLs and keys, before ":run" and between slashes.
NAME_PATTERN = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{limits.NAME_LENGTH_MAX - 1}}}")

#: Keys that have a meaning in some modes only; as defaults they are for the jobs in these.
_KEYS_OF_MODES: dict[str, tuple[Mode, ...]] = {"slice": (Mode.SLICE,), "on_absent": (Mode.SLICE,)}


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job as written: its definition, and whether it shall be paused (None: as it is)."""

    definition: Definition
    paused: bool | None = None

    @property
    def key(self) -> str:
        return f"{self.definition.namespace}/{self.definition.name}"


@dataclass(frozen=True, slots=True)
class JobsDocument:
    """A jobs.toml as a whole."""

    specs: tuple[JobSpec, ...] = ()
    owner: str = ""

    @property
    def definitions(self) -> tuple[Definition, ...]:
        return tuple(spec.definition for spec in self.specs)


@dataclass(slots=True)
class _Problems:
    """What is wrong with one table, as it is found."""

    path: str
    found: list[Problem] = field(default_factory=list)

    def __call__(self, key: str, message: str) -> None:
        self.found.append(Problem(join(self.path, key), message))


def read_document(document: object) -> JobsDocument:
    """The jobs of a whole document (the content of jobs.toml); ConfigError carries every problem of every job."""
    problems = key_problems(document, "", DOCUMENT_KEYS)
    if not isinstance(document, dict):
        raise ConfigError([Problem("", "must be a table with version, owner, defaults and jobs")])
    wrong = _Problems("", problems)
    owner = _document_head(document, wrong)
    defaults = _defaults(document.get("defaults", {}), wrong)
    specs = _jobs(document.get("jobs", []), owner, defaults, wrong)
    if wrong.found:
        raise ConfigError(wrong.found)
    return JobsDocument(specs, owner)


def read_job(table: object, *, path: str = "", owner: str = "") -> JobSpec:
    """One job from its table (a JSON body has the same keys as [[jobs]]); ConfigError carries every problem."""
    if not isinstance(table, dict):
        raise ConfigError([Problem(path, "must be a table")])
    wrong = _Problems(path)
    shaped, wrong.found = convert(table, JobTable, path)
    if shaped is None:
        raise ConfigError(wrong.found)
    definition = _definition(shaped, owner, wrong)
    if not wrong.found and (problem := flaw(definition)):
        # The state machine's own check has the last word; what it says begins with the key.
        key, _, message = problem.partition(": ")
        wrong(key, message)
    if wrong.found:
        raise ConfigError(wrong.found)
    return JobSpec(definition, shaped.paused)


def _document_head(document: Mapping[str, object], wrong: Wrong) -> str:
    version, owner = document.get("version", VERSION), document.get("owner", "")
    if version != VERSION or isinstance(version, bool):
        wrong("version", f"must be {VERSION}, not {version!r}")
    if not isinstance(owner, str) or len(owner) > limits.NAME_LENGTH_MAX:
        wrong("owner", f"must be text of at most {limits.NAME_LENGTH_MAX} characters")
        return ""
    return owner


def _defaults(defaults: object, wrong: _Problems) -> dict[str, object]:
    problems = key_problems(defaults, "defaults", DEFAULT_KEYS)
    if not problems and isinstance(defaults, dict):
        try:
            # A job that could have all of them stands in, so that a mistake is told once and where it stands.
            read_job(
                {"name": "x", "schedule": "0 0 * * *", "shell": "x"} | _mode_of(defaults) | defaults, path="defaults"
            )
        except ConfigError as error:
            problems += error.problems
    wrong.found += problems
    return {} if problems else dict(defaults) if isinstance(defaults, dict) else {}


def _mode_of(defaults: Mapping[str, object]) -> dict[str, object]:
    """A mode in which all that stands in the defaults has a meaning, where they name none themselves."""
    if defaults.get("mode") == Mode.QUEUE.value:
        return {"queue": "x"}  # which each job has its own of
    modes = [modes[0] for key, modes in _KEYS_OF_MODES.items() if key in defaults]
    return {"mode": modes[0].value} if modes else {}


def _jobs(jobs: object, owner: str, defaults: Mapping[str, object], wrong: _Problems) -> tuple[JobSpec, ...]:
    if not isinstance(jobs, list | tuple):
        wrong("jobs", "must be a list of tables: [[jobs]]")
        return ()
    specs: dict[str, JobSpec] = {}
    for n, table in enumerate(jobs):
        path = f"jobs[{n}]"
        try:
            spec = read_job(_with_defaults(table, defaults), path=path, owner=owner)
        except ConfigError as error:
            wrong.found += error.problems
            continue
        if spec.key in specs:
            wrong(f"{path}.name", f"{spec.key} is there twice")
        specs[spec.key] = spec
    return tuple(specs.values())


def _with_defaults(table: object, defaults: Mapping[str, object]) -> object:
    if not isinstance(table, dict):
        return table
    # Defaults that mean nothing to this kind of job do not make it wrong.
    idle = {"timezone", "dst"} if "schedule" not in table else set()
    idle |= {"jitter", "calendar"} if not _TIMES & table.keys() else set()
    idle |= {"retry"} if table.get("guarantee") == "at_most_once" else set()
    mode = table.get("mode", defaults.get("mode", Mode.SINGLE))
    idle |= {key for key, of in _KEYS_OF_MODES.items() if mode not in of}
    idle |= {key for key, kinds in KEYS_OF_KINDS.items() if not set(kinds) & table.keys()}
    merged = {key: value for key, value in defaults.items() if key not in idle} | table
    for key in ("env", "params"):
        if isinstance(own := table.get(key), dict) and isinstance(common := defaults.get(key), dict):
            merged[key] = common | own
    return merged


def _definition(table: JobTable, owner: str, wrong: Wrong) -> Definition:
    for key in ("name", "namespace"):
        if not NAME_PATTERN.fullmatch(getattr(table, key)):
            wrong(key, f"must be letters, digits, dots, dashes and underscores, at most {limits.NAME_LENGTH_MAX}")
    if len(set(table.nodes)) < len(table.nodes):
        wrong("nodes", "names a node twice")
    return Definition(
        name=table.name,
        namespace=table.namespace,
        owner=table.owner if table.owner is not None else owner,
        trigger=_trigger(table, wrong),
        task=read_task(table, wrong),
        nodes=table.nodes,
        overlap=table.overlap,
        guarantee=table.guarantee,
        misfire=_misfire(table, wrong),
        timeout_ms=duration_ms("timeout", table.timeout, wrong),
        kill_grace_ms=duration_ms("kill_grace", table.kill_grace, wrong),
        on_disconnect=table.on_disconnect,
        slice_ms=_slice_ms(table, wrong),
        on_absent=table.on_absent,
        checks=read_checks(table.checks, wrong),
        processes_max=table.processes_max or 0,
        **read_mode(table, wrong),
        **read_policies(table, wrong),
    )


def _slice_ms(table: JobTable, wrong: Wrong) -> int:
    if table.mode is not Mode.SLICE:
        for key, normal in (("slice", "0s"), ("on_absent", OnAbsent.SKIP)):
            if getattr(table, key) != normal:
                wrong(key, "has a meaning only with mode slice")
        return 0
    if table.slice == "0s":
        wrong("slice", "required with mode slice: how long a node has its turn, such as 10s")
        return limits.SLICE_MS_MIN
    return duration_ms("slice", table.slice, wrong, min_ms=limits.SLICE_MS_MIN, max_ms=limits.SLICE_MS_MAX)


def _misfire(table: JobTable, wrong: Wrong) -> Misfire:
    window_ms = duration_ms("misfire.window", table.misfire.window, wrong)
    slots_max = Misfire().max if table.misfire.max is None else table.misfire.max
    if not 1 <= slots_max <= limits.MISFIRE_REPLAY_MAX:
        wrong("misfire.max", f"must be from 1 to {limits.MISFIRE_REPLAY_MAX}")
    return Misfire(table.misfire.policy, window_ms, slots_max)


def _trigger(table: JobTable, wrong: Wrong) -> Trigger:
    given = [key for key in TRIGGER_KEYS if getattr(table, key) not in (None, False)]
    if len(given) > 1:
        wrong(given[1], f"give one of {', '.join(TRIGGER_KEYS)}, not {' and '.join(given)}")
    for key, belongs_to in (("anchor", "every"), ("dst", "schedule")):
        if getattr(table, key) is not None and given != [belongs_to]:
            wrong(key, f"has a meaning only with {belongs_to}")
    if given != ["schedule"] and table.timezone and (problem := check(CronTrigger("0 0 * * *", table.timezone))):
        wrong("timezone", problem.removeprefix("timezone: "))
    if len(given) != 1 or given[0] not in _TIMES:
        return read_occasion(table, wrong)
    trigger = _scheduled(table, wrong)
    if problem := check(trigger):
        # The sentence names its field where that is not the trigger itself: "timezone: …".
        key, _, message = problem.partition(": ")
        wrong(*((key, message) if key in JOB_KEYS else (given[0], problem)))
    return trigger


def _scheduled(table: JobTable, wrong: Wrong) -> Trigger:
    if table.schedule is not None:
        return _cron(table)
    return AtTrigger(_instant_ms("at", table, wrong)) if table.at else _every(table, wrong)


def _cron(table: JobTable) -> CronTrigger:
    gap, overlap = (table.dst.gap, table.dst.overlap) if table.dst else (None, None)
    return CronTrigger(" ".join((table.schedule or "").split()), table.timezone or "UTC", gap, overlap)


def _every(table: JobTable, wrong: Wrong) -> EveryTrigger:
    every_ms = duration_ms("every", table.every or "", wrong, min_ms=limits.EVERY_MS_MIN, max_ms=EVERY_MS_MAX)
    return EveryTrigger(every_ms, _instant_ms("anchor", table, wrong) if table.anchor else 0)


def _instant_ms(key: str, table: JobTable, wrong: Wrong) -> int:
    try:
        return instant_ms(getattr(table, key))
    except ValueError as error:
        wrong(key, str(error))
        return 0
