"""feed: the shepherd's end of its socket to a worker: work goes in, what the worker says of itself comes out."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Any

from peercron.execution.orders import Lines, LineTooLong, decode


class Feed:
    """Lines to a worker by `say`; each line from it goes to `hear`. It never waits for the worker."""

    def __init__(
        self, channel: socket.socket, selector: selectors.BaseSelector, hear: Callable[[dict[str, Any]], None]
    ) -> None:
        self._channel, self._selector, self._hear = channel, selector, hear
        self._lines = Lines()
        self._unsaid = bytearray()
        self._open = True
        channel.setblocking(False)
        selector.register(channel, selectors.EVENT_READ, self._act)

    @classmethod
    def open(cls, selector: selectors.BaseSelector, hear: Callable[[dict[str, Any]], None]) -> tuple[Feed, int]:
        """A feed, and the descriptor that becomes the worker's standard input."""
        own, its = socket.socketpair()
        return cls(own, selector, hear), its.detach()

    def say(self, line: bytes) -> None:
        self._unsaid += line
        self._flush()

    def drain(self) -> None:
        """The worker is dead: take what it said last."""
        while self._open and self._read():
            pass

    def _act(self) -> None:
        self._flush()
        if self._open:
            self._read()

    def _flush(self) -> None:
        if not self._open:
            return
        try:
            while self._unsaid:
                del self._unsaid[: self._channel.send(self._unsaid)]
        except BlockingIOError:
            pass
        except OSError:  # it has closed its end, or is dead: then it is reaped
            self._unsaid.clear()
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsaid else 0)
        self._selector.modify(self._channel, interest, self._act)

    def _read(self) -> bool:
        """False: there is nothing more at the moment, or ever."""
        try:
            data = self._channel.recv(65_536)
            lines = self._lines.feed(data)
        except BlockingIOError:
            return False
        except (OSError, LineTooLong):
            data, lines = b"", []
        if not data:
            self._open = False
            self._selector.unregister(self._channel)
            self._channel.close()
        for line in lines:
            try:
                told = decode(line)
            except ValueError:  # whatever a job wrote there
                continue
            self._hear(told)
        return bool(data)
