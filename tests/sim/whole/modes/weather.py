"""Weather: what befell which host when, as the notes of a cluster tell it: when all was well, and with whom."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

#: After trouble, so long until elections, sessions and lines are what they would be without it.
SETTLE_S = 15.0
#: So long until a host alone is: its process has started and its clock has heard others.
HOST_SETTLE_S = 12.0

#: Notes of one host that end a calm, which begins anew with them.
_SHOCKS = frozenset({"kill", "power", "start", "stop", "halted", "would not start", "guardian dies"})
_CONNECTIONS = frozenset({"break", "forget"})
#: Notes after which all is well only when somebody says so.
_STORMS = frozenset({
    *("burst", "clock far off", "part", "cut", "cut one way", "late packets", "pause", "slow disk", "full disk")
})  # fmt: skip
_DOWN = frozenset({"kill", "power", "stop", "halted", "would not start"})


@dataclass(frozen=True, slots=True)
class Calm:
    """A time in which nothing befell anybody, and what was before is forgotten."""

    from_s: float
    to_s: float

    def has(self, from_s: float, to_s: float) -> bool:
        return self.from_s <= from_s and to_s <= self.to_s


class Weather:
    """Listens to the notes of a cluster (`hear`)."""

    def __init__(self) -> None:
        self.calms: list[Calm] = []
        self._calm_since_s: float | None = 0.0
        #: Host -> (from, to) of its troubles; the last may have no end yet.
        self._troubles: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._until_calm: list[str] = []

    def hear(self, at_s: float, what: str, details: tuple[object, ...]) -> None:
        if what in ("calm", "clock right"):
            self._end_calm(at_s)
            self._calm_since_s = at_s
            self._recover(at_s)
        elif what in _STORMS:
            self._end_calm(at_s)
            self._calm_since_s = None
        elif what in _SHOCKS or what in _CONNECTIONS:
            calm = self._calm_since_s is not None
            self._end_calm(at_s)
            self._calm_since_s = at_s if calm else None
        self._befall(at_s, what, details)

    def close(self, at_s: float) -> None:
        """Nothing is noted any more."""
        self._end_calm(at_s)

    def steady(self, host: str, from_s: float, to_s: float) -> bool:
        """Whether its process lived and ran, with a good clock and disk, all this time and for a while before it."""
        return not any(
            begun_s <= to_s and from_s - HOST_SETTLE_S <= ended_s for begun_s, ended_s in self._troubles[host]
        )

    def calm_at(self, from_s: float, to_s: float) -> Calm | None:
        """The calm that holds all of this; None: there is none."""
        return next((calm for calm in self.calms if calm.has(from_s, to_s)), None)

    def calms_after(self, at_s: float) -> Iterator[Calm]:
        return (calm for calm in self.calms if calm.from_s >= at_s)

    def _end_calm(self, at_s: float) -> None:
        if self._calm_since_s is not None and at_s > self._calm_since_s + SETTLE_S:
            self.calms.append(Calm(self._calm_since_s + SETTLE_S, at_s))

    def _befall(self, at_s: float, what: str, details: tuple[object, ...]) -> None:
        host = str(details[0]) if details else ""
        if what in _DOWN:
            self._begin(host, at_s, math.inf)
        elif what == "start":
            self._end(host, at_s)
        elif what == "pause":
            self._begin(host, at_s, at_s + float(str(details[1])))
        elif what == "guardian dies":
            self._begin(host, at_s, at_s)
        elif what in ("slow disk", "full disk", "clock far off"):
            self._until_calm.append(host)
            self._begin(host, at_s, math.inf)
        elif what == "late packets":
            # What is late looks as if its clock were behind: both may doubt theirs.
            for end in details[:2]:
                self._until_calm.append(str(end))
                self._begin(str(end), at_s, math.inf)

    def _begin(self, host: str, from_s: float, to_s: float) -> None:
        self._troubles[host].append((from_s, to_s))

    def _end(self, host: str, at_s: float) -> None:
        """It has started: what its last process suffered from is over, but for what is the machine's."""
        if host not in self._until_calm:
            self._troubles[host] = [(a, min(b, at_s)) for a, b in self._troubles[host]]

    def _recover(self, at_s: float) -> None:
        hosts, self._until_calm = self._until_calm, []
        for host in hosts:
            self._end(host, at_s)
