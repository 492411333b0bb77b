"""Where: an expression means the nodes that it says, and one that cannot be read says where it goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.limits import WHERE_DEPTH_MAX, WHERE_LENGTH_MAX
from peercron.core.member import MemberInfo
from peercron.core.where import WhereError, fits, parse_where, where_flaw

NODES = [
    MemberInfo(name, name, "h:1", "h:2", dc, tags)
    for name, dc, tags in (("a", "fra", (("disk", "ssd"),)), ("b", "fra", ()), ("c", "ams", (("disk", "hdd"),)))
]


def meant(expression: str) -> str:
    """Names of the nodes that it means."""
    return "".join(node.name for node in NODES if fits(expression, node))


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('dc == "fra"', "ab"),
        ("dc != 'fra'", "c"),
        ('name in ("a", "c")', "ac"),
        ('name not in ("a")', "bc"),
        ('tag.disk == ""', "b"),
        ('dc == "fra" and tag.disk == "ssd"', "a"),
        ('dc == "ams" or tag.disk == "ssd"', "ac"),
        ('not dc == "fra"', "c"),
        ('not (dc == "ams" or name == "a")', "b"),
        ('dc == "ams" or dc == "fra" and name == "b"', "bc"),
        ('not not name == "a"', "a"),
    ],
)
def test_an_expression_means_these(expression: str, names: str) -> None:
    assert (meant(expression), where_flaw(expression)) == (names, "")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "column 1: wants name, dc or tag.NAME, and the expression ends"),
        ("rack == 'x'", "column 1: wants name, dc or tag.NAME, not rack"),
        ("tag. == 'x'", "column 1: wants name, dc or tag.NAME, not tag."),
        ("and == 'x'", "column 1: wants name, dc or tag.NAME, not and"),
        ("dc == fra", "column 7: wants a text in quotes, not fra"),
        ("dc 'x'", "column 4: wants ==, != or in, not 'x'"),
        ("dc not == 'x'", "column 8: wants in, not =="),
        ("dc in 'x'", "column 7: wants (, not 'x'"),
        ("dc in ('x' 'y')", "column 12: wants , or ), not 'y'"),
        ("(dc == 'x'", "column 11: wants ), and the expression ends"),
        ("dc == 'x' name", "column 11: wants and, or, or the end, not name"),
        ("dc == 'x' ; ", "column 11: wants and, or, or the end, not ;"),
        ("dc == 'x", "column 7: wants a text in quotes, not '"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column_and_means_nobody(expression: str, said: str) -> None:
    assert where_flaw(expression) == said
    assert meant(expression) == ""
    with pytest.raises(WhereError):
        parse_where(expression)


def test_an_expression_has_bounds() -> None:
    assert "characters, at most" in where_flaw("x" * (WHERE_LENGTH_MAX + 1))
    assert "nested deeper" in where_flaw("not " * (WHERE_DEPTH_MAX + 1) + "dc == 'x'")


TEXTS = st.sampled_from(["a", "b", "fra", "ams", "ssd", ""])
WORDS: dict[str, Callable[[MemberInfo], str]] = {
    "name": lambda node: node.name,
    "dc": lambda node: node.dc,
    "tag.disk": lambda node: dict(node.tags).get("disk", ""),
}
#: (expression, names of the nodes that it means, found without the parser)
Meaning = tuple[str, frozenset[str]]
EVERYBODY = frozenset(node.name for node in NODES)


def _compared(word: str, text: str, mark: str) -> Meaning:
    equal = frozenset(node.name for node in NODES if WORDS[word](node) == text)
    written = {"==": f'{word} == "{text}"', "!=": f"{word} != '{text}'", "in": f'{word} in ("{text}", "zzz")'}[mark]
    return written, EVERYBODY - equal if mark == "!=" else equal


COMPARED = st.builds(_compared, st.sampled_from(sorted(WORDS)), TEXTS, st.sampled_from(["==", "!=", "in"]))
MEANINGS: st.SearchStrategy[Meaning] = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        st.builds(lambda one: (f"not ({one[0]})", EVERYBODY - one[1]), inner),
        st.builds(lambda one, two: (f"({one[0]}) and ({two[0]})", one[1] & two[1]), inner, inner),
        st.builds(lambda one, two: (f"({one[0]}) or ({two[0]})", one[1] | two[1]), inner, inner),
    ),
    max_leaves=5,
)


@given(MEANINGS)
def test_it_means_what_sets_of_nodes_say(meaning: Meaning) -> None:
    expression, names = meaning
    assert frozenset(meant(expression)) == names


@given(st.text(max_size=40))
def test_any_text_is_read_or_told(text: str) -> None:
    assert where_flaw(text) or parse_where(text)(NODES[0]) in (True, False)
