"""sources: the table of what can be set, and the gathering of raw values from flags, environment and node.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto
from pathlib import Path
from typing import Any

from peercron.errors import Problem


class Kind(Enum):
    """How the text of a value is read."""

    TEXT = auto()
    LIST = auto()  # commas between, or a list in the file, or the flag repeated
    TABLE = auto()  # k=v with commas between, or a table in the file, or the flag repeated
    SWITCH = auto()
    PATH = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that can be set. `key` is its name in node.toml; flag and variable follow from it."""

    key: str
    form: str
    help: str
    kind: Kind = Kind.TEXT
    default: Any = ""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As typed on the command line."""
        return "--tag" if self.key == "tags" else "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """As set in the environment."""
        return "PEERCRON_" + self.flag[2:].replace("-", "_").upper()


FIELDS = (
    Field("peers", "HOST:PORT,…", "Every node of the cluster, this one too.", Kind.LIST, ()),
    Field(
        "self", "HOST:PORT",
        "Where the others reach this node; at first one of --peers. Default: found by matching local addresses.",
    ),
    Field("name", "NAME", "Default: the host part, or host-port where hosts repeat."),
    Field("http", "HOST:PORT", "Where HTTP listens. Default: the host of --self, its port + 1000."),
    Field("data_dir", "DIR", "Default: ./peercron-data/<name>.", Kind.PATH, None),
    Field(
        "join", "HOST:PORT,…", "Join a running cluster through any of these members, instead of --peers; needs --self.",
        Kind.LIST, (),
    ),
    Field(
        "role", "ROLE", "A voter runs jobs, a witness only votes. Default: as invited, or as before; else voter.",
        choices=("voter", "witness"),
    ),
    Field("dc", "NAME", "The datacentre this node stands in."),
    Field("tags", "K=V", "A tag of this node; repeatable.", Kind.TABLE, {}),
    Field("import", "MODULE", "Python module with Job classes, which become jobs; repeatable.", Kind.LIST, ()),
    Field("seed", "FILE", "jobs.toml, applied once if the cluster has no jobs.", Kind.PATH, None),
    Field("secret_file", "FILE", "The cluster secret; required when any address is not loopback.", Kind.PATH, None),
    Field("insecure", "", "Run without a secret on addresses that others can reach.", Kind.SWITCH, default=False),
    Field("tls_cert", "FILE", "Certificate chain (PEM) for HTTP and between peers.", Kind.PATH, None),
    Field("tls_key", "FILE", "Its private key (PEM).", Kind.PATH, None),
    Field("tls_ca", "FILE", "The authorities (PEM) that the peers' certificates must be from.", Kind.PATH, None),
    Field(
        "durability", "MODE", "fsync: acknowledged writes survive power loss.", default="fsync",
        choices=("fsync", "memory"),
    ),
    Field("profile", "NAME", "The timers that fit the network.", default="lan", choices=("lan", "wan", "demo")),
    Field("log_format", "FORMAT", "Of the log on stderr.", default="text", choices=("text", "json")),
    Field(
        "log_level", "LEVEL", "What is worth a line.", default="info", choices=("debug", "info", "warning", "error")
    ),
    Field(
        "remove_dead_after", "DURATION",
        "As the leader, remove members that were not heard of for so long. Default: never; give it to all nodes.",
    ),
    Field("cluster", "NAME", "Nodes of a cluster of another name are refused.", default="peercron"),
)  # fmt: skip
CONFIG_VARIABLE = "PEERCRON_CONFIG"
_SWITCH_WORDS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value, where it is from, and the name under which the user gave (or could give) it."""

    value: Any
    origin: str
    label: str


