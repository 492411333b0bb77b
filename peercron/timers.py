"""timers: the durations by which a node beats, elects, leases and stops, one set for each kind of network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timers:
    """The durations of one profile, in milliseconds.

    The cluster gives a session up `lease_ms` after the leader last heard of it. The node renews every `renew_ms`, and
    counting from its last confirmed renewal its guardian ends attempts at `stop_ms` (TERM) and `kill_ms` (KILL).
    """

    heartbeat_ms: int
    election_min_ms: int
    election_max_ms: int
    lease_ms: int
    renew_ms: int
    stop_ms: int
    kill_ms: int

    def __post_init__(self) -> None:
        assert self.heartbeat_ms * 3 <= self.election_min_ms < self.election_max_ms
        assert self.renew_ms * 2 <= self.stop_ms < self.kill_ms
        # 2 % for clocks that do not run equally fast, on top of the kill itself.
        assert self.kill_ms * 1.02 < self.lease_ms


PROFILES = {
    "lan": Timers(50, 300, 600, 1_500, 300, 900, 1_300),
    "wan": Timers(250, 1_500, 3_000, 6_000, 1_200, 3_600, 5_200),
    "demo": Timers(50, 200, 400, 1_000, 200, 600, 850),
}
