"""Where: an expression over the nodes that may run a job, such as `dc == "fra" and tag.disk == "ssd"`.

    either   = both { "or" both }
    both     = not { "and" not }
    not      = [ "not" ] ( "(" either ")" | comparison )
    comparison = word ( "==" | "!=" ) text | word [ "not" ] "in" "(" text { "," text } ")"
    word     = "name" | "dc" | "tag." name
    text     = in single or double quotes, without escapes

A node that has no such tag has the empty text there. Nothing is evaluated but this grammar.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from peercron.core.limits import WHERE_DEPTH_MAX, WHERE_LENGTH_MAX
from peercron.core.member import MemberInfo

Test = Callable[[MemberInfo], bool]

_TOKEN = re.compile(r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<word>[A-Za-z_][A-Za-z0-9_.-]*)|(?P<mark>==|!=|[(),]))""")
_CONNECTIVES = frozenset({"and", "or", "not", "in"})


class WhereError(ValueError):
    """The expression cannot be read; the message names the column."""


class _Token(NamedTuple):
    kind: str
    text: str
    #: From 1.
    column: int


def where_flaw(expression: str) -> str:
    """What is wrong with the expression, with its column; empty: nothing.

    >>> where_flaw('dc == "fra" and tag.disk'), where_flaw('dc = "fra"')
    ('column 25: wants ==, != or in, and the expression ends', 'column 4: wants ==, != or in, not =')
    """
    try:
        parse_where(expression)
    except WhereError as error:
        return str(error)
    return ""


def fits(expression: str, info: MemberInfo) -> bool:
    """Whether the node is one of those that the expression means. One that cannot be read means nobody."""
    try:
        return parse_where(expression)(info)
    except WhereError:
        return False


@lru_cache(1_024)
def parse_where(expression: str) -> Test:
    """Raises WhereError."""
    if len(expression) > WHERE_LENGTH_MAX:
        raise WhereError(f"has {len(expression)} characters, at most {WHERE_LENGTH_MAX} are taken")
    return _Parser(_tokens(expression), len(expression)).whole()


def _tokens(expression: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, end = 0, len(expression.rstrip())
    while at < end:
        found = _TOKEN.match(expression, at)
        if found is None or found.lastgroup is None:
            column = at + len(expression[at:]) - len(expression[at:].lstrip()) + 1
            # What cannot be read stands as one sign, so that who wanted something else there says so.
            tokens.append(_Token("stranger", expression[column - 1], column))
            return tokens
        kind = found.lastgroup
        tokens.append(_Token(kind, found[kind], found.start(kind) + 1))
        at = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], length: int) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0
        self._end = _Token("end", "", length + 1)

    def whole(self) -> Test:
        test = self._either()
        if self._next.kind != "end":
            raise self._wants("and, or, or the end")
        return test

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else self._end

    def _take(self, *texts: str) -> bool:
        if self._next.kind in ("word", "mark") and self._next.text in texts:
            self._at += 1
            return True
        return False

    def _wants(self, what: str) -> WhereError:
        found = self._next
        instead = "and the expression ends" if found.kind == "end" else f"not {found.text}"
        return WhereError(f"column {found.column}: wants {what}, {instead}")

    def _either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda info: any(test(info) for test in tests)

    def _both(self) -> Test:
        tests = [self._not()]
        while self._take("and"):
            tests.append(self._not())
        return tests[0] if len(tests) == 1 else lambda info: all(test(info) for test in tests)

    def _not(self) -> Test:
        if self._depth >= WHERE_DEPTH_MAX:
            raise WhereError(f"column {self._next.column}: is nested deeper than {WHERE_DEPTH_MAX}")
        self._depth += 1
        test = self._negated() if self._take("not") else self._bracketed()
        self._depth -= 1
        return test

    def _negated(self) -> Test:
        test = self._not()
        return lambda info: not test(info)

    def _bracketed(self) -> Test:
        if not self._take("("):
            return self._comparison()
        test = self._either()
        if not self._take(")"):
            raise self._wants(")")
        return test

    def _comparison(self) -> Test:
        read = self._word()
        if self._take("=="):
            text = self._text()
            return lambda info: read(info) == text
        if self._take("!="):
            text = self._text()
            return lambda info: read(info) != text
        negated = self._take("not")
        if not self._take("in"):
            raise self._wants("in" if negated else "==, != or in")
        texts = self._texts()
        return lambda info: (read(info) in texts) is not negated

    def _word(self) -> Callable[[MemberInfo], str]:
        word = self._next
        known = word.text in ("name", "dc") or (word.text.startswith("tag.") and len(word.text) > len("tag."))
        if word.kind != "word" or word.text in _CONNECTIVES or not known:
            raise self._wants("name, dc or tag.NAME")
        self._at += 1
        if word.text == "name":
            return lambda info: info.name
        if word.text == "dc":
            return lambda info: info.dc
        tag = word.text.removeprefix("tag.")
        return lambda info: dict(info.tags).get(tag, "")

    def _text(self) -> str:
        text = self._next
        if text.kind != "text":
            raise self._wants("a text in quotes")
        self._at += 1
        return text.text[1:-1]

    def _texts(self) -> frozenset[str]:
        if not self._take("("):
            raise self._wants("(")
        texts = [self._text()]
        while self._take(","):
            texts.append(self._text())
        if not self._take(")"):
            raise self._wants(", or )")
        return frozenset(texts)
