"""output: what a command writes, bounded: the head of it in a file as it comes, and the end of it when it ends.

A job that writes gigabytes costs OUTPUT_FILE_BYTES_MAX of disk and OUTPUT_END_BYTES_MAX of memory.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from peercron.core.limits import OUTPUT_TAIL_BYTES_MAX
from peercron.execution.limits import OUTPUT_END_BYTES_MAX, OUTPUT_HEAD_BYTES_MAX


class Output:
    """The output of one attempt; its file is made when the first byte comes.

    A file that cannot be written loses output, never the job: `lost` says why, and the tail is still there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        self._head_room = OUTPUT_HEAD_BYTES_MAX
        self._head_tail = b""
        self._end = b""
        self.dropped = 0
        self.lost = ""

    def write(self, chunk: bytes) -> None:
        head, rest = chunk[: self._head_room], chunk[self._head_room :]
        if head:
            self._head_room -= len(head)
            self._head_tail = (self._head_tail + head)[-OUTPUT_TAIL_BYTES_MAX:]
            self._store(head)
        if rest:
            joined = self._end + rest
            self.dropped += max(0, len(joined) - OUTPUT_END_BYTES_MAX)
            self._end = joined[-OUTPUT_END_BYTES_MAX:]

    def finish(self) -> None:
        """Put the end under the head and close the file."""
        if self.dropped:
            self._store(f"\n... {self.dropped} bytes dropped ...\n".encode())
        self._store(self._end)
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def tail(self) -> str:
        """The last of it as text."""
        return text_tail(self._head_tail + self._end)

    def _store(self, data: bytes) -> None:
        if self.lost or not data:
            return
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)  # output may hold secrets
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.lost = error.strerror or "input/output error"


def text_tail(data: bytes) -> str:
    """The last OUTPUT_TAIL_BYTES_MAX bytes as text whose UTF-8 is no longer than that, cut between characters.

    >>> text_tail("é".encode() * OUTPUT_TAIL_BYTES_MAX) == "é" * (OUTPUT_TAIL_BYTES_MAX // 2)
    True
    """
    # Every byte that is no text becomes one character of three bytes, so it is cut once more after that.
    text = data[-OUTPUT_TAIL_BYTES_MAX - 3 :].decode(errors="replace")
    return text.encode()[-OUTPUT_TAIL_BYTES_MAX:].decode(errors="ignore")


def prune(folder: Path, *, keep: Collection[str], files_max: int, bytes_max: int) -> int:
    """Remove the oldest files but those in `keep` until the rest is within both bounds; returns how many went."""
    with os.scandir(folder) as entries:
        files = [(entry.stat(), entry.path) for entry in entries if entry.name not in keep]
    files.sort(key=lambda file: file[0].st_mtime_ns, reverse=True)
    removed = total = 0
    for place, (status, path) in enumerate(files):
        total += status.st_size
        if place >= files_max or total > bytes_max:
            os.unlink(path)
            removed += 1
    return removed
