"""settings: one frozen Settings from flags, environment, file and defaults, with the origin of each value.

Precedence: flag, environment, file, default. Every problem is reported at once, each under the name by which the user
gave the value. `FIELDS` is the single list of what can be set; the command line makes its options from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peercron.address import (
    NAME_PATTERN,
    beside,
    is_local,
    is_loopback,
    is_unspecified,
    join_address,
    peer_names,
    split_address,
)
from peercron.core.limits import MEMBERS_MAX
from peercron.errors import ConfigError, Problem
from peercron.sources import FIELDS, Value, gather, misspelt

HTTP_PORT_OFFSET = 1_000
#: A shorter secret is taken, with a warning: who records one handshake can try guesses at leisure.
SECRET_BYTES_ADVISED = 16


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one node was told. Addresses are "host:port"; an IPv6 host stands in brackets."""

    peers: tuple[str, ...]
    #: The one of `peers` that is this node.
    self_address: str
    name: str
    #: Where HTTP listens.
    http: str
    data_dir: Path
    join: str = ""
    role: str = "voter"
    dc: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    imports: tuple[str, ...] = ()
    seed: Path | None = None
    #: None: no secret was given, and every address is loopback or `insecure` was.
    secret: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    durability: str = "fsync"
    profile: str = "lan"
    log_format: str = "text"
    log_level: str = "info"
    #: Nodes of another cluster are refused, also when they know the secret.
    cluster: str = "peercron"
    #: Sentences for the log at start: what was allowed but is not wise.
    warnings: tuple[str, ...] = ()
    #: Key of node.toml -> where its value is from, for people.
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def timers(self) -> Timers:
        """The durations of the profile."""
        return PROFILES[self.profile]

    @property
    def names(self) -> dict[str, str]:
        """Peer address -> the name it goes by, as far as this node knows before it has heard from the others."""
        return peer_names(self.peers) | {self.self_address: self.name}

    @property
    def http_advertised(self) -> str:
        """The "host:port" of HTTP that others dial: the host of `self_address` where it listens on every address."""
        host, port = split_address(self.http)
        return join_address(split_address(self.self_address)[0], port) if is_unspecified(host) else self.http

    @property
    def http_url(self) -> str:
        """The base URL of this node for people and programs."""
        return f"{'https' if self.tls_cert else 'http'}://{self.http_advertised}"


def load(
    flags: Mapping[str, object], environ: Mapping[str, str], *, local: Callable[[str], bool] = is_local
) -> Settings:
    """Settings from flags (by key of `FIELDS`; None: not given) and environment; ConfigError carries all problems.

    >>> load({"peers": "127.0.0.1:7400"}, {}).http
    '127.0.0.1:8400'
    """
    values, problems = gather(flags, environ)
    return _Reading(values, problems, local).settings(environ)


