"""Identity: who this data directory is, and that only one process uses it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from peercron.errors import ConfigError, DataDirError, Problem, TooOld
from peercron.space import disk_full

FORMAT: Final = 2
#: The file by which who owns a data directory is root at its node, where the cluster has no secret.
OWN_SECRET: Final = "root.secret"
OWN_SECRET_BYTES: Final = 32
#: What is to be done about a data directory that cannot be trusted.
RENEWED: Final = (
    "`peercron member remove` this node at another, then start it with an empty --data-dir and --join, and it is given"
    " everything anew; where no majority is left, see `peercron recover`"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What is remembered of a member, from the first use of its data directory on."""

    #: Empty as long as no cluster has taken it in.
    cluster: str
    #: Its id, for the life of the directory: a founder's is the address it began with, a later member's is random.
    member: str
    #: Random and made with the directory, so that a founder's that was wiped is told from the one that it was.
    incarnation: str
    #: Where the others reach it; may change from one start to the next.
    address: str
    #: The addresses that the cluster began with.
    founders: tuple[str, ...]
    #: Grows with each use, so that no two boots share one.
    session: int

    @property
    def founded(self) -> bool:
        """Whether it has been a member from the beginning, and its log begins with the cluster's."""
        return self.member in self.founders


def cluster_id(name: str, peers: Sequence[str]) -> str:
    """The id of a cluster that begins with these peers: the same on all hosts, however they list them."""
    digest = hashlib.sha256("\n".join([name, *sorted(peers)]).encode()).hexdigest()
    return f"{name}-{digest[:12]}"


def cluster_name(cluster: str) -> str:
    """The name that `cluster_id` made this of."""
    return cluster.rpartition("-")[0]


class DataDir:
    """The data directory, held for one process.

    Args:
        path: the directory; made if it is not there.

    Raises:
        DataDirError: it cannot be used, or another process uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DataDirError(
                f"{path} is in use by another peercron node; each node needs its own --data-dir"
            ) from None
        except OSError as error:
            raise disk_full(error, path) or DataDirError(f"{path} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._lock)

    def identify(self, name: str, address: str, peers: Sequence[str], fresh: Callable[[], str]) -> Identity:
        """Who we are: as remembered, at this address; or, in a new directory, a founder of a cluster of these peers.

        Args:
            name: of the cluster.
            address: where the others reach us now.
            peers: the founders, for a directory that is new.
            fresh: makes a random id.

        Raises:
            ConfigError: the directory is new, and we are none of the peers.
            DataDirError: it belongs to another cluster, or to a node that no cluster has taken in yet.
        """
        known = self.read()
        if known is None:
            if address not in peers:
                raise ConfigError([Problem("--self", f"{address} is none of the peers {', '.join(peers)}")])
            known = Identity(cluster_id(name, peers), address, fresh(), address, tuple(sorted(peers)), 0)
            self.write(known)
        if not known.cluster:
            raise DataDirError(f"{self.path} is of a node that was about to join a cluster; start it with --join")
        if cluster_name(known.cluster) != name:
            raise DataDirError(
                f"{self.path} belongs to the cluster {cluster_name(known.cluster)}, and --cluster says {name}"
            )
        return replace(known, address=address)

    def newcomer(self, address: str, fresh: Callable[[], str]) -> Identity:
        """Who we shall be in a cluster that we ask to join; durable before we ask, so that asking again is the same."""
        known = self.read()
        if known is None:
            own = fresh()
            known = Identity("", own, own, address, (), 0)
        if not known.cluster:
            self.write(replace(known, address=address))
        return replace(known, address=address)

    def next_session(self, identity: Identity) -> Identity:
        """The identity with the next session number, durable before it is used."""
        following = replace(identity, session=identity.session + 1)
        self.write(following)
        return following

    def write(self, identity: Identity) -> None:
        """Make it durable. DataDirError: the directory cannot be written; DiskFull: for now."""
        self._store(json.dumps({"format": FORMAT, **asdict(identity)}, indent=1) + "\n")

    def read(self) -> Identity | None:
        """What is remembered; None: nothing yet. DataDirError: it is unreadable. TooOld: a newer version wrote it."""
        path = self.path / "identity.json"
        try:
            text = self._load()
            if text is None:
                return None
            data = json.loads(text)
            if data["format"] > FORMAT:
                raise TooOld(f"{path} is of format {data['format']}, this version reads {FORMAT}")
            if data["format"] != FORMAT:
                raise DataDirError(f"{path} has format {data['format']}, and this version reads {FORMAT}")
            cluster, member, incarnation, address = (data[k] for k in ("cluster", "member", "incarnation", "address"))
            return Identity(cluster, member, incarnation, address, tuple(data["founders"]), int(data["session"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise DataDirError(f"{path} is unreadable: {why}; {RENEWED}") from error

    def own_secret(self) -> bytes:
        """A secret that only who may read the directory has; made when it is first asked for. Raises as `write`."""
        path = self.path / OWN_SECRET
        try:
            if not path.exists():
                self._store(f"{secrets.token_hex(OWN_SECRET_BYTES)}\n", OWN_SECRET)
            return path.read_bytes().strip()
        except OSError as error:
            raise DataDirError(f"{path} is unreadable: {error.strerror}") from error

    # The file itself; a simulator keeps it elsewhere.

    def _load(self) -> str | None:
        try:
            return (self.path / "identity.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _store(self, text: str, name: str = "identity.json") -> None:
        """Durably, all at once, and for its owner alone."""
        beside = self.path / f"{name}.new"
        try:
            with open(beside, "w", encoding="utf-8", opener=_private) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path / name)
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            cannot = DataDirError(f"{self.path} cannot be written: {error.strerror}")
            raise disk_full(error, self.path) or cannot from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
