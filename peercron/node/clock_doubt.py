"""Clock doubt: whether this node's wall clock is good enough to own slices, which nobody else checks.

Three clocks or more: who is further than the bound from their median is wrong. Two: who is wrong cannot be measured,
but something is known of how they came apart. Whose clock was set since they agreed is the one in doubt; whose was not,
and saw the other leap, goes on; where they crept apart, or never agreed, both are in doubt. Alone, the last that was
known counts, and every step since is added to it, for as long as nobody is heard: whoever is left alone has nobody to
collide with as far as it can see, and must not stand still because of that.

A clock that stands before what this node has seen of time already (in the cluster's log, in its own slices) is wrong,
whoever is there: a machine that lost its battery wakes up in another year.
"""

from __future__ import annotations

from peercron.consensus.clocks import Clocks, Moved
from peercron.core.limits import CLOCK_BOUND_MS


class ClockDoubt:
    """Looks at the clocks of a node now and then; `look` at least every few seconds.

    Args:
        clocks: as the consensus measures them.
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        #: (how far apart the clocks were, or last agreed to be, by how much ours had been set then) when anybody was
        #: last heard.
        self._last = (0, 0)

    def look(self, now_ms: int, seen_ms: int) -> str:
        """Why our clock is in doubt, as a sentence; empty: it is not.

        Args:
            now_ms: our wall clock.
            seen_ms: an instant that is known to have been.
        """
        clocks = self._clocks
        if clocks.peers == 0:
            apart_ms = self._last[0] + clocks.set_ms - self._last[1]
            doubt = f"its clock is {apart_ms} ms off what it last agreed on" if abs(apart_ms) > CLOCK_BOUND_MS else ""
        else:
            doubt = self._beside_others(clocks.apart_ms())
        behind_ms = seen_ms - now_ms
        return doubt or (f"its clock is {behind_ms} ms before what was" if behind_ms > CLOCK_BOUND_MS else "")

    def _beside_others(self, apart_ms: int) -> str:
        clocks, moved = self._clocks, self._clocks.moved()
        other = clocks.only_other
        if moved is Moved.THEIRS and other is not None and other.agreed is not None:
            self._last = (other.agreed[0], clocks.set_ms)
            return ""
        self._last = (apart_ms, clocks.set_ms)
        if abs(apart_ms) <= CLOCK_BOUND_MS:
            return ""
        if moved is None:
            return f"its clock is {apart_ms} ms off the median of all"
        whose = "its own was set" if moved is Moved.OURS else "nobody can say which is wrong"
        return f"its clock and that of the only other node are {abs(apart_ms)} ms apart, and {whose}"