def gather(flags: Mapping[str, object], environ: Mapping[str, str]) -> tuple[dict[str, Value], list[Problem]]:
    """The value of every field by precedence, and what is wrong with the texts; a wrong one counts as its default."""
    problems: list[Problem] = []
    path, in_file = _config_file(flags, environ, problems)
    values = {}
    for spec in FIELDS:
        values[spec.key] = Value(spec.default, "default", spec.flag)
        for raw, origin, label in _candidates(spec, flags, environ, in_file, path):
            try:
                values[spec.key] = Value(read(spec, raw), origin, label)
            except ValueError as error:
                problems.append(Problem(label, str(error)))
            break
    return values, problems


def _candidates(
    spec: Field, flags: Mapping[str, object], environ: Mapping[str, str], in_file: Mapping[str, object], path: str
) -> Iterator[tuple[object, str, str]]:
    # An empty variable is how compose files and units say "not set"; an empty flag is a mistake worth an error.
    if (flag := flags.get(spec.key)) is not None and flag != ():
        yield flag, f"flag {spec.flag}", spec.flag
    if text := environ.get(spec.variable):
        yield text, f"environment {spec.variable}", spec.variable
    if spec.key in in_file:
        yield in_file[spec.key], f"file {path}", f"{path}: {spec.key}"


def _config_file(
    flags: Mapping[str, object], environ: Mapping[str, str], problems: list[Problem]
) -> tuple[str, dict[str, object]]:
    given = flags.get("config") or environ.get(CONFIG_VARIABLE)
    if not given:
        return "", {}
    import tomllib  # here, since most starts have no file

    path = str(given)
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem("--config", f"cannot read {path}: {error.strerror}"))
        return path, {}
    except ValueError as error:
        problems.append(Problem(path, f"not valid TOML: {error}"))
        return path, {}
    known = [spec.key for spec in FIELDS]
    problems += [Problem(f"{path}: {key}", f"unknown key{nearest(key, known)}") for key in table if key not in known]
    return path, table


def read(spec: Field, raw: object) -> Any:
    """The value of a field from what was typed or what stood in the file; ValueError says which form is accepted."""
    match spec.kind:
        case Kind.LIST:
            return tuple(part for text in _texts(spec, raw) for part in _split(text))
        case Kind.TABLE:
            return _table(spec, raw)
        case Kind.SWITCH:
            return _switch(raw)
        case Kind.PATH:
            return _path(_text(spec, raw))
        case Kind.TEXT:
            text = _text(spec, raw)
            if spec.choices and text not in spec.choices:
                raise ValueError(f"{text!r}: must be one of {', '.join(spec.choices)}{nearest(text, spec.choices)}")
            return text


def _text(spec: Field, raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"must be {spec.form}, not {raw!r}")
    if not raw.isprintable():
        raise ValueError(f"has a control character in it: {raw!r}")
    return raw.strip()


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r}: there is no such user's home directory") from None


def _texts(spec: Field, raw: object) -> list[str]:
    return [_text(spec, each) for each in (raw if isinstance(raw, list | tuple) else [raw])]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _table(spec: Field, raw: object) -> dict[str, str]:
    if isinstance(raw, dict):
        pairs = [(str(key), _text(spec, value)) for key, value in raw.items()]
    else:
        pairs = [_pair(part) for text in _texts(spec, raw) for part in _split(text)]
    return dict(pairs)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise ValueError(f"{text!r} is not K=V")
    return key, value


def _switch(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in _SWITCH_WORDS:
        return _SWITCH_WORDS[raw.strip().lower()]
    raise ValueError(f"must be true or false, not {raw!r}")


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like one of ours and is not.

    No more than that: clients and jobs have variables too, and orchestrators make some up from the name of a service.
    """
    known = [spec.variable for spec in FIELDS]
    near = {name: get_close_matches(name, known, n=1, cutoff=0.9) for name in environ if name.startswith("PEERCRON_")}
    return [f"{name} is not read; is it {found[0]}?" for name, found in near.items() if found and name not in known]


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """What to append to an error about an unknown word: ", did you mean …?", or nothing when none is like it."""
    near = get_close_matches(word.replace("-", "_"), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
