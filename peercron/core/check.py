"""Check: what is looked at to know whether a node can do a job, how often, and how many results make a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHECK_INTERVAL_MS: Final = 5_000
CHECK_TIMEOUT_MS: Final = 2_000
CHECK_RISE: Final = 2
CHECK_FALL: Final = 3
#: What the probe of a trigger is called among the checks of its job; no check that a user names is called so.
TRIGGER_CHECK: Final = "on:"


@dataclass(frozen=True, slots=True)
class ProcessProbe:
    """A process is alive: the one whose number stands in `pid_file`, or any of this `name` (as `pgrep -x` knows it)."""

    pid_file: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """A command ends with 0."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UrlProbe:
    """An HTTP GET is answered with one of these statuses (none: any 2xx). Redirects are not followed."""

    url: str
    expect_status: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointProbe:
    """A TCP connection can be made. Without a `host`: to the host of the node that is looked at, also by its peers."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class FileProbe:
    """A file (or a folder) of this path is there. Starts jobs; no check has one."""

    path: str


Probe = ProcessProbe | CommandProbe | UrlProbe | EndpointProbe | FileProbe


@dataclass(frozen=True, slots=True)
class Check:
    """A probe that is made again and again. What it says of a node is its verdict on that node.

    A verdict turns bad after `fall` bad results in a row, and good again after `rise` good ones; the first result of
    all is a verdict at once.
    """

    name: str
    probe: Probe
    interval_ms: int = CHECK_INTERVAL_MS
    timeout_ms: int = CHECK_TIMEOUT_MS
    rise: int = CHECK_RISE
    fall: int = CHECK_FALL
    #: How many must call a node bad before it is; 0: a majority of those that have looked. Only where peers look too.
    observers: int = 0

    @property
    def by_peers(self) -> bool:
        """Whether all members look, and not only the node itself."""
        return isinstance(self.probe, EndpointProbe) and not self.probe.host
