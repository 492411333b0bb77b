"""runpass: the secret of one attempt, so that a process speaks to the cluster as its own run and as no other.

A run sees it as PEERCRON_TOKEN. It follows from the cluster's secret, the run and the fencing token, so that every
member knows it and none keeps it; it dies with the attempt, since nothing is done under a token that is not alive.
Without a secret whoever reaches HTTP can do anything as it is: then it only keeps honest runs from mixing up their ids.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b

_PURPOSE = b"peercron run"


def run_pass(secret: bytes | None, cluster: str, run_id: str, token: int) -> str:
    """The secret of the attempt that was granted `token`.

    >>> run_pass(b"s", "peercron", "7f/1", 42) == run_pass(b"s", "peercron", "7f/1", 43)
    False
    """
    key = blake2b(
        secret or b"", digest_size=32, person=_PURPOSE, salt=blake2b(cluster.encode(), digest_size=16).digest()
    )
    return blake2b(f"{token} {run_id}".encode(), key=key.digest(), digest_size=20, person=_PURPOSE).hexdigest()


def is_pass(said: str, secret: bytes | None, cluster: str, run_id: str, token: int) -> bool:
    """Whether `said` is the secret of that attempt; takes as long for any wrong one."""
    return hmac.compare_digest(said.encode(), run_pass(secret, cluster, run_id, token).encode())
