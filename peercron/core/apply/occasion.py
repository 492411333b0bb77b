"""Occasions: what triggers that wait for something to happen must obey, told as `definition.flaw` tells it."""

from __future__ import annotations

import re

from peercron.core.apply.check import flaw_of_trigger
from peercron.core.condition import ConditionError, parse
from peercron.core.job import EnvEntry, SecretSource, Trigger
from peercron.core.limits import CONDITION_LENGTH_MAX, NAME_LENGTH_MAX, URL_LENGTH_MAX
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def flaw_of_occasion(trigger: Trigger) -> str:
    """What is wrong with the trigger, in one sentence that begins with the key; empty: nothing."""
    match trigger:
        case ConditionTrigger(condition):
            return _condition(condition)
        case HookTrigger(secret):
            return _secret(secret) if secret is not None else ""
        case EventTrigger(namespace, name):
            return _names("on.event", namespace, name)
        case QueueTrigger(namespace, name):
            return _names("on.queue", namespace, name)
        case ProbeTrigger():
            return flaw_of_trigger(trigger)
        case _:
            return ""


def _condition(condition: str) -> str:
    if len(condition) > CONDITION_LENGTH_MAX:
        return f"when: wants at most {CONDITION_LENGTH_MAX} characters"
    try:
        parse(condition)
    except ConditionError as error:
        return f"when: {error}"
    return ""


def _secret(secret: EnvEntry) -> str:
    if secret.source is SecretSource.LITERAL:
        return "webhook_secret: wants a reference, one of {file = …}, {env = …} and {credential = …}"
    if not 0 < len(secret.value) <= URL_LENGTH_MAX or not secret.value.isprintable():
        return "webhook_secret: wants the path of a file, or the name of a variable or credential"
    return ""


def _names(key: str, namespace: str, name: str) -> str:
    for each in (namespace, name):
        if len(each) > NAME_LENGTH_MAX or _NAME.fullmatch(each) is None:
            return f"{key}: wants a name of letters, digits, '.', '_', '-', or namespace/name"
    return ""
