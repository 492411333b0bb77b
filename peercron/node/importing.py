"""importing: the jobs of the classes in the modules of --import, brought to the cluster.

Every node does it once, when it has started, and none does it again before its next start: so the code that was started
last has the last word, nodes with different versions of it never quarrel, and nodes with the same change nothing. What
is no longer in a module goes; a job of the same name that somebody else owns stays what it is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from peercron.core.commands import ApplyJobs
from peercron.core.job import Definition
from peercron.core.state import ClusterState
from peercron.errors import ConfigError, ProposalError
from peercron.execution.port import ImportFailed
from peercron.jobspec import JobsDocument, read_document
from peercron.node.node import Node

log = logging.getLogger(__name__)

PROPOSAL_S: Final = 10.0
#: Without a leader, or while a member is too old to know of job classes, it is tried again after this.
PAUSE_S: Final = 1.0
#: Refusals that pass.
_PASSING: Final = frozenset({"unsupported", "unknown_outcome"})


async def import_jobs(node: Node) -> None:
    """Scan the modules and apply what they define. What is wrong is logged; it does not stop the node."""
    if not node.settings.imports:
        return
    try:
        documents = await node.scan()
    except ImportFailed as error:
        log.error("import_failed", extra={"reason": str(error)})  # noqa: TRY400 - the traceback is in the text
        return
    for document in documents:
        try:
            await _apply(node, await asyncio.to_thread(read_document, document))
        except (ConfigError, ProposalError) as error:
            log.error("import_refused", extra={"owner": document["owner"], "reason": str(error)})  # noqa: TRY400


async def _apply(node: Node, document: JobsDocument) -> None:
    while True:
        try:
            await node.read_barrier(PROPOSAL_S)
            command = wanted(node.state, document)
            if command is not None:
                done = await node.propose(command, PROPOSAL_S)
                log.info("jobs_imported", extra={"owner": document.owner, "changed": done.value})
        except ProposalError as error:
            if not error.retryable and error.code not in _PASSING:
                raise
            await asyncio.sleep(PAUSE_S)
        else:
            return


def wanted(state: ClusterState, document: JobsDocument) -> ApplyJobs | None:
    """What brings the jobs of the document's owner to what it says; None: they are that already."""
    mine = {job.key: job.definition for job in state.jobs.values() if job.definition.owner == document.owner}
    specs = [spec for spec in document.specs if _may_have(state, spec.key, mine)]
    definitions = {spec.key: spec.definition for spec in specs}
    if definitions == mine:
        return None
    # Whether a job is paused is an operator's word, once it is there.
    paused = tuple((spec.key, spec.paused) for spec in specs if spec.paused is not None and spec.key not in mine)
    return ApplyJobs(tuple(definitions.values()), document.owner, paused=paused)


def _may_have(state: ClusterState, key: str, mine: dict[str, Definition]) -> bool:
    if key in mine or key not in state.job_uids:
        return True
    owner = state.jobs[state.job_uids[key]].definition.owner
    log.warning("import_skipped", extra={"job": key, "reason": f"it is there and belongs to {owner or 'nobody'}"})
    return False
