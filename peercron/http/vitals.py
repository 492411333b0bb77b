"""Vitals: what one node knows of itself alone: its clock, its disk, its loop, what it was told at its start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from peercron.address import is_loopback, split_address
from peercron.core.checkup.finding import Finding, critical, note, warning
from peercron.core.histogram import Histogram
from peercron.core.limits import CLOCK_BOUND_MS
from peercron.http.port import NodePort
from peercron.meters import Meters, Readings

#: A disk with less room is almost full, and with less than the other as good as full.
FREE_BYTES_MIN: Final = 1 << 30
FREE_BYTES_CRITICAL: Final = 100 << 20
#: A log disk, and a loop, that are slower than this in one of a hundred times hold everything up.
SLOW_S: Final = 0.1
SLOW_SHARE: Final = 0.01
#: With fewer measurements nothing is said.
MEASURED_MIN: Final = 100
#: A leader behind with what is due by so much fires late.
OVERDUE_MS_MAX: Final = 10_000
#: Checks of /readyz that have findings of their own.
OF_THEIR_OWN: Final = ("leader", "clock")


def of_node(node: NodePort, now_ms: int) -> Iterator[Finding]:
    """All that is wrong with this node."""
    where, readings = f"node {node.name}", node.readings()
    for check, well, word in node.ready():
        if not well and check not in OF_THEIR_OWN and not (check == "session" and node.leader() is None):
            yield critical("node_not_ready", where, f"{check}: {word}", "its log says more")
    yield from _clock(where, readings)
    yield from _disk(where, node.settings.data_dir)
    yield from _speed(where, node.meters)
    if readings.leads and readings.due_ms is not None and now_ms - readings.due_ms > OVERDUE_MS_MAX:
        what = f"it leads, and is {(now_ms - readings.due_ms) // 1_000} s behind with what is due"
        yield critical("planner_overdue", where, what, "look at its load and its disk; peercron member transfer")
    yield from _settings(where, node)


def _settings(where: str, node: NodePort) -> Iterator[Finding]:
    settings = node.settings
    if not node.state.tokens and not is_loopback(split_address(settings.http)[0]):
        what = f"there is no access token: who reaches {settings.http} can run commands on every node"
        yield warning("no_tokens", where, what, "peercron token create NAME --scope admin, and one for each program")
    for warned in settings.warnings:
        if "access control" not in warned:  # what the cluster knows by now has been told
            yield warning("insecure", where, warned, "see the start options of the node")
    if settings.durability == "memory":
        what = "--durability memory: what is acknowledged is not on its disk, and a power cut may lose it"
        yield warning("not_durable", where, what, "start it without --durability memory")


def _clock(where: str, at: Readings) -> Iterator[Finding]:
    """With two clocks nobody can say which is wrong, only that they differ."""
    off_ms = at.deviation_ms
    against = "the median of all"
    if len(at.offsets_ms) == 1:
        (peer, offset_ms), *_ = at.offsets_ms.items()
        off_ms, against = -round(offset_ms), peer
    what = f"its clock is {off_ms:+} ms off {against}; the bound is {CLOCK_BOUND_MS} ms"
    advice = "look at its time service: chronyc tracking, or timedatectl"
    if abs(off_ms) > CLOCK_BOUND_MS:
        yield critical("clock_off", where, f"{what}, so it neither leads nor owns slices", advice)
    elif abs(off_ms) > CLOCK_BOUND_MS // 2:
        yield warning("clock_off", where, what, advice)


def _disk(where: str, data_dir: Path) -> Iterator[Finding]:
    try:
        disk = os.statvfs(data_dir)
    except OSError as error:
        yield critical("disk_unseen", where, f"{data_dir}: {error.strerror}", "is the data directory still there?")
        return
    free = disk.f_bavail * disk.f_frsize
    what = f"{free >> 20} of {disk.f_blocks * disk.f_frsize >> 20} MiB free in {data_dir}"
    if free < FREE_BYTES_CRITICAL:
        yield critical("disk_full", where, f"{what}; without room it stops", "make room there")
    elif free < FREE_BYTES_MIN:
        yield warning("disk_full", where, what, "make room there, before it stops for want of it")


def _speed(where: str, meters: Meters) -> Iterator[Finding]:
    if (share := _slow(meters.flush_s)) > SLOW_SHARE:
        what = f"{share:.1%} of its writes to the log took over {SLOW_S * 1000:.0f} ms"
        yield warning("log_disk_slow", where, what, "give its data directory a faster disk, or one of its own")
    if (share := _slow(meters.lag_s)) > SLOW_SHARE:
        what = f"{share:.1%} of the times its loop came over {SLOW_S * 1000:.0f} ms late"
        yield warning("loop_late", where, what, "it has too little processor: look at what else runs there")
    if failed := meters.snapshots["failed"]:
        yield note("snapshot_failed", where, f"{failed} snapshots could not be written", "its log says why")


def _slow(seen: Histogram) -> float:
    """Which share took longer than SLOW_S; 0 where there is too little to say."""
    if seen.count < MEASURED_MIN:
        return 0.0
    return sum(seen.counts[seen.bounds.index(SLOW_S) + 1 :]) / seen.count
