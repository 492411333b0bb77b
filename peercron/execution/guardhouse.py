"""guardhouse: a process becomes the guardian, and stays it to its end."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback

from peercron.execution import kernel, orders
from peercron.execution.guardian import Guardian
from peercron.execution.lease import Lease
from peercron.execution.pen import Pen
from peercron.execution.record import boot_id, identify


def main(data_dir: str, node: int, lock: int) -> None:
    """The guardian's life. `node` and `lock` are descriptors that the node handed down."""
    for descriptor in (node, lock):
        os.set_inheritable(descriptor, False)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    os.chdir("/")
    kernel.become_subreaper()
    kernel.set_name("peercron-guard")
    oom_score = kernel.set_oom_score("-900")  # a job that eats all memory shall die, not who watches it
    identify(lock)
    pen = Pen(f"{data_dir}/attempts", f"{data_dir}/output", boot_id(), lock, Lease(), oom_score)
    link = socket.socket(fileno=node)
    kernel.lock_memory()
    gc.collect()
    gc.freeze()  # what the shepherds share with this process stays shared
    try:
        Guardian(link, pen).run()
    except Exception:  # noqa: BLE001 - whatever it was, the node's log should have it
        with contextlib.suppress(OSError):
            link.send(orders.encode({"is": "log", "text": f"the guardian broke: {traceback.format_exc()}"}))
        sys.exit(1)
