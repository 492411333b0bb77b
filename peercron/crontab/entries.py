"""Lines of a crontab: what each of them is, by the rules of cron(8) as Debian ships it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SETTING = re.compile(r"""\s*(?P<quote>["']?)(?P<name>[^"'=\s]+)(?P=quote)\s*=\s*(?P<value>.*?)\s*""")
_SHORTHAND = re.compile(r"@\S+")
FIELDS = 5


@dataclass(frozen=True, slots=True)
class Setting:
    """NAME = value: for all entries below it."""

    number: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One planned command. `schedule`: five fields or a word such as @daily; `user`: only in a system's crontab."""

    number: int
    schedule: str
    user: str
    command: str
    #: A "-" stood in front of it: cron of some systems does not log it then.
    quiet: bool = False

    @property
    def words(self) -> tuple[str, str]:
        r"""(command for the shell, what it reads on its standard input): an unescaped % ends the first, and is a new
        line in the second.

        >>> Entry(1, "@daily", "", r"date +\%F%a%b").words
        ('date +%F', 'a\nb\n')
        """
        first, *rest = re.split(r"(?<!\\)%", self.command)
        text = "\n".join(part.replace(r"\%", "%") for part in rest)
        return first.replace(r"\%", "%").strip(), text if text.endswith("\n") or not text else f"{text}\n"


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that cron would not take either, and why."""

    number: int
    why: str


def read(text: str, *, system: bool) -> Iterator[Setting | Entry | Broken]:
    """The lines that mean something, in order. `system`: the sixth field is the user, as in /etc/crontab."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        yield _setting(number, line) or _entry(number, line, system=system)


def _setting(number: int, line: str) -> Setting | None:
    found = _SETTING.fullmatch(line)
    # A field of a schedule can have no "=" in it, but a command can: only a first word counts.
    if found is None or line[0] in "@*-" or line[0].isdigit():
        return None
    value = found["value"]
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return Setting(number, found["name"], value)


def _entry(number: int, line: str, *, system: bool) -> Entry | Broken:
    quiet, line = line.startswith("-"), line.removeprefix("-")
    count = 1 if _SHORTHAND.match(line) else FIELDS
    parts = line.split(None, count + system)
    if len(parts) <= count + system:
        wanted = f"{'a word like @daily' if count == 1 else 'five fields'}{', a user' * system} and a command"
        return Broken(number, f"wants {wanted}")
    return Entry(number, " ".join(parts[:count]), parts[count] if system else "", parts[-1], quiet)
