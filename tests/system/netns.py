"""Hosts as network namespaces: a switch (a bridge in a namespace of its own), and hosts on it by a cable each.

Faults are put in at the switch, where nobody on a host can see them: a cable is pulled (no RST, no FIN: silence), or
packets from one host to another are dropped, in one direction or both. Needs root, a kernel with bridges, veth and
traffic control, and `ip` and `tc` (Debian: iproute2).

Everything is in namespaces whose names say which process made them, so that parallel runs do not meet, and what a
killed run left behind is found and removed by the next one.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Debian keeps both where only root's PATH looks.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_NAMED = Path("/run/netns")
_PREFIX = "pctest"
_CLONE_NEWNET = 0x40000000
#: What a narrow cable lets through in either direction; what has to wait longer than that is lost.
_NARROW = "tbf rate 256kbit burst 4kb latency 300ms"
#: A port of the switch that is never up: what is sent there is gone.
_NOWHERE = "nowhere"
_libc = ctypes.CDLL(None, use_errno=True)


class NoNetwork(Exception):
    """This machine cannot have hosts of its own; the message says why."""


@dataclass(frozen=True, slots=True)
class Host:
    """A place on the network; `number` counts from 1."""

    number: int
    namespace: str

    @property
    def address(self) -> str:
        return f"10.99.0.{self.number}"

    @property
    def mac(self) -> str:
        return f"02:70:63:00:00:{self.number:02x}"

    @property
    def port(self) -> str:
        """Its port of the switch."""
        return f"port{self.number}"


#: Packets from the first to the second.
Way = tuple[Host, Host]


class Network:
    """`size` hosts that reach each other. Raises NoNetwork where that cannot be.

    >>> with Network(3) as network:                                 # doctest: +SKIP
    ...     one, two, three = network.hosts                         # doctest: +SKIP
    ...     network.cut({(one, two)})     # two hears nothing of one; one hears two
    """

    def __init__(self, size: int) -> None:
        if reason := unavailable():
            raise NoNetwork(reason)
        remove_stale()
        self._names = f"{_PREFIX}-{os.getpid()}-{started_at(os.getpid())}-{secrets.token_hex(3)}"
        self._switch = f"{self._names}-switch"
        self.hosts = tuple(Host(n, f"{self._names}-h{n}") for n in range(1, size + 1))
        self._cut: frozenset[Way] = frozenset()
        self._pulled: frozenset[Host] = frozenset()
        self._narrow: frozenset[Host] = frozenset()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _build(self) -> None:
        _ip([f"netns add {self._switch}", *(f"netns add {host.namespace}" for host in self.hosts)])
        _ip(
            [
                "link add name hub type bridge stp_state 0 mcast_snooping 0",
                "link set hub up",
                f"link add name {_NOWHERE} type veth peer name {_NOWHERE}2",
                *(
                    line
                    for host in self.hosts
                    for line in (
                        f"link add name {host.port} type veth peer name eth0 address {host.mac} netns {host.namespace}",
                        f"link set {host.port} master hub up",
                    )
                ),
            ],
            within=self._switch,
        )
        for host in self.hosts:
            # Neighbours are told, not asked for: a direction that is cut would otherwise cut the asking too.
            neighbours = (
                f"neigh add {other.address} lladdr {other.mac} dev eth0 nud permanent"
                for other in self.hosts
                if other != host
            )
            lines = ["link set lo up", f"addr add {host.address}/24 dev eth0", "link set eth0 up", *neighbours]
            _ip(lines, within=host.namespace)
        _tc([f"qdisc add dev {host.port} clsact" for host in self.hosts], within=self._switch)

    def cut(self, ways: Iterable[Way]) -> None:
        """Drop what goes these ways from now on, and let through what goes any other."""
        wanted = frozenset(ways)
        lines = [f"filter del dev {a.port} ingress pref {b.number}" for a, b in self._cut - wanted]
        lines += [
            f"filter add dev {a.port} ingress pref {b.number} protocol ip u32 match ip dst {b.address}/32"
            f" action mirred egress redirect dev {_NOWHERE}"
            for a, b in wanted - self._cut
        ]
        _tc(lines, within=self._switch)
        self._cut = wanted

    def pull(self, hosts: Iterable[Host]) -> None:
        """These hosts have no cable from now on, and all others have one."""
        wanted = frozenset(hosts)
        lines = [f"link set {host.port} up" for host in self._pulled - wanted]
        lines += [f"link set {host.port} down" for host in wanted - self._pulled]
        _ip(lines, within=self._switch)
        self._pulled = wanted

    def narrow(self, hosts: Iterable[Host]) -> None:
        """The cables of these hosts take little from now on (late, then lost), and those of all others take all."""
        wanted = frozenset(hosts)
        for host, add in [
            *((host, False) for host in self._narrow - wanted),
            *((h, True) for h in wanted - self._narrow),
        ]:
            for within, device in ((self._switch, host.port), (host.namespace, "eth0")):
                _tc([f"qdisc {'add' if add else 'del'} dev {device} root {_NARROW if add else ''}"], within)
        self._narrow = wanted

    def heal(self) -> None:
        self.cut(())
        self.pull(())
        self.narrow(())

    def close(self) -> None:
        """End what still runs on the hosts, and take everything away."""
        for namespace in (self._switch, *(host.namespace for host in self.hosts)):
            _remove(namespace)


def between(some: Iterable[Host], others: Iterable[Host]) -> set[Way]:
    """Both directions between each of some and each of the others.

    >>> a, b = Host(1, ""), Host(2, "")
    >>> between([a], [b]) == {(a, b), (b, a)}
    True
    """
    rest = list(others)
    return {way for a in some for b in rest if a != b for way in ((a, b), (b, a))}


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets that this thread opens meanwhile are on that host, and stay so."""
    with open("/proc/thread-self/ns/net", "rb") as home, (_NAMED / namespace).open("rb") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def command_inside(namespace: str) -> list[str]:
    """What a command begins with to run on that host. It becomes the command: the process id is the same."""
    return [_found("ip"), "netns", "exec", namespace]


