"""Notify: tell systemd how the service is (sd_notify(3)): one datagram to the socket that it named.

Written here because it is twenty lines, and the package for it has had no release since 2017.
"""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send `state` ("READY=1", "WATCHDOG=1", "STATUS=…") if somebody listens; never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), target)
    except OSError:
        return


def watchdog_s() -> float | None:
    """How often systemd wants to hear from us, halved to be safe; None: it does not."""
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
        pid = int(os.environ.get("WATCHDOG_PID") or os.getpid())
    except ValueError:
        return None
    return microseconds / 2e6 if pid == os.getpid() and microseconds > 0 else None
