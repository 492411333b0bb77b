"""Owner: node/process/thread, as a lock shows who has it, and as the search for deadlocks tells one from another."""

from __future__ import annotations

import asyncio
import os
import socket
import threading


def process_name(label: str | None) -> str:
    """node/process. A label with a slash is both already; one without is put beside the host and the process's number.

    >>> process_name("fra1/reports")
    'fra1/reports'
    """
    if label and "/" in label:
        return label
    process = f"{label}-{os.getpid()}" if label else str(os.getpid())
    return f"{socket.gethostname()}/{process}"


def thread_name() -> str:
    """Who in this process: the thread, and in an event loop the task, since each of them waits for itself."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        task = None
    thread = _own.name
    if task is None:
        return thread
    return task.get_name() if threading.current_thread() is threading.main_thread() else f"{thread}:{task.get_name()}"


class _Own(threading.local):
    """The name of this thread, which no other that lives beside it has had; the same as long as it lives."""

    def __init__(self) -> None:
        thread = threading.current_thread()
        twins = [each for each in threading.enumerate() if each.name == thread.name]
        self.name = thread.name if len(twins) < 2 else f"{thread.name}#{thread.native_id}"


_own = _Own()
