"""Condition: a small language of predicates on the shared state; reading and judging it, with no `eval` anywhere.

    state("stock") < 10 and not exists("ops/maintenance")

`state("key")` is the value of a key (namespace "default", or written "namespace/key") as JSON: a number, true, false,
null or text; a key that is not there is null, and what is no JSON is text. Numbers are compared and reckoned with
(+ - * / %), text is compared, and `==` and `!=` take anything. Where something cannot be judged (text against a number,
a division by zero) the condition does not hold.

The reader is a Pratt parser: each operator binds as tightly as BINDING says.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from peercron.core.limits import CONDITION_DEPTH_MAX, CONDITION_VALUE_BYTES_MAX

#: What a key holds: (namespace, key) -> its bytes, or None where there is none.
Look = Callable[[str, str], bytes | None]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>"(?:[^"\\]|\\.)*"|'[^'\\]*')|(?P<word>[A-Za-z_]\w*)"""
    r"""|(?P<sign><=|>=|==|!=|[<>()+\-*/%]))"""
)
BINDING: Final = {
    "or": 1,
    "and": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), 4),
    **dict.fromkeys(("+", "-"), 5),
    **dict.fromkeys(("*", "/", "%"), 6),
}
_NOT_BINDS, _COMPARISON, _SIGN_BINDS = 3, 4, 7
_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SUMS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}
_WORDS: Final = {"true": True, "false": False, "null": None}


class ConditionError(ValueError):
    """It cannot be read; the message says where and why."""


class _Unjudgeable(Exception):
    """It makes no sense with the values that are there now."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class Read:
    """state("namespace/key"), or with `only_there` exists(…)."""

    namespace: str
    key: str
    only_there: bool = False


@dataclass(frozen=True, slots=True)
class Prefixed:
    sign: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Joined:
    sign: str
    left: Node
    right: Node


Node = Literal | Read | Prefixed | Joined


@lru_cache(maxsize=4_096)
def parse(text: str) -> Node:
    """What the text says. ConditionError names the column.

    >>> parse('state("stock") <')
    Traceback (most recent call last):
    peercron.core.condition.ConditionError: column 17: a value is missing at the end
    """
    reader = _Reader(text)
    node = reader.expression(0)
    if reader.token:
        reader.fail(f"{reader.token!r} is not expected here")
    if not keys(node):
        raise ConditionError('it reads no key: state("key") or exists("key") is missing')
    return node


def keys(node: Node) -> tuple[tuple[str, str], ...]:
    """(namespace, key) of everything it reads, each once."""
    match node:
        case Read(namespace, key):
            return ((namespace, key),)
        case Prefixed(_, operand):
            return keys(operand)
        case Joined(_, left, right):
            return tuple(dict.fromkeys(keys(left) + keys(right)))
        case _:
            return ()


def holds(text: str, look: Look) -> bool:
    """Whether the condition is true of what is there now; ConditionError as for `parse`.

    >>> holds('state("stock") < 10', lambda namespace, key: b"9")
    True
    """
    try:
        return _value(parse(text), look) is True
    except _Unjudgeable:
        return False


class _Reader:
    """Tokens of a text, one at a time."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self.token, self._kind, self.column = "", "", 1
        self._step()

    def expression(self, binding: int) -> Node:
        """As much as binds more tightly than `binding`."""
        self._depth += 1
        if self._depth > CONDITION_DEPTH_MAX:
            self.fail(f"it is nested more than {CONDITION_DEPTH_MAX} deep")
        left = self._prefix()
        while BINDING.get(self.token, 0) > binding and self._kind in ("sign", "word"):
            sign = self._step()
            left = Joined(sign, left, self.expression(BINDING[sign]))
            if BINDING[sign] == _COMPARISON == BINDING.get(self.token):
                self.fail("comparisons do not chain; write a < b and b < c")
        self._depth -= 1
        return left

    def fail(self, why: str) -> NoReturn:
        raise ConditionError(f"column {self.column}: {why}")

    def _prefix(self) -> Node:
        kind, token = self._kind, self.token
        if token in ("not", "-") and kind != "text":
            self._step()
            return Prefixed(token, self.expression(_NOT_BINDS if token == "not" else _SIGN_BINDS))
        if token == "(":
            self._step()
            inside = self.expression(0)
            self._expect(")")
            return inside
        return self._call(token) if token in ("state", "exists") and kind == "word" else self._literal()

    def _literal(self) -> Node:
        kind, token = self._kind, self.token
        if kind == "number":
            self._step()
            return Literal(json.loads(token) if len(token) <= 64 else float(token))
        if kind == "text":
            return Literal(self._string())
        if token in _WORDS:
            self._step()
            return Literal(_WORDS[token])
        known = 'state("key"), exists("key"), a number, text in quotes, true, false, null, not or ('
        return self.fail(f"{token!r} is no value; expected {known}" if token else "a value is missing at the end")

    def _call(self, name: str) -> Node:
        self._step()
        self._expect("(")
        if self._kind != "text":
            self.fail(f'{name} wants a key in quotes: {name}("stock") or {name}("namespace/stock")')
        namespace, slash, key = self._string().partition("/")
        self._expect(")")
        return Read(namespace if slash else "default", key if slash else namespace, only_there=name == "exists")

    def _string(self) -> str:
        token = self.token
        try:
            text: str = json.loads(token) if token.startswith('"') else token[1:-1]
        except ValueError:
            self.fail(f"{token} is no text as JSON writes it")
        self._step()
        return text

    def _expect(self, sign: str) -> None:
        if self.token != sign or self._kind != "sign":
            self.fail(f"{sign!r} is expected" + (f", not {self.token!r}" if self.token else " at the end"))
        self._step()

    def _step(self) -> str:
        """Go on to the next token; the answer is the one before."""
        before, text = self.token, self._text
        found = _TOKEN.match(text, self._at)
        if found is None:
            rest = text[self._at :].lstrip()
            self.column = len(text) - len(rest) + 1
            if rest:
                self.fail(f"{rest[0]!r} means nothing here" if rest[0] not in "\"'" else "the quotes are not closed")
            self.token, self._kind = "", ""
            return before
        self._kind = str(found.lastgroup)
        self.token, self.column, self._at = found[self._kind], found.start(self._kind) + 1, found.end()
        return before


