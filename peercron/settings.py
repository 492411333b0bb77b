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
from peercron.timers import PROFILES, Timers
from peercron.times import parse_duration_ms

HTTP_PORT_OFFSET = 1_000
#: Nobody wants a member removed because it was started again.
REMOVE_DEAD_AFTER_MS_MIN = 10_000
#: A shorter secret is taken, with a warning: who records one handshake can try guesses at leisure.
SECRET_BYTES_ADVISED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one node was told. Addresses are "host:port"; an IPv6 host stands in brackets."""

    #: Where a cluster begins that has no data yet; one that has knows its members by itself.
    peers: tuple[str, ...]
    #: Where the others reach this node.
    self_address: str
    name: str
    #: Where HTTP listens.
    http: str
    data_dir: Path
    #: Members of a cluster that this node, when it is new, asks to be taken in.
    join: tuple[str, ...] = ()
    #: voter or witness; empty: not said, so it is what it was invited as or is already.
    role: str = ""
    #: Whether `name` was said, and is not only what a node at this address is called by default.
    name_given: bool = False
    #: Members that were not heard of for so long are removed by this node where it leads; None: never.
    remove_dead_after_ms: int | None = None
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
        peers, join = self.peers(), self.join()
        self_address = self.self_address(peers) if peers or join else ""
        name = self.name(peers, join, self_address)
        http = self.http(self_address)
        secret = self.secret(environ, (*peers, *join, self_address, http))
        data_dir = self.get("data_dir") or Path("peercron-data") / name
        tls = self.tls()
        seed, imports = self.existing("seed"), self.imports()
        remove_dead_after_ms = self.remove_dead_after_ms()
        if self.problems:
            raise ConfigError(self.problems)
        return Settings(
            peers=peers,
            join=join,
            self_address=self_address,
            name=name,
            name_given=bool(self.get("name")),
            http=http,
            remove_dead_after_ms=remove_dead_after_ms,
            data_dir=data_dir,
            imports=imports,
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

    def peers(self) -> tuple[str, ...]:
        if not self.get("peers") and not self.get("join"):
            self.wrong(
                "peers",
                "required: the HOST:PORT of every node of the cluster, this one too, with commas between; or --join "
                "with a member of one that runs",
            )
        return self.addresses("peers")

    def join(self) -> tuple[str, ...]:
        if self.get("join") and self.get("peers"):
            self.wrong("join", "--peers begins a cluster, --join enters one that runs: give one of them")
        return self.addresses("join")

    def addresses(self, key: str) -> tuple[str, ...]:
        addresses: list[str] = []
        for text in self.get(key):
            address = self.dialable(key, text)
            if address in addresses:
                self.wrong(key, f"{address} is named twice")
            elif address:
                addresses.append(address)
        if len(addresses) > MEMBERS_MAX:
            self.wrong(key, f"at most {MEMBERS_MAX} nodes, not {len(addresses)}")
        return tuple(addresses)

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
            # It need not be one of the peers: a member may have moved. A new one must, which its data directory shows.
            return self.dialable("self", given)
        if not peers:
            self.wrong("self", "required with --join: the HOST:PORT by which the others reach this node")
            return ""
        here = [peer for peer in peers if self.local(split_address(peer)[0])]
        if len(here) == 1:
            return here[0]
        found = f"several of the peers are this host ({', '.join(here)})" if here else "none of the peers is this host"
        self.wrong("self", f"{found}: say which one this node is with --self HOST:PORT")
        return ""

    def name(self, peers: tuple[str, ...], join: tuple[str, ...], self_address: str) -> str:
        defaults = peer_names(tuple(dict.fromkeys((*peers, *join, self_address)))) if self_address else {}
        name: str = self.get("name") or defaults.get(self_address, "")
        if name and not NAME_PATTERN.fullmatch(name):
            self.wrong("name", f"{name!r}: letters, digits, dots, dashes and underscores, at most 128, no dash first")
        others = {n: peer for peer, n in defaults.items() if peer != self_address}
        if self_address in peers and name in others:
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

    def imports(self) -> tuple[str, ...]:
        modules: tuple[str, ...] = self.get("import")
        for module in modules:
            if not all(part.isidentifier() for part in module.split(".")):
                self.wrong("import", f"{module!r} is not the name of a Python module, like acme.jobs")
        return modules

    def remove_dead_after_ms(self) -> int | None:
        text = self.get("remove_dead_after")
        try:
            after_ms = parse_duration_ms(text) if text else None
        except ValueError as error:
            self.wrong("remove_dead_after", str(error))
            return None
        if after_ms is not None and after_ms < REMOVE_DEAD_AFTER_MS_MIN:
            self.wrong(
                "remove_dead_after", f"{text} is shorter than a restart; at least {REMOVE_DEAD_AFTER_MS_MIN // 1000}s"
            )
        return after_ms

    def existing(self, key: str) -> Path | None:
        path: Path | None = self.get(key)
        if path is not None and not path.is_file():
            self.wrong(key, f"there is no file {path}")
        return path
