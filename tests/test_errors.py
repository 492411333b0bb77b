"""Errors carry data, and speak for themselves."""

from __future__ import annotations

import pytest

from peercron import errors
from peercron.errors import ConfigError, OutcomeUnknown, PeercronError, Problem, Refused


def every_error() -> list[type[PeercronError]]:
    found, queue = [], [PeercronError]
    while queue:
        found.append(cls := queue.pop())
        queue += cls.__subclasses__()
    return [cls for cls in found if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_each_is_in_the_tree_that_the_module_draws(cls: type[PeercronError]) -> None:
    assert cls.__name__ in (errors.__doc__ or "")


def test_the_docstring_is_the_message() -> None:
    assert str(OutcomeUnknown()).startswith("The outcome is unknown")


def test_only_what_did_not_happen_may_be_repeated_blindly() -> None:
    assert {cls.__name__ for cls in every_error() if cls.retryable} == {"NoLeader", "Busy", "Unreachable"}


def test_a_refusal_carries_its_verdict() -> None:
    error = Refused("conflict", "revision 3, not 2", index=17)
    assert (error.code, error.detail, error.index, str(error)) == ("conflict", "revision 3, not 2", 17, error.detail)


def test_a_configuration_error_tells_every_problem() -> None:
    error = ConfigError([Problem("--self", "is none of the peers"), Problem("--http", "no port")])
    assert str(error).splitlines() == ["--self: is none of the peers", "--http: no port"]
