"""environment: the variables that a command sees: few, as under cron, and the secrets that it asked for.

From the node's own environment it gets PATH and the settings of language and time zone, nothing else, so that no secret
of the node leaks into a job. HOME, USER, LOGNAME are those of the user it runs as; SHELL is /bin/sh. Then come the
job's own entries, last the PEERCRON_* variables.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping

from peercron.execution.limits import SECRET_BYTES_MAX

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ")


class Unresolved(Exception):
    """An entry's value could not be found; the message is one sentence that names it."""


def surroundings(node: Mapping[str, str], user: pwd.struct_passwd | None) -> dict[str, str]:
    """What every command sees. `user` None: one that the host has no name for."""
    passed_on = {name: value for name, value in node.items() if name in _PASSED_ON or name.startswith("LC_")}
    who = {"USER": user.pw_name, "LOGNAME": user.pw_name} if user else {}
    home = user.pw_dir if user else "/"
    return {"PATH": DEFAULT_PATH, **passed_on, "HOME": home, "SHELL": "/bin/sh", **who}


def resolve(entries: Iterable[list[str]], node: Mapping[str, str]) -> dict[str, str]:
    """The values of a job's entries ([name, source, value]), read with the node's rights.

    Raises Unresolved. A file's trailing line ends are not part of its secret.
    """
    return {name: _value(name, source, value, node) for name, source, value in entries}


def _value(name: str, source: str, value: str, node: Mapping[str, str]) -> str:
    match source:
        case "literal":
            return value
        case "env":
            return _variable(name, value, node)
        case "file":
            return _file(name, value, what="file")
        case "credential":
            return _file(name, _credential(name, value, node), what="credential")
        case _:
            raise Unresolved(f"environment entry {name}: there is no source {source!r}")


def _variable(name: str, variable: str, node: Mapping[str, str]) -> str:
    try:
        return node[variable]
    except KeyError:
        raise Unresolved(f"environment entry {name}: the node has no variable {variable}") from None


def _credential(name: str, credential: str, node: Mapping[str, str]) -> str:
    if "/" in credential or credential in ("", ".", ".."):
        raise Unresolved(f"environment entry {name}: {credential!r} is no name of a credential")
    return os.path.join(_variable(name, "CREDENTIALS_DIRECTORY", node), credential)


def _file(name: str, path: str, *, what: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise Unresolved(f"environment entry {name}: {what} {path}: {error.strerror}") from None
    if len(data) > SECRET_BYTES_MAX:
        raise Unresolved(f"environment entry {name}: {what} {path} is larger than {SECRET_BYTES_MAX} bytes")
    return os.fsdecode(data.rstrip(b"\r\n"))