class _Reading:
    """One pass over the gathered values: it turns each into its field and notes what is wrong on the way."""

    def __init__(self, values: Mapping[str, Value], problems: list[Problem], local: Callable[[str], bool]) -> None:
        self.values = values
        self.problems = problems
        self.local = local
        self.warnings: list[str] = []

    def settings(self, environ: Mapping[str, str]) -> Settings:
        self.refuse_later_features()
        peers = self.peers()
        self_address = self.self_address(peers) if peers else ""
        name = self.name(peers, self_address)
        http = self.http(self_address)
        secret = self.secret(environ, (*peers, http))
        data_dir = self.get("data_dir") or Path("peercron-data") / name
        tls = self.tls()
        seed = self.existing("seed")
        if self.problems:
            raise ConfigError(self.problems)
        return Settings(
            peers=peers,
            self_address=self_address,
            name=name,
            http=http,
            data_dir=data_dir,
            seed=seed,
            secret=secret,
            tls_cert=tls[0],
            tls_key=tls[1],
            tls_ca=tls[2],
            tags=tuple(sorted(self.get("tags").items())),
            warnings=(*self.warnings, *misspelt(environ)),
            origins={f.key: self.values[f.key].origin for f in FIELDS},
            **{key: self.get(key) for key in ("role", "dc", "insecure", "durability", "profile", "cluster")},
            **{key: self.get(key) for key in ("log_format", "log_level")},
        )

    def get(self, key: str) -> Any:
        return self.values[key].value

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(self.values[key].label, message))

    def refuse_later_features(self) -> None:
        if self.get("join"):
            self.wrong("join", "joining a running cluster is not supported by this version; start it with --peers")
        if self.get("role") == "witness":
            self.wrong("role", "a witness is not supported by this version; use voter")
        if self.get("import"):
            self.wrong("import", "Python job classes are not supported by this version")

    def peers(self) -> tuple[str, ...]:
        peers: list[str] = []
        for text in self.get("peers"):
            address = self.dialable("peers", text)
            if address in peers:
                self.wrong("peers", f"{address} is named twice")
            elif address:
                peers.append(address)
        if not self.get("peers") and not self.get("join"):
            self.wrong(
                "peers", "required: the HOST:PORT of every node of the cluster, this one too, with commas between"
            )
        if len(peers) > MEMBERS_MAX:
            self.wrong("peers", f"at most {MEMBERS_MAX} nodes, not {len(peers)}")
        return tuple(peers)

    def dialable(self, key: str, text: str) -> str:
        try:
            host, port = split_address(text)
        except ValueError as error:
            self.wrong(key, str(error))
            return ""
        if is_unspecified(host):
            self.wrong(key, f"{text!r} cannot be dialled by the others; give the address they reach this host by")
        return join_address(host, port)

    def self_address(self, peers: tuple[str, ...]) -> str:
        if given := self.get("self"):
            address = self.dialable("self", given)
            if address and address not in peers:
                self.wrong("self", f"{address} is none of the peers {', '.join(peers)}")
            return address
        here = [peer for peer in peers if self.local(split_address(peer)[0])]
        if len(here) == 1:
            return here[0]
        found = f"several of the peers are this host ({', '.join(here)})" if here else "none of the peers is this host"
        self.wrong("self", f"{found}: say which one this node is with --self HOST:PORT")
        return ""

    def name(self, peers: tuple[str, ...], self_address: str) -> str:
        defaults = peer_names(peers)
        name: str = self.get("name") or defaults.get(self_address, "")
        if name and not NAME_PATTERN.fullmatch(name):
            self.wrong("name", f"{name!r}: letters, digits, dots, dashes and underscores, at most 128, no dash first")
        others = {n: peer for peer, n in defaults.items() if peer != self_address}
        if self_address and name in others:
            self.wrong("name", f"{name!r} is the name of the peer {others[name]}")
        return name

    def http(self, self_address: str) -> str:
        given = self.get("http")
        try:
            http = join_address(*split_address(given)) if given else beside(self_address, HTTP_PORT_OFFSET)
        except ValueError as error:
            self.wrong("http", f"{error}{'' if given else ': give --http HOST:PORT'}")
            return ""
        if http and not is_loopback(split_address(http)[0]):
            self.warnings.append(
                f"HTTP has no access control in this version: who reaches {http} can run commands here"
            )
        return http

    def secret(self, environ: Mapping[str, str], addresses: tuple[str, ...]) -> bytes | None:
        secret = self.given_secret(environ)
        exposed = [address for address in addresses if address and not is_loopback(split_address(address)[0])]
        if secret is None and exposed and not self.problems_with("secret_file"):
            if self.get("insecure"):
                self.warnings.append(f"insecure: no secret, and whoever reaches {', '.join(exposed)} can do anything")
            else:
                self.wrong(
                    "secret_file",
                    f"required because {exposed[0]} is not a loopback address: write the same secret to a file on each "
                    "host (openssl rand -hex 32) and give --secret-file, or say --insecure",
                )
        if secret is not None and len(secret) < SECRET_BYTES_ADVISED:
            self.warnings.append(f"the secret is short: {SECRET_BYTES_ADVISED} bytes or more resist guessing")
        return secret

    def given_secret(self, environ: Mapping[str, str]) -> bytes | None:
        literal = environ.get("PEERCRON_SECRET", "")
        path: Path | None = self.get("secret_file")
        if literal and path and self.values["secret_file"].origin.startswith("environment"):
            self.wrong("secret_file", "PEERCRON_SECRET is set too; give one of them")
        if literal and not (path and self.values["secret_file"].origin.startswith("flag")):
            return literal.strip().encode()
        if path is None:
            return None
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            self.wrong("secret_file", f"cannot read {path}: {error.strerror}")
            return None
        if not secret:
            self.wrong("secret_file", f"{path} is empty")
            return None
        if path.stat().st_mode & 0o007:
            self.warnings.append(f"{path} can be read by every user of this host: chmod o= it")
        return secret

    def problems_with(self, key: str) -> bool:
        return any(problem.path == self.values[key].label for problem in self.problems)

    def tls(self) -> tuple[Path | None, Path | None, Path | None]:
        cert, key, ca = (self.existing(f"tls_{part}") for part in ("cert", "key", "ca"))
        for has, lacks in (("cert", "key"), ("key", "cert"), ("ca", "cert")):
            if self.get(f"tls_{has}") and not self.get(f"tls_{lacks}"):
                self.wrong(f"tls_{has}", f"needs --tls-{lacks} too")
        return cert, key, ca

    def existing(self, key: str) -> Path | None:
        path: Path | None = self.get(key)
        if path is not None and not path.is_file():
            self.wrong(key, f"there is no file {path}")
        return path
