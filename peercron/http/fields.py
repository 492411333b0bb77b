"""Fields of a JSON body, each read as what it shall be; what is wrong with all of them is told at once."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web

from peercron.errors import ConfigError, Problem
from peercron.http.asking import fields_of_body
from peercron.sources import nearest
from peercron.times import DURATION_FORM, parse_duration_ms

Choice = TypeVar("Choice", bound=StrEnum)
T = TypeVar("T")
#: What JavaScript still counts exactly.
NUMBER_MAX = (1 << 53) - 1


class Fields:
    """The fields of one body. Where one is wrong a value stands in for it, and `check` raises.

    Of a wrong value the beginning is told: the sender knows it, and it may be as long as a body.

    >>> fields = Fields({"ttl": "30s"})
    >>> fields.duration_ms("ttl", 0), fields.whole("permits", 1)
    (30000, 1)
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        self._problems: list[Problem] = []

    def text(self, name: str, default: str | None = None) -> str:
        """Text; with no default it is required."""
        value = self._body.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and (value or default is not None):
            return value
        return self._wrong(name, "required: text" if value is None else f"must be text, not {value!r:.80}", "")

    def flag(self, name: str) -> bool:
        value = self._body.get(name, False)
        return (
            value if isinstance(value, bool) else self._wrong(name, f"must be true or false, not {value!r:.80}", False)
        )

    def whole(self, name: str, default: int | None = None, *, low: int = 0) -> int:
        """A whole number; with no default it is required. JSON has one kind of number, so that 3.0 is one."""
        value = integral(self._body.get(name, default))
        if type(value) is int and low <= value <= NUMBER_MAX:
            return value
        problem = f"must be a whole number of at least {low}, not {value!r:.80}"
        return self._wrong(name, "required: a whole number" if value is None else problem, low)

    def duration_ms(self, name: str, default_ms: int) -> int:
        """Text like 30s, or a number of seconds."""
        value = self._body.get(name)
        if value is None:
            return default_ms
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < NUMBER_MAX:
            return int(value * 1_000)
        try:
            return parse_duration_ms(value)
        except (ValueError, AttributeError):
            return self._wrong(name, f"must be {DURATION_FORM}, or seconds, not {value!r:.80}", default_ms)

    def choice(self, name: str, of: type[Choice], default: Choice) -> Choice:
        value = self._body.get(name)
        if value is None:
            return default
        if value in list(of):
            return of(value)
        names = [choice.value for choice in of]
        hint = nearest(value[:80], names) if isinstance(value, str) else ""
        return self._wrong(name, f"{value!r:.80}: must be one of {', '.join(names)}{hint}", default)

    def check(self) -> None:
        """Raises ConfigError with every problem found."""
        if self._problems:
            raise ConfigError(self._problems)

    def _wrong(self, name: str, message: str, stand_in: T) -> T:
        self._problems.append(Problem(name, message))
        return stand_in


def integral(value: Any) -> Any:
    """A float that is a whole number as that; all else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def fields_of(request: web.Request, *known: str) -> Fields:
    """The fields of the request's JSON object; an unknown one is refused by name."""
    return Fields(await fields_of_body(request, *known))
