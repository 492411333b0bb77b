"""Identity: who this data directory is, and that only one process uses it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from peercron.errors import DataDirError

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """What is remembered of a member. `session` grows with each use, so that no two boots share one."""

    cluster: str
    member: str
    peers: tuple[str, ...]
    session: int


def cluster_id(name: str, peers: Sequence[str]) -> str:
    """The id of a cluster that begins with these peers: the same on all hosts, however they list them."""
    digest = hashlib.sha256("\n".join([name, *sorted(peers)]).encode()).hexdigest()
    return f"{name}-{digest[:12]}"


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
            raise DataDirError(f"{path} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._lock)

    def identify(self, cluster: str, member: str, peers: Sequence[str]) -> Identity:
        """Who we are, with a session number that was never used.

        Raises:
            DataDirError: the directory belongs to another member or another cluster.
        """
        known = self._read()
        if known is None:
            known = Identity(cluster, member, tuple(sorted(peers)), 0)
        if known.member != member:
            raise DataDirError(
                f"{self.path} belongs to {known.member}, this node is {member}; see --self and --data-dir"
            )
        if known.cluster != cluster:
            raise DataDirError(
                f"{self.path} belongs to a cluster of {', '.join(known.peers)}; --peers says {', '.join(sorted(peers))}"
            )
        return self.next_session(known)

    def next_session(self, identity: Identity) -> Identity:
        """The identity with the next session number, durable before it is used."""
        following = Identity(identity.cluster, identity.member, identity.peers, identity.session + 1)
        self._store(json.dumps({"format": FORMAT, **asdict(following)}, indent=1) + "\n")
        return following

    def _read(self) -> Identity | None:
        try:
            text = self._load()
            if text is None:
                return None
            data = json.loads(text)
            return Identity(data["cluster"], data["member"], tuple(data["peers"]), int(data["session"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataDirError(f"{self.path / 'identity.json'} is unreadable: {error}") from error

    # The file itself; a simulator keeps it elsewhere.

    def _load(self) -> str | None:
        try:
            return (self.path / "identity.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _store(self, text: str) -> None:
        """Durably, and all at once."""
        beside = self.path / "identity.json.new"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path / "identity.json")
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DataDirError(f"{self.path} cannot be written: {error.strerror}") from error
