"""Listening: which jobs care about what, by topic, so that a change finds them without a look at all jobs."""

from __future__ import annotations

from typing import Final

from peercron.core.condition import ConditionError, keys, parse
from peercron.core.job import Definition
from peercron.core.occasion import ConditionTrigger, EventTrigger, ProbeTrigger, QueueTrigger

#: Jobs that have something looked at: checks, or a probe that starts them.
CHECKED: Final = "checks"


def key_topic(namespace: str, key: str) -> str:
    return f"key {namespace}/{key}"


def event_topic(namespace: str, name: str) -> str:
    return f"event {namespace}/{name}"


def queue_topic(namespace: str, name: str) -> str:
    return f"queue {namespace}/{name}"


def topics(definition: Definition) -> tuple[str, ...]:
    """What a job listens to."""
    trigger = definition.trigger
    checked = (CHECKED,) if definition.checks or isinstance(trigger, ProbeTrigger) else ()
    match trigger:
        case ConditionTrigger(condition):
            return (*checked, *(key_topic(*read) for read in _keys(condition)))
        case EventTrigger(namespace, name):
            return (*checked, event_topic(namespace, name))
        case QueueTrigger(namespace, name):
            return (*checked, queue_topic(namespace, name))
        case _:
            return checked


def _keys(condition: str) -> tuple[tuple[str, str], ...]:
    """`definition.flaw` has refused what cannot be read."""
    try:
        return keys(parse(condition))
    except ConditionError:
        return ()
