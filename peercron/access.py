"""access: what is shown at the door of a cluster: a token that somebody was given, or the pass of who has its secret.

A token is random and too long to be guessed, so that its digest, which is all that the cluster keeps, tells nothing of
it. The pass of root needs no token and no leader: it follows from a secret that only the nodes and who runs them have
(the cluster's, or where there is none that of one node's data directory), and is good for some minutes only, as it may
be seen on its way.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final

TOKEN_BYTES: Final = 20
#: What scanners of source code and of logs may look for.
TOKEN_PATTERN: Final = r"pcr_[0-9a-f]{40}"
ROOT: Final = "pcr_root_"
#: How long a pass of root is good, and how far the clocks of who makes it and of who checks it may be apart.
ROOT_MS: Final = 300_000
_TOKEN = re.compile(TOKEN_PATTERN)
_PURPOSE = b"peercron root"


def fresh_token() -> str:
    return f"pcr_{secrets.token_hex(TOKEN_BYTES)}"


def digest_of(token: str) -> bytes:
    """What the cluster knows a token by."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def is_token(said: str) -> bool:
    """Whether it looks like one.

    >>> is_token(fresh_token()), is_token("hunter2")
    (True, False)
    """
    return _TOKEN.fullmatch(said) is not None


def root_pass(secret: bytes, cluster: str, now_ms: int) -> str:
    """The pass of who has the secret, for some minutes from now on. `cluster`: its name."""
    return _root_pass(secret, cluster, now_ms + ROOT_MS)


def is_root_pass(said: str, secret: bytes, cluster: str, now_ms: int) -> bool:
    """Whether `said` is such a pass; takes as long for any wrong one. Nobody is root by an empty secret."""
    until, _, _ = said.removeprefix(ROOT).partition("_")
    if not (secret and said.startswith(ROOT) and until.isascii() and until.isdigit() and len(until) <= 15):
        return False
    is_right = hmac.compare_digest(
        said.encode("utf-8", "surrogateescape"), _root_pass(secret, cluster, int(until)).encode()
    )
    return is_right and now_ms < int(until) <= now_ms + 2 * ROOT_MS


def _root_pass(secret: bytes, cluster: str, until_ms: int) -> str:
    said = b"\0".join((_PURPOSE, cluster.encode(), str(until_ms).encode()))
    return f"{ROOT}{until_ms}_{hmac.new(secret, said, hashlib.sha256).hexdigest()}"
