"""runpass: the secret of one attempt, so that a process speaks to the cluster as its own run and as no other.

A run sees it as PEERCRON_TOKEN. It follows from the cluster's secret, the run and the fencing token, so that every
member knows it and none keeps it; it dies with the attempt, since nothing is done under a token that is not alive.
Where the cluster has no secret it follows from that of the node's data directory, and only the node that the run is on,
which is the one that it speaks to, knows it.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import Final

RUN: Final = "pcr_run_"
_PURPOSE = b"peercron run"


def run_pass(secret: bytes, cluster: str, run_id: str, token: int) -> str:
    """The secret of the attempt that was granted `token`. It names the attempt, so that it can be looked up.

    >>> run_pass(b"s", "peercron", "7f/1", 42) == run_pass(b"s", "peercron", "7f/1", 43)
    False
    """
    key = blake2b(secret, digest_size=32, person=_PURPOSE, salt=blake2b(cluster.encode(), digest_size=16).digest())
    known = blake2b(f"{token} {run_id}".encode(), key=key.digest(), digest_size=20, person=_PURPOSE).hexdigest()
    return f"{RUN}{known}_{token}_{run_id}"


def is_pass(said: str, secret: bytes, cluster: str, run_id: str, token: int) -> bool:
    """Whether `said` is the secret of that attempt; takes as long for any wrong one."""
    expected = run_pass(secret, cluster, run_id, token)
    return hmac.compare_digest(said.encode("utf-8", "surrogateescape"), expected.encode())


def attempt_of(said: str, secret: bytes, cluster: str) -> tuple[str, int] | None:
    """Run id and token of the attempt whose secret this is; None: it is of none.

    >>> attempt_of(run_pass(b"s", "peercron", "7f/1", 42), b"s", "peercron")
    ('7f/1', 42)
    """
    named = named_by(said)
    return named if named is not None and is_pass(said, secret, cluster, *named) else None


def named_by(said: str) -> tuple[str, int] | None:
    """Run id and token that a pass names, whoever made it; None: it is no pass of a run."""
    _, _, named = said.removeprefix(RUN).partition("_")
    token, _, run_id = named.partition("_")
    if not (said.startswith(RUN) and token.isascii() and token.isdigit() and len(token) <= 18):
        return None
    return run_id, int(token)
