"""errors: everything that peercron raises on purpose, in one tree; the docstring of each is its default message.

PeercronError
├─ ConfigError            all problems at once, each with the key and the accepted form
├─ ScheduleError          names the field and column of the expression
├─ DataDirError           the data directory cannot be used
│   └─ DiskFull           for now: its disk has no room
├─ SnapshotDamaged        a snapshot is cut short or changed
├─ SnapshotTooNew         a snapshot is sound and of a newer version
├─ TooOld                 what the log, the journal or a snapshot holds was written by a newer version
├─ JobNotFound, RunNotFound
├─ ProposalError
│   ├─ NoLeader           nothing happened; retry
│   ├─ Busy               nothing happened; slow down
│   ├─ OutcomeUnknown     may have happened; propose again
│   └─ Refused            it was committed, and the answer is no
├─ Compacted              a watcher is so far behind that it has to begin anew
├─ Unreachable            no node could be asked
├─ Expelled               this node belongs to its cluster no more
├─ LeaseLost              raised inside a job that is no longer the holder
└─ PeerRejected           failed authentication or incompatible version

Payloads are plain values, so that this module imports nothing of peercron and may be imported by every layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from peercron import __version__


class PeercronError(Exception):
    """Something went wrong in peercron."""

    #: Stable short name: the `code` of problem+json, and what a program should compare.
    code = "error"
    #: True: the same request may succeed later, unchanged.
    retryable = False

    def __init__(self, message: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input: where it stands, and one sentence that names the accepted form."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(PeercronError):
    """The configuration is not valid.

    Carries every problem found, not only the first: `error.problems[0].path` names the flag, variable or key.
    """

    code = "invalid"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ScheduleError(PeercronError):
    """The schedule is not valid."""

    code = "invalid"


class DataDirError(PeercronError):
    """The data directory cannot be used."""

    code = "data_dir"


class DiskFull(DataDirError, OSError):
    """There is no room left on the disk."""

    code = "disk_full"


class SnapshotDamaged(PeercronError):
    """The snapshot is damaged."""

    code = "snapshot_damaged"

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"the snapshot is damaged: {detail}" if detail else "")


class SnapshotTooNew(PeercronError):
    """The snapshot was written by a newer version of peercron."""

    code = "snapshot_too_new"

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"the snapshot was written by a newer version of peercron: {detail}" if detail else "")


class TooOld(PeercronError):
    """This node has met what a newer version of peercron wrote, and must stop before it; `what` is one clause."""

    code = "too_old"

    def __init__(self, what: str) -> None:
        self.what = what
        cure = f"this node runs peercron {__version__}; upgrade it, and it goes on where it stopped"
        super().__init__(f"{what}; {cure}")


class JobNotFound(PeercronError):
    """There is no such job."""

    code = "not_found"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"there is no job {key}")


class RunNotFound(PeercronError):
    """There is no such run."""

    code = "not_found"

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"there is no run {run_id}")


class ProposalError(PeercronError):
    """A proposal was not acknowledged."""

    code = "proposal"


class NoLeader(ProposalError):
    """The cluster has no leader at the moment; nothing happened, try again."""

    code = "no_leader"
    retryable = True


class Busy(ProposalError):
    """Too much is under way; nothing happened, try again more slowly."""

    code = "busy"
    retryable = True


class OutcomeUnknown(ProposalError):
    """The outcome is unknown: it may have happened, or may still happen; look before you repeat it."""

    code = "unknown_outcome"


class Refused(ProposalError):
    """It was committed, and the answer is no. `code` is a `Refusal` by value, `index` its place in the log."""

    def __init__(self, code: str, detail: str = "", index: int = 0) -> None:
        self.code = code
        self.detail = detail
        self.index = index
        super().__init__(detail or code)


class Unreachable(PeercronError):
    """No node of the cluster could be asked; nothing happened."""

    code = "unreachable"
    retryable = True


class Compacted(PeercronError):
    """Changes after that index are not all kept any more: list the keys, and watch from the index of that answer.

    `index` is where the cluster stood when it said so. `message`: of what else than changes of keys it is said.
    """

    code = "compacted"

    def __init__(self, index: int = 0, message: str = "") -> None:
        self.index = index
        super().__init__(message)


class Expelled(PeercronError):
    """This node does not belong to its cluster any more."""

    code = "expelled"


class LeaseLost(PeercronError):
    """The lease was lost: somebody else may hold the right by now; stop."""

    code = "lease_lost"


class PeerRejected(PeercronError):
    """The peer was refused: it failed authentication or speaks an incompatible version."""

    code = "peer_rejected"
