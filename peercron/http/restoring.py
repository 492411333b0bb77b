"""Restoring: a snapshot's file is read to its end and proven, then carried into the log part by part, then adopted.

Every command on the way can be said twice, and the restore is named by its content: whatever breaks off on the way,
the same file sent again, to this node or to another, goes on where it was. Nothing changes before the last command.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from peercron.core.commands import AbandonRestore, AdoptSnapshot, BeginRestore, Command, EndRuns, StageSnapshot
from peercron.core.limits import RESTORE_BYTES_MAX
from peercron.core.verdict import Done
from peercron.errors import Busy, NoLeader, OutcomeUnknown, ProposalError, Refused, SnapshotDamaged
from peercron.http.asking import TIMEOUT_S
from peercron.http.port import NodePort
from peercron.http.problems import BadRequest
from peercron.wire.archive import DIGEST_BYTES, ArchiveReader, Header
from peercron.wire.staging import trial

log = logging.getLogger(__name__)

#: A sender who sends nothing for this long is gone.
READ_S: Final = 60.0
#: Parts on their way at a time: applying one keeps a member's loop for some milliseconds.
PARTS_AHEAD: Final = 2
#: How long each command is tried while there is no leader, and how long is paused in between.
PATIENCE_S: Final = 30.0
PAUSE_S: Final = 0.1
#: How long attempts that run here are waited for before a restore by force.
END_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is whole, sound, and readable by this version."""

    header: Header
    parts: tuple[bytes, ...]
    #: Of all parts in their order.
    digest: bytes
    #: Of the language in which it is written.
    level: int

    @property
    def restore_id(self) -> str:
        return self.digest.hex()


async def receive(request: web.Request) -> Upload:
    """The file in the body, read to its end and proven, with the loop's turns in between.

    Raises:
        SnapshotDamaged, SnapshotTooNew: it is not one that this version reads.
        BadRequest: it is too large, or stopped coming.
    """
    reader, content, flaw, size = ArchiveReader(), trial(), None, 0
    parts: list[bytes] = []
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    while piece := await _next_piece(request):
        size += len(piece)
        if size > RESTORE_BYTES_MAX:
            raise BadRequest("body", f"at most {RESTORE_BYTES_MAX} bytes are taken", code="too_large", status=413)
        try:
            # After a flaw it is still read to its end, so that the sender, who is still sending, hears the answer.
            fresh = reader.feed(piece) if flaw is None else []
        except SnapshotDamaged as error:
            flaw = error
            continue
        for part in fresh:
            digest.update(part)
            parts.append(part)
            content.feed(part)
            await asyncio.sleep(0)
    if flaw is not None:
        raise flaw
    header = reader.finish()  # the checksum first: what damage did to the content is not worth telling
    return Upload(header, tuple(parts), digest.digest(), content.finish().level)


async def _next_piece(request: web.Request) -> bytes:
    """Empty at the end of the body."""
    try:
        async with asyncio.timeout(READ_S):
            return await request.content.readany()
    except TimeoutError:
        raise BadRequest("body", f"nothing more came for {READ_S:g} s", status=408) from None


async def put_in_place(node: NodePort, upload: Upload, *, force: bool) -> Done:
    """Carry the file into the log and have it adopted; the answer to AdoptSnapshot.

    Raises:
        Refused: the cluster has something, what runs here did not end, or another restore came in between.
        NoLeader: the cluster could not be asked for long; nothing has changed.
        OutcomeUnknown: whether it was adopted is not known.
    """
    restore_id, parts = upload.restore_id, upload.parts
    size = sum(map(len, parts))
    await _patiently(node, BeginRestore(restore_id, len(parts), size, force, upload.level))
    log.info("restore_begun", extra={"restore": restore_id[:12], "parts": len(parts), "bytes": size})
    try:
        await _stage(node, restore_id, parts)
        if force:
            await _end_runs(node, restore_id)
        done = await _adopt(node, AdoptSnapshot(restore_id, len(parts), upload.digest, force))
    except Refused:
        await _abandon(node, restore_id)
        raise
    log.info("restore_done", extra={"restore": restore_id[:12], "generation": done.value})
    return done


async def _stage(node: NodePort, restore_id: str, parts: tuple[bytes, ...]) -> None:
    for first in range(0, len(parts), PARTS_AHEAD):
        some = enumerate(parts[first : first + PARTS_AHEAD], first)
        tries = [_patiently(node, StageSnapshot(restore_id, number, part)) for number, part in some]
        for answer in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer


async def _end_runs(node: NodePort, restore_id: str) -> None:
    """Ask all that runs to end, and wait until it has: a run must not live here and come back by the snapshot too."""
    await _patiently(node, EndRuns(restore_id))
    try:
        async with asyncio.timeout(END_S):
            while node.state.live_attempts:
                await node.wait_changed(node.state.index, END_S)
    except TimeoutError:
        left = sum(map(len, node.state.live_attempts.values()))
        raise Refused("not_ready", f"{left} attempts that run here have not ended in {END_S:g} s") from None


async def _adopt(node: NodePort, command: AdoptSnapshot) -> Done:
    try:
        return await _patiently(node, command)
    except NoLeader:
        # One of the tries may have been committed by a leader that was gone before it could say so.
        raise OutcomeUnknown from None


async def _patiently(node: NodePort, command: Command) -> Done:
    """Propose what may be proposed twice until there is an answer; NoLeader: there was none for long."""
    last: ProposalError = NoLeader()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await node.propose(command, TIMEOUT_S)
                except (NoLeader, Busy, OutcomeUnknown) as error:
                    last = error
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        raise NoLeader(f"the restore did not get on for {PATIENCE_S:g} s: {last}") from None


async def _abandon(node: NodePort, restore_id: str) -> None:
    """Make room at once; where this fails, time does it."""
    try:
        await node.propose(AbandonRestore(restore_id), TIMEOUT_S)
    except ProposalError as error:
        log.info("restore_not_abandoned", extra={"restore": restore_id[:12], "reason": str(error)})
