"""Listening: which jobs care about what, by topic, so that a change finds them without a look at all jobs."""

from __future__ import annotations

from typing import Final

from peercron.core.job import Definition

#: Jobs that have checks.
CHECKED: Final = "checks"


def topics(definition: Definition) -> tuple[str, ...]:
    """What a job listens to."""
    return (CHECKED,) if definition.checks else ()
