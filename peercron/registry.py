"""registry: from names to job classes and back. Used in worker processes only: it imports what users wrote.

A job's class stands in its definition as "module:Class". What a module defines is told as a document of jobs, with the
keys of jobs.toml, under the owner "import:MODULE".
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from types import ModuleType
from typing import Any

from peercron.errors import ConfigError, Problem
from peercron.jobs.job import Job, name_of

#: Keys of jobs.toml that a class is instead of has, or that are said of it by whoever imports it.
_NOT_OF_CLASSES = frozenset({"command", "shell", "http", "tcp", "class", "owner", "name"})


class Absent(Exception):
    """What should be run is not on this node; another may have it. One sentence."""


def imported(module: str) -> ModuleType:
    """The module; Absent: there is none of that name here. What it raises itself is raised."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            part = "" if error.name == module else f": {error.name} is not there"
            raise Absent(f"this node has no Python module {module}{part}") from None
        raise


def load(target: str) -> type[Job]:
    """The class that "module:Class" names. Absent: it is not here. TypeError: it is no job."""
    module, _, name = target.partition(":")
    try:
        kind = attrgetter(name)(imported(module))
    except AttributeError:
        raise Absent(f"module {module} of this node has no class {name}") from None
    if not (isinstance(kind, type) and issubclass(kind, Job)):
        raise TypeError(f"{target} does not inherit from peercron.Job")
    return kind


def documents(modules: Iterable[str]) -> list[dict[str, Any]]:
    """What each module defines, as the content of a jobs.toml. ConfigError carries every problem of every class."""
    found: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for module in modules:
        tables = []
        for kind in classes(imported(module)):
            try:
                tables.append(table(kind))
            except ConfigError as error:
                problems += error.problems
        found.append({"version": 1, "owner": f"import:{module}", "jobs": tables})
    if problems:
        raise ConfigError(problems)
    return found


def classes(module: ModuleType) -> list[type[Job]]:
    """The jobs of a module, in their order: those that it defines, or a part of it does and it shows."""
    inside = f"{module.__name__}."
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Job)]
    return [
        kind
        for kind in dict.fromkeys(found)
        if not vars(kind).get("abstract", kind is Job) and f"{kind.__module__}.".startswith(inside)
    ]


def table(kind: type[Job]) -> dict[str, Any]:
    """A class as a table of jobs.toml."""
    target = f"{kind.__module__}:{kind.__qualname__}"
    problems = []
    try:
        if load(target) is not kind:
            problems.append(Problem(target, "names another class: give each class a name of its own"))
    except (Absent, TypeError):
        problems.append(Problem(target, "cannot be found again by that name: define it at the top of its module"))
    try:
        keys = keys_of(kind)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return keys | {"class": target}


def keys_of(kind: type[Job]) -> dict[str, Any]:
    """What a class says of its job, with the keys of jobs.toml."""
    # Read late: only who scans needs it, and an attempt begins sooner without.
    from peercron.jobspec.tables import JOB_KEYS

    known = [key for key in JOB_KEYS if key not in _NOT_OF_CLASSES]
    path = f"{kind.__module__}:{kind.__qualname__}"
    problems = [Problem(path, f"{name} is no key of a job{hint}") for name, hint in _misspelt(kind, known)]
    if kind.run is Job.run:
        problems.append(Problem(path, "has no run(self, ctx)"))
    if problems:
        raise ConfigError(problems)
    said = {key: value for key in known if (value := getattr(kind, key, None)) is not None}
    return {"name": name_of(kind)} | {key: _plain(value) for key, value in said.items()}


def _misspelt(kind: type[Job], known: list[str]) -> list[tuple[str, str]]:
    """Attributes that look like a key and are none: what was meant would not be done."""
    from peercron.sources import nearest

    own = [name for each in kind.__mro__ if each not in (Job, object) for name in vars(each)]
    values = [name for name in own if not name.startswith("_") and _is_value(inspect.getattr_static(kind, name))]
    return [
        (name, hint)
        for name in dict.fromkeys(values)
        if name not in known and name not in ("name", "abstract") and (hint := nearest(name, known))
    ]


def _is_value(attribute: Any) -> bool:
    return isinstance(attribute, str | int | float | bool | dict | list | tuple | timedelta | datetime)


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return f"{round(value.total_seconds() * 1_000)}ms"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple | set | frozenset) else value
