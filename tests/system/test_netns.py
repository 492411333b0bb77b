"""The network of the system tests does what it is told, and leaves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.netns import Host, Network, between, command_inside, inside, remove_stale, started_at, unavailable
from tests.system.processes import wait_for

pytestmark = [
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]

PORT = 7000
#: What has not arrived by then does not arrive: there is nothing on the way but the kernel.
SILENCE_S = 0.1


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(3) as network:
        yield network


class Ears:
    """A socket on each host."""

    def __init__(self, network: Network) -> None:
        self._sockets: dict[Host, socket.socket] = {}
        for host in network.hosts:
            with inside(host.namespace):
                self._sockets[host] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets[host].bind((host.address, PORT))
            self._sockets[host].settimeout(SILENCE_S)

    def __enter__(self) -> Ears:
        return self

    def __exit__(self, *error: object) -> None:
        for one in self._sockets.values():
            one.close()

    def hears(self, a: Host, b: Host) -> bool:
        """Whether something sent by a arrives at b."""
        return self.count(a, b, 1, 1) == 1

    def count(self, a: Host, b: Host, number: int, size: int) -> int:
        """Of so many packets of `size` bytes sent at once by a, how many arrive at b."""
        for _ in range(number):
            self._sockets[a].sendto(bytes(size), (b.address, PORT))
        return sum(self._arrived(b) for _ in range(number))

    def _arrived(self, b: Host) -> bool:
        try:
            self._sockets[b].recv(10)
        except TimeoutError:
            return False
        return True

    def ways(self) -> set[tuple[int, int]]:
        """Pairs of numbers of hosts: what is sent by the first arrives at the second."""
        every = list(self._sockets)
        return {(a.number, b.number) for a in every for b in every if a != b and self.hears(a, b)}


ALL = {(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)}


def test_hosts_reach_each_other_and_only_what_is_cut_is_cut(network: Network) -> None:
    one, two, three = network.hosts
    with Ears(network) as ears:
        assert ears.ways() == ALL
        network.cut({(one, two)})
        assert ears.ways() == ALL - {(1, 2)}
        network.cut(between([three], [one, two]))
        assert ears.ways() == {(1, 2), (2, 1)}
        network.pull([one])
        assert ears.ways() == set()
        network.heal()
        wait_for(lambda: ears.ways() == ALL, "everything to be well again")


def test_a_host_whose_cable_is_pulled_hears_silence_and_no_refusal(network: Network) -> None:
    """That is what a connection meets when a machine goes: nothing, until somebody's time-out."""
    one, two, _ = network.hosts
    with inside(two.namespace):
        server = socket.create_server((two.address, PORT))
    with inside(one.namespace):
        client = socket.create_connection((two.address, PORT), timeout=SILENCE_S)
    accepted, _ = server.accept()
    network.pull([two])
    client.sendall(b"hello")
    with pytest.raises(TimeoutError):
        client.recv(1)
    accepted.settimeout(5)
    network.heal()
    assert accepted.recv(10) == b"hello"
    for one_socket in (server, client, accepted):
        one_socket.close()


def test_what_a_narrow_cable_does_not_take_is_lost(network: Network) -> None:
    """30 kB at once is more than it takes and keeps, in either direction."""
    one, two, _ = network.hosts
    with Ears(network) as ears:
        assert ears.count(one, two, 30, 1_000) == 30
        for host in (one, two):
            network.narrow([host])
            assert 3 < ears.count(one, two, 30, 1_000) < 30
        network.heal()
        assert ears.count(one, two, 30, 1_000) == 30


def test_two_networks_do_not_meet(network: Network) -> None:
    with Network(2) as other, Ears(network) as here, Ears(other) as there:
        other.pull(other.hosts)
        assert here.ways() == ALL
        assert there.ways() == set()


def test_nothing_is_left_of_it_and_who_still_runs_there_is_ended() -> None:
    with Network(1) as network:
        namespace = network.hosts[0].namespace
        sleeper = subprocess.Popen([*command_inside(namespace), "sleep", "100"])
        wait_for(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", "it to run")
    assert sleeper.wait(5) < 0
    assert not Path("/run/netns", namespace).exists()


def test_what_a_killed_run_left_is_removed_by_the_next() -> None:
    program = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from tests.system.netns import Network
network = Network(2)
print(*(host.namespace for host in network.hosts), flush=True)
os.kill(os.getpid(), 9)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    left = [Path("/run/netns", name) for name in told.stdout.split()]
    assert len(left) == 2, told.stderr
    with Network(1) as mine:
        assert not any(path.exists() for path in left)
        remove_stale()
        assert Path("/run/netns", mine.hosts[0].namespace).exists(), "its maker lives"


def test_a_process_is_known_by_its_start() -> None:
    assert started_at(os.getpid()) > 0
    assert started_at(2**22 + 1) == 0
