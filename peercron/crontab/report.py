"""Report: each line of a crontab, what becomes of it here, and the jobs that come of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from peercron.core.job import CronTrigger
from peercron.core.schedule import check
from peercron.crontab.entries import Broken, Entry, Setting, read
from peercron.errors import ConfigError
from peercron.jobspec import read_job

DEFAULT_SHELL = "/bin/sh"
SLUG_LENGTH_MAX = 40
WORDS = "@yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly"
#: What `core.cron` understands and cron of Debian does not, which would mean something else in a crontab.
_FOREIGN = re.compile(r"[LlWwHh#?~]")
#: A step behind a single number: cron reads the number and drops the rest.
_STEP_OF_ONE = re.compile(r"(?<![\d*/-])(\d+)/\d+")
_NAMES = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b", re.IGNORECASE
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Result(StrEnum):
    """What becomes of a line."""

    IMPORTED = "imported"
    DIFFERS = "differs"  # imported, and not quite what cron would do; the notes say in what
    CANNOT = "cannot"  # the notes say why, and what to do instead
    ENVIRONMENT = "environment"  # no job; holds for those below it


@dataclass(frozen=True, slots=True)
class Options:
    """What a crontab does not say. `timezone`: of the machine it comes from; `user`: whose it is (not a system's)."""

    timezone: str
    system: bool = False
    user: str = ""
    namespace: str = "default"
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    result: Result
    job: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    lines: tuple[Line, ...]
    #: As jobs.toml writes them.
    jobs: tuple[dict[str, Any], ...]

    @property
    def cannot(self) -> int:
        """How many lines cannot be taken."""
        return sum(line.result is Result.CANNOT for line in self.lines)


@dataclass(slots=True)
class _Converter:
    """What the lines above have said."""

    options: Options
    env: dict[str, str] = field(default_factory=dict)
    mailto: str = ""
    timezone: str = ""
    names: dict[str, int] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def line(self, row: Setting | Entry | Broken) -> Line:
        match row:
            case Broken(number, why):
                return Line(number, Result.CANNOT, notes=(f"cron would not take it either: it {why}",))
            case Setting():
                return self._set(row)
            case Entry():
                return self._job(row)

    def _set(self, row: Setting) -> Line:
        """The settings that cron itself listens to, and those that only the commands see."""
        note = ""
        match row.name:
            case "MAILTO":
                self.mailto = row.value
            case "CRON_TZ":
                return self._set_timezone(row)
            case "LOGNAME" | "USER":
                note = f"{row.name} is that of the user who runs it, as under cron"
            case "MAILFROM" | "CONTENT_TYPE" | "CONTENT_TRANSFER_ENCODING" | "RANDOM_DELAY" | "START_HOURS_RANGE":
                note = f"{row.name} has no meaning here" + (
                    '; jitter = "…" spreads starts' if row.name == "RANDOM_DELAY" else ""
                )
            case name if _VARIABLE.fullmatch(name) is None or name.startswith("PEERCRON_"):
                return Line(row.number, Result.CANNOT, notes=(f"{name!r} cannot be the name of a variable of a job",))
            case name:
                self.env[name] = row.value
        return Line(row.number, Result.ENVIRONMENT, notes=(note,) if note else ())

    def _set_timezone(self, row: Setting) -> Line:
        problem = check(CronTrigger("0 0 * * *", row.value or "UTC"))
        if problem:
            return Line(row.number, Result.CANNOT, notes=(f"CRON_TZ: {problem.removeprefix('timezone: ')}",))
        self.timezone = row.value
        note = "the lines below are read in this zone; cron of Debian knows no CRON_TZ and takes the machine's"
        return Line(row.number, Result.ENVIRONMENT, notes=(note,))

    def _job(self, row: Entry) -> Line:
        schedule, notes, why = _schedule(row.schedule)
        if why:
            return Line(row.number, Result.CANNOT, notes=(why,))
        command, stdin = row.words
        if not command:
            return Line(row.number, Result.CANNOT, notes=("there is no command before the %",))
        if row.quiet:
            notes.append("the - in front keeps cron from logging it; every run is in the ledger here")
        if stdin:
            command = f"printf '%s' {_quoted(stdin)} | {{ {command}\n}}"
            notes.append("what follows the % is piped into the command")
        if self.mailto:
            notes.append(f"no mail goes to {self.mailto}: the output is kept with the run (peercron run logs)")
        table = self._table(row, schedule, command)
        try:
            read_job(table)
        except ConfigError as error:
            return Line(row.number, Result.CANNOT, notes=tuple(map(str, error.problems)))
        self.jobs.append(table)
        return Line(row.number, Result.DIFFERS if notes else Result.IMPORTED, table["name"], tuple(notes))

    def _table(self, row: Entry, schedule: str, command: str) -> dict[str, Any]:
        options, env = self.options, dict(self.env)
        shell, home = env.get("SHELL", DEFAULT_SHELL), env.get("HOME", "")
        table: dict[str, Any] = {"name": self._name(row)}
        if options.namespace != "default":
            table["namespace"] = options.namespace
        table["schedule"] = schedule
        if (zone := self.timezone or options.timezone) != "UTC":
            table["timezone"] = zone
        table |= {"shell": command} if shell == DEFAULT_SHELL else {"command": [shell, "-c", command]}
        if env:
            table["env"] = env
        if user := row.user or options.user:
            table["user"] = user
        if home.startswith("/"):
            table["cwd"] = home
        if options.nodes:
            table["nodes"] = list(options.nodes)
        # Cron starts a command whether or not it still runs.
        return table | {"overlap": "allow"}

    def _name(self, row: Entry) -> str:
        """Stable while the line says the same, wherever it stands; one that is there twice is counted."""
        program, _, rest = row.command.partition(" ")
        words = re.sub(r"[^A-Za-z0-9]+", "-", f"{program.rpartition('/')[2]} {rest}")
        slug = words.strip("-").lower()[:SLUG_LENGTH_MAX].strip("-") or "line"
        content = "\n".join((row.schedule, row.user, row.command)).encode("utf-8", "surrogatepass")
        name = f"{slug}-{blake2b(content, digest_size=3).hexdigest()}"
        self.names[name] = self.names.get(name, 0) + 1
        return name if self.names[name] == 1 else f"{name}-{self.names[name]}"


def convert(text: str, options: Options) -> Report:
    """Jobs of a crontab, and what became of each of its lines that mean something."""
    converter = _Converter(options)
    lines = [converter.line(row) for row in read(text, system=options.system)]
    if text and not text.endswith("\n") and lines and lines[-1].number == text.count("\n") + 1:
        lines[-1] = _unfinished(lines[-1])
    if "\r" in text:
        lines = [_with_note(line, "a carriage return at its end is left out") for line in lines]
    return Report(tuple(lines), tuple(converter.jobs))


def _schedule(written: str) -> tuple[str, list[str], str]:
    """(the schedule as it is meant, in what it differs, why it cannot be taken)."""
    if written.startswith("@"):
        if written == "@reboot":
            return "", [], "@reboot: a cluster has no start of its own; a systemd unit on that machine does this"
        problem = check(CronTrigger(written))
        return written, [], f"{written} is no word of cron, which knows {WORDS}" if problem else ""
    if _FOREIGN.search(_NAMES.sub("", written)):
        return "", [], f"{written!r} is not a schedule of cron, which knows numbers, names, lists, ranges and steps"
    notes = []
    if alone := _STEP_OF_ONE.findall(written):
        written = _STEP_OF_ONE.sub(r"\1", written)
        notes.append(f"cron takes no step behind a single number and reads {', '.join(alone)} alone, and so does this")
    problem = check(CronTrigger(written))
    return written, notes, problem or ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _unfinished(line: Line) -> Line:
    return _with_note(line, "the last line has no line end: cron of Debian refuses such a file")


def _with_note(line: Line, note: str) -> Line:
    result = Result.DIFFERS if line.result is Result.IMPORTED else line.result
    return Line(line.number, result, line.job, (*line.notes, note))