@cache
def unavailable() -> str:
    """Why there can be no hosts here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    if missing := [name for name in ("ip", "tc") if not shutil.which(name, path=_PATH)]:
        return f"needs {' and '.join(missing)} (Debian: apt-get install iproute2)"
    namespace = f"{_PREFIX}-{os.getpid()}-{started_at(os.getpid())}-{secrets.token_hex(3)}-trial"
    try:
        _ip([f"netns add {namespace}"])
        trial = ["link add name hub type bridge", "link add name a type veth peer name b"]
        _ip(trial, within=namespace)
        action = "action mirred egress redirect dev b"
        _tc(["qdisc add dev a clsact", f"filter add dev a ingress protocol ip u32 match u32 0 0 {action}"], namespace)
        _tc([f"qdisc add dev a root {_NARROW}"], namespace)
    except NoNetwork as error:
        return f"this machine lets nobody make network namespaces with a bridge and filters: {error}"
    finally:
        _remove(namespace)
    return ""


def remove_stale() -> None:
    """Take away what runs that are dead have left, and end what still runs there: nodes of theirs."""
    for path in _NAMED.glob(f"{_PREFIX}-*") if _NAMED.is_dir() else ():
        _, pid, started, *_ = path.name.split("-")
        if started_at(int(pid)) != int(started):
            _remove(path.name)


def _remove(namespace: str) -> None:
    if not (_NAMED / namespace).exists():
        return
    told = subprocess.run([_found("ip"), "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in map(int, told.stdout.split()):
        if pid != os.getpid():
            _kill(pid)
    subprocess.run([_found("ip"), "netns", "delete", namespace], capture_output=True, check=False)


def started_at(pid: int) -> int:
    """When a process started, in ticks since boot; 0: it is gone. Together with the id it names one process ever."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has just ended
        return


def _ip(lines: list[str], within: str = "") -> None:
    _batch("ip", lines, within)


def _tc(lines: list[str], within: str = "") -> None:
    _batch("tc", lines, within)


def _batch(tool: str, lines: list[str], within: str) -> None:
    """Run a tool on many lines at once; raises NoNetwork with what it said."""
    command = [_found(tool), *(["-n", within] if within else []), "-batch", "-"]
    if not lines:
        return
    told = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if told.returncode:
        raise NoNetwork(f"{tool}: {' '.join(told.stderr.split())}")


def _found(tool: str) -> str:
    return shutil.which(tool, path=_PATH) or tool