def _value(node: Node, look: Look) -> Any:
    match node:
        case Literal(value):
            return value
        case Read(namespace, key, only_there):
            found = look(namespace, key)
            return found is not None if only_there else _read(found)
        case Prefixed("not", operand):
            return not _truth(_value(operand, look))
        case Prefixed(_, operand):
            return -_number(_value(operand, look))
        case Joined("and", left, right):
            return _truth(_value(left, look)) and _truth(_value(right, look))
        case Joined("or", left, right):
            return _truth(_value(left, look)) or _truth(_value(right, look))
        case Joined(sign, left, right):
            return _joined(sign, _value(left, look), _value(right, look))


def _joined(sign: str, left: Any, right: Any) -> Any:
    if sign in ("==", "!="):
        return (_kind(left) is _kind(right) and left == right) is (sign == "==")
    if sign in _ORDERINGS:
        if _kind(left) is not _kind(right) or _kind(left) not in (float, str):
            raise _Unjudgeable
        return _ORDERINGS[sign](left, right)
    try:
        return _SUMS[sign](_number(left), _number(right))
    except ArithmeticError:
        raise _Unjudgeable from None


def _read(value: bytes | None) -> Any:
    if value is None:
        return None
    if len(value) > CONDITION_VALUE_BYTES_MAX:
        raise _Unjudgeable
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _Unjudgeable from None
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict | list):
        raise _Unjudgeable
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are no JSON


def _kind(value: Any) -> type:
    """Whole numbers and fractions are one kind; true and 1 are not."""
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _number(value: Any) -> Any:
    if _kind(value) is not float:
        raise _Unjudgeable
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unjudgeable
    return value
