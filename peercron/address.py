"""address: host:port as people write it, which of them is this machine's, and what a node is called by default."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence

PORT_MAX = 65_535
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOST_PATTERN = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104 - recognised so that it can be refused or replaced


def split_address(text: str) -> tuple[str, int]:
    """Host (without brackets, in lower case) and port of "host:port" or "[v6]:port"; ValueError says what is wrong.

    >>> split_address("[::1]:7400")
    ('::1', 7400)
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise ValueError(f"{text!r}: the port must be a number from 1 to {PORT_MAX}")
    return _checked_host(text, host), int(port)


def _checked_host(text: str, host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{text!r}: there is no valid IPv6 address in the brackets") from None
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address goes in brackets, [::1]:7400")
    host = host.lower()
    if len(host) > 253 or not _HOST_PATTERN.fullmatch(host):
        raise ValueError(f"{text!r}: {host!r} is not a host name or address")
    return host


def join_address(host: str, port: int) -> str:
    """The one way to write it: `split_address` of the result gives the arguments back."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def beside(address: str, offset: int) -> str:
    """The address of the same host with another port; "" of "". ValueError: there is no such port.

    >>> beside("a:7400", 1_000)
    'a:8400'
    """
    if not address:
        return ""
    host, port = split_address(address)
    if port + offset > PORT_MAX:
        raise ValueError(f"the port of {address} + {offset} is past {PORT_MAX}")
    return join_address(host, port + offset)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it, judged without asking any name server: other names count as reachable."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_unspecified(host: str) -> bool:
    """Whether it means "every address of this machine": good to listen on, useless to dial."""
    return host in _UNSPECIFIED


def is_local(host: str) -> bool:
    """Whether the host is this machine: one of its addresses can be bound here. May block in the resolver."""
    import socket

    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, _, _, sockaddr in found:
        try:
            with socket.socket(family, kind) as trial:
                trial.bind(sockaddr)
        except OSError:
            continue
        return True
    return False


def peer_names(peers: Sequence[str]) -> dict[str, str]:
    """The default name of every peer, by address: its host, or host-port where several peers share the host.

    >>> peer_names(["a:7400", "b:7400", "b:7401"])
    {'a:7400': 'a', 'b:7400': 'b-7400', 'b:7401': 'b-7401'}
    """
    split = {peer: split_address(peer) for peer in peers}
    shared = Counter(host for host, _ in split.values())
    return {peer: _name(host, port, shared[host] > 1) for peer, (host, port) in split.items()}


def _name(host: str, port: int, with_port: bool) -> str:
    text = f"{host}-{port}" if with_port else host
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("-._")
