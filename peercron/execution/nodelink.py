"""nodelink: the guardian's end of its socket to the node; it never waits for the node to speak or to listen."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from peercron.execution.orders import Lines, LineTooLong, encode


class NodeLink:
    """Lines from the node in `orders`, lines to it by `say`. `on_gone` is called once, when the node has died.

    What the node does not take is kept: it is bounded by two lines per attempt, and who is deaf orders no more.
    """

    def __init__(self, link: socket.socket, selector: selectors.BaseSelector, on_gone: Callable[[], None]) -> None:
        self.orders: deque[bytes] = deque()
        self._link = link
        self._selector = selector
        self._on_gone = on_gone
        self._lines = Lines()
        self._outgoing = bytearray()
        self._gone = False
        self._interest = selectors.EVENT_READ
        link.setblocking(False)
        selector.register(link, self._interest, self._act)

    def say(self, line: dict[str, Any]) -> None:
        if not self._gone:
            self._outgoing += encode(line)
            self._flush()

    def _act(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ and not self._gone:
            self._hear()

    def _hear(self) -> None:
        try:
            data = self._link.recv(65_536)
            self.orders.extend(self._lines.feed(data))
        except BlockingIOError:
            return
        except (OSError, LineTooLong):
            data = b""
        if not data:
            self._lose()

    def _flush(self) -> None:
        try:
            del self._outgoing[: self._link.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
            return
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        if interest != self._interest:
            self._interest = interest
            self._selector.modify(self._link, interest, self._act)

    def _lose(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._selector.unregister(self._link)
        self._link.close()
        self.orders.clear()
        self._outgoing.clear()
        self._on_gone()
