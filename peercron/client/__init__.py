"""client: how programs outside the cluster talk to it, over HTTP and with several addresses."""

from __future__ import annotations

from peercron.client.blocking import Answer, Connection

__all__ = ["Answer", "Connection"]
