"""Params of a run from what a caller wrote: an object of names and plain values."""

from __future__ import annotations

import json

from peercron.core.params import Params
from peercron.errors import ConfigError, Problem


def read_params(table: object, *, path: str = "params") -> Params:
    """Names and values as a run gets them: texts; numbers, true and false as JSON writes them.

    Raises:
        ConfigError: it is no object of plain values; each is named. Names and bounds are judged by the state machine.

    >>> read_params({"day": "mon", "n": 3, "full": True})
    (('day', 'mon'), ('n', '3'), ('full', 'true'))
    """
    if not isinstance(table, dict):
        raise ConfigError([Problem(path, "must be an object")])
    wrong = [name for name, value in table.items() if not isinstance(value, str | int | float)]
    if wrong:
        form = "must be text, a number, true or false"
        raise ConfigError([Problem(f"{path}.{name}", form) for name in wrong])
    return tuple([(name, value if isinstance(value, str) else json.dumps(value)) for name, value in table.items()])
