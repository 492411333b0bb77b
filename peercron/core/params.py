"""Params: what a run is given on its way, by whoever asks for it."""

from __future__ import annotations

import re

from peercron.core.job import HttpTask, Task
from peercron.core.limits import NAME_LENGTH_MAX, PARAMS_BYTES_MAX, PARAMS_MAX

#: (name, value), in the order in which they were given.
Params = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def flaw(params: Params, task: Task) -> str:
    """What is wrong with the parameters of a run that does `task`, beginning with the field; empty: nothing.

    >>> flaw((("day", "mon"), ("Day", "tue")), task)
    "params.Day: is there twice: a run sees both as PEERCRON_PARAM_DAY"
    """
    if len(params) > PARAMS_MAX:
        return f"params: {len(params)} are given, at most {PARAMS_MAX} are taken"
    size = sum(len(text.encode("utf-8", "surrogatepass")) for pair in params for text in pair)
    if size > PARAMS_BYTES_MAX:
        return f"params: {size} bytes together, at most {PARAMS_BYTES_MAX} are taken"
    seen = set[str]()
    for name, value in params:
        if len(name) > NAME_LENGTH_MAX or _NAME.fullmatch(name) is None:
            return f"params: {name[:NAME_LENGTH_MAX]!r} is no name of letters, digits and '_', no digit first"
        if variable(name) in seen:
            return f"params.{name}: is there twice: a run sees both as {variable(name)}"
        seen.add(variable(name))
        if "\0" in value:
            return f"params.{name}: has a NUL in it"
        if isinstance(task, HttpTask) and not value.isprintable():
            return f"params.{name}: wants no line breaks, since an HTTP call carries it as a header"
    return ""


def merged(usual: Params, given: Params) -> Params:
    """What a run gets: a job's own params, each unless another value was given for it.

    >>> merged((("day", "mon"), ("size", "5")), (("DAY", "tue"),))
    (('size', '5'), ('DAY', 'tue'))
    """
    replaced = {variable(name) for name, _ in given}
    return (*[(name, value) for name, value in usual if variable(name) not in replaced], *given)


def variable(name: str) -> str:
    """What a parameter is called in the environment of a run.

    >>> variable("day")
    'PEERCRON_PARAM_DAY'
    """
    return f"PEERCRON_PARAM_{name.upper()}"
