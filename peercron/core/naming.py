"""Naming: what can be a name."""

from __future__ import annotations

import re

from peercron.core.limits import NAME_LENGTH_MAX

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def named(name: str) -> bool:
    """Whether `name` can name a job, a namespace or a member: it travels in URLs, file names and variables.

    >>> [named("nightly-report"), named(".hidden"), named("")]
    [True, False, False]
    """
    return len(name) <= NAME_LENGTH_MAX and _NAME.fullmatch(name) is not None
