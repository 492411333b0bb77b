"""Addresses: read strictly, written in one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.address import is_local, is_loopback, join_address, peer_names, split_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:7400", ("a", 7400)),
        ("Node-1.Example.COM:1", ("node-1.example.com", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]:7400", ("::1", 7400)),
        ("[FD00:0::1]:7400", ("fd00::1", 7400)),
        ("my_service:80", ("my_service", 80)),
    ],
)
def test_accepted(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected
    assert split_address(join_address(*expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        ":7400",
        "a:",
        "a:0",
        "a:65536",
        "a:x",
        "a:-1",
        "a:٣",
        "::1:7400",
        "[::1:7400",
        "[zz]:1",
        "a b:1",
        "-a:1",
    ],
)
def test_refused_with_the_text_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|port must|host name|brackets"):
        split_address(text)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert split_address(join_address(host, port)) == (host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "db.localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "example.org", "fd00::1", "localhost.example.org"])
def test_others_can_reach_it(host: str) -> None:
    assert not is_loopback(host)


def test_local_is_what_can_be_bound_here() -> None:
    assert is_local("127.0.0.1")
    assert not is_local("198.51.100.7")  # an address set aside for documents
    assert not is_local("no-such-host.invalid")


def test_names_are_hosts_and_carry_the_port_only_where_hosts_repeat() -> None:
    names = peer_names(["a:7400", "b:7400", "b:7401", "[::1]:9"])
    assert names == {"a:7400": "a", "b:7400": "b-7400", "b:7401": "b-7401", "[::1]:9": "1"}
