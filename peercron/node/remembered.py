"""Remembered: whose data directory is whose by our own log, before it is known how much of the log is committed.

After a restart the state is that of the last snapshot, until a leader says how far the log is committed. If the others
were wiped meanwhile, their majority elects a leader of an empty log, under the same cluster id: it must not reach ours,
since equal terms would let it pass for one with the same past.
"""

from __future__ import annotations

from collections.abc import Iterable

from peercron.consensus.entry import BATCH, CONFIGURATION, Entry
from peercron.consensus.membership import decode
from peercron.core.commands import OpenSession
from peercron.errors import TooOld
from peercron.wire.codec import NAMES, UnknownRow, unpack_proposal
from peercron.wire.plain import unpack

#: Whatever opens a session has this in its bytes.
_MARK = NAMES[OpenSession].encode()


def incarnations(entries: Iterable[Entry], recoveries: int) -> dict[str, str]:
    """Member id -> the incarnation with which it opened its first session in these entries.

    Args:
        entries: of the log, from behind what the state holds.
        recoveries: of the cluster, as of the first of them.
    """
    found: dict[str, str] = {}
    for command, _, _ in entries:
        try:
            if command[:1] == CONFIGURATION and (after := decode(command).recoveries) != recoveries:
                recoveries = after
                found.clear()
            elif command[:1] == BATCH and _MARK in command:
                for member, incarnation in _opened(command):
                    found.setdefault(member, incarnation)
        except (TooOld, UnknownRow, ValueError, TypeError):
            continue  # whoever applies it says what is wrong
    return found


def _opened(command: bytes) -> Iterable[tuple[str, str]]:
    _, _, payloads = unpack(command[len(BATCH) :])
    opened = (unpack_proposal(payload).command for payload in payloads if _MARK in payload)
    return [(c.info.id, c.info.incarnation) for c in opened if isinstance(c, OpenSession) and c.info.incarnation]
