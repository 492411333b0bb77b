"""launch: from the fork of a shepherd to the command itself; what goes wrong on the way is said in one sentence.

The order matters: secrets are read with the node's rights, everything after that is done as the job's user. Without a
`cwd` a command starts in its user's home, as under cron, or in / where there is none.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import signal
from typing import NamedTuple, NoReturn

from peercron.execution import kernel
from peercron.execution.environment import Unresolved, resolve, surroundings
from peercron.execution.limits import REASON_CHARS_MAX
from peercron.execution.orders import Launch
from peercron.execution.record import MARK_VARIABLE

NOT_FOUND = 127
NOT_STARTED = 126
#: What the shepherd ignores, and Python; a command starts with the defaults.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)


class LaunchError(Exception):
    """The command cannot be started; `code` as a shell would give it."""

    def __init__(self, sentence: str, code: int = NOT_STARTED) -> None:
        self.code = code
        super().__init__(sentence)


class Ends(NamedTuple):
    """The child's ends of its pipes."""

    #: One byte comes here when the command may start; its end says that it may not.
    go: int
    #: Its standard input; -1: there is none.
    input: int
    #: The command's standard output and error, merged in order.
    output: int
    #: What went wrong; it closes silently when the command runs.
    complaints: int


def become(order: Launch, *, mark: str, ends: Ends, shepherd: int, oom_score: str | None) -> NoReturn:
    """In the forked child: wait for the word, then turn into the command. `oom_score`: what the command shall have."""
    try:
        os.setsid()
        if not os.read(ends.go, 1):
            os._exit(NOT_STARTED)  # the shepherd has gone, or could not write its record
        if oom_score is not None:
            kernel.set_oom_score(oom_score)
        _replace_streams(ends)
        _execute(order, mark, shepherd)
    except LaunchError as error:
        _complain(ends.complaints, str(error), error.code)
    except Unresolved as error:
        _complain(ends.complaints, str(error), NOT_STARTED)
    except BaseException as error:  # noqa: BLE001 - a fork must not return into its parent's code
        _complain(ends.complaints, f"cannot start: {error}", NOT_STARTED)
    os._exit(NOT_STARTED)


def _complain(complaints: int, sentence: str, code: int) -> None:
    os.write(complaints, json.dumps([sentence[:REASON_CHARS_MAX], code]).encode())


def _replace_streams(ends: Ends) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY) if ends.input < 0 else ends.input, 0)
    os.dup2(ends.output, 1)
    os.dup2(ends.output, 2)


def _execute(order: Launch, mark: str, shepherd: int) -> NoReturn:
    user = _user(order["user"])
    # A worker is given them with its work: it may have started long before.
    own = {} if order["worker"] else resolve(order["env"], os.environ)
    environment = {**surroundings(os.environ, user), **own, **order["variables"], MARK_VARIABLE: mark}
    if order["user"]:
        _switch(order["user"], user)
    kernel.die_with_parent()
    if os.getppid() != shepherd:
        os._exit(NOT_STARTED)  # it died before the kernel was asked to watch it
    _enter("" if order["worker"] else order["cwd"], environment["HOME"])
    _restore_signals()
    argv = order["argv"] or ["/bin/sh", "-c", order["shell"]]
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - a shell only where the job asks for one
    except (OSError, ValueError) as error:
        raise _refusal(argv[0], environment["PATH"], error) from None


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        if not name:
            return pwd.getpwuid(os.getuid())
        return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        if name:
            raise LaunchError(f"there is no user {name} on this host") from None
        return None


def _switch(name: str, user: pwd.struct_passwd | None) -> None:
    assert user is not None
    if user.pw_uid == os.getuid():
        return
    try:
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except PermissionError:
        own = os.getuid()
        raise LaunchError(f"cannot become user {name}: the node runs as uid {own}, which is not root") from None


def _enter(cwd: str, home: str) -> None:
    if cwd and not os.path.isabs(cwd):
        raise LaunchError(f"the working directory {cwd} is not an absolute path")
    try:
        os.chdir(cwd or home)
    except OSError as error:
        if cwd:
            raise LaunchError(f"cannot enter the working directory {cwd}: {error.strerror}") from None
        os.chdir("/")


def _restore_signals() -> None:
    for signum in IGNORED:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _refusal(program: str, path: str, error: OSError | ValueError) -> LaunchError:
    """What an exec that failed means to people."""
    if isinstance(error, FileNotFoundError):
        if "/" not in program:
            return LaunchError(f"there is no program {program} in {path}", NOT_FOUND)
        if os.path.exists(program):
            return LaunchError(f"cannot run {program}: the interpreter that it names does not exist", NOT_FOUND)
        return LaunchError(f"there is no program {program}", NOT_FOUND)
    if isinstance(error, ValueError):
        return LaunchError(f"cannot run {program}: {error}")
    hint = " (a script needs a #! line)" if error.errno == errno.ENOEXEC else ""
    return LaunchError(f"cannot run {program}: {error.strerror}{hint}")
