"""Link: the asyncio way to a cluster: any of its nodes answers, and where one cannot the next is asked."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from peercron.client.blocking import Answer
from peercron.client.once import ONCE_LEVEL, STATUS
from peercron.client.replies import BROKE_OFF, MARK, NO_HTTP, SAFE, error_of, stranger, worse
from peercron.client.tries import PAUSE_S, Tries
from peercron.client.words import as_json
from peercron.errors import Busy, ConfigError, NoLeader, OutcomeUnknown, PeercronError, Problem, Unreachable

#: A node that cannot be connected to in this time is passed over.
CONNECT_S: Final = 2.0
#: A stream says every five seconds that it lives; one that says nothing for so long does not.
SILENCE_S: Final = 15.0
#: The longest line of a stream: the largest value, as base64 or with every character escaped, and its key.
LINE_BYTES_MAX: Final = 4 * 1024 * 1024


class Link:
    """Asks nodes until one answers for good. A write carries a key by which the cluster knows it again, so that it may
    be asked for twice and is done once.

    Args:
        addresses: base URLs, the one that answered last is asked first.
        token: access token; empty: none.
        ca_file: authority (PEM) of https addresses.
        timeout_s: for a request with all its tries.
    """

    def __init__(
        self, addresses: Sequence[str], *, token: str = "", ca_file: str | None = None, timeout_s: float = 5.0
    ) -> None:
        self.addresses = tuple(map(_base_url, addresses))
        if not self.addresses:
            raise ConfigError([Problem("addresses", "at least one is required, like http://host:8400")])
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ca_file, self._timeout_s = ca_file, timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        #: Place of the node that answered last.
        self._at = 0
        #: How far the cluster was, as far as a node has said it. It never falls.
        self._index = 1
        #: The language that the cluster speaks, as far as a node has said it; 0: none has. It never falls.
        self._level = 0

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        answer_s: float = 0.0,
    ) -> Answer:
        """The answer to a request. `body`: bytes as they are, anything else as JSON; None: no body.

        `answer_s` is how much longer than usual the answer itself may take (a request that waits).

        Raises:
            Unreachable, NoLeader, Busy: nothing happened, and the time is up.
            OutcomeUnknown: a write was sent and not answered.
            Refused, ConfigError, Compacted: the answer is no.
        """
        loop = asyncio.get_running_loop()
        tries = Tries(loop.time(), self._timeout_s)
        key = {} if method in SAFE else {"Idempotency-Key": secrets.token_hex(16)}
        sent = {**self._headers, **key, **(headers or {})}
        if key and self._level == 0 and len(self.addresses) > 1:
            await self._meet(tries)
        again = {"Idempotency-Since": str(self._index)} if key else {}
        unknown: OutcomeUnknown | None = None
        while True:
            for place, address in enumerate(turn := self._in_turn()):
                began_s = loop.time()
                share_s = tries.share_s(turn[place:], began_s, self._parts(method))
                try:
                    return await self._ask(address, method, path, body, params, sent, share_s + answer_s)
                except OutcomeUnknown as error:
                    unknown = error
                    sent |= again
                    self.pass_over(address)
                    if not await self._heeds_keys():
                        raise
                except (Unreachable, NoLeader, Busy) as error:
                    tries.failed(address, error, loop.time() - began_s)
                    self.pass_over(address)
                if tries.is_over(loop.time()):
                    break
            if tries.is_over(loop.time() + PAUSE_S):
                raise unknown or tries.told
            await asyncio.sleep(PAUSE_S)

    async def _meet(self, tries: Tries) -> None:
        """Before the first write: who answers is asked first, so that it goes to no node that hangs; and of what may
        come again it has to be known how far the cluster was before. Where nobody answers the write will say so.
        """
        loop = asyncio.get_running_loop()
        for place, address in enumerate(turn := self._in_turn()):
            began_s = loop.time()
            share_s = tries.share_s(turn[place:], began_s, len(turn))
            try:
                await self._ask(address, "GET", STATUS, None, None, self._headers, share_s)
            except Unreachable as error:
                tries.failed(address, error, loop.time() - began_s)
                continue
            except PeercronError:  # it is there
                return
            return

    async def follow(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Lines of an answer that goes on, from the first node that gives one. Ends with Unreachable at the latest when
        the node has been silent for SILENCE_S; raises otherwise as `ask` does, once all nodes were asked.
        """
        last: PeercronError = Unreachable()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        for address in self._in_turn():
            try:
                answer = await self._open().get(
                    address + path, params=params, headers=self._headers, timeout=timeout, read_bufsize=LINE_BYTES_MAX
                )
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                last = worse(last, Unreachable(f"cannot reach {address}: {_reason(error)}"))
                continue
            async with answer:
                try:
                    self._heed(answer)
                    self._check(answer, await answer.read() if answer.status >= 400 else b"", address, "GET")
                    self._at = self.addresses.index(address)
                    async for line in answer.content:
                        yield line
                    last = Unreachable(f"{address} ended the stream")
                except (NoLeader, Busy) as error:
                    last = error
                    continue
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                    last = Unreachable(f"the stream of {address} broke off: {_reason(error)}")
            break
        self.pass_over(self.addresses[self._at])
        raise last

    def pass_over(self, address: str = "") -> None:
        """Ask another node first from now on than this one, by default the one that answered last."""
        at = self.addresses.index(address) if address else self._at
        self._at = (at + 1) % len(self.addresses)

    async def close(self) -> None:
        """Whoever asks from now on is told that it is closed."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self,
        address: str,
        method: str,
        path: str,
        body: object,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Answer:
        content, kind = _encoded(body)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        try:
            async with self._open().request(
                method,
                address + path,
                data=content,
                params=params,
                headers={**kind, **headers},
                timeout=timeout,
                allow_redirects=False,  # a write that is sent elsewhere may become a read there
            ) as answer:
                said = await answer.read()
                self._heed(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"cannot reach {address}: {_reason(error)}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if method in SAFE:
                raise Unreachable(f"{address} did not answer: {_reason(error)}") from None
            raise OutcomeUnknown(f"{address} did not answer ({_reason(error)}): it may have been done") from None
        self._check(answer, said, address, method)
        self._at = self.addresses.index(address)
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, said)

    @staticmethod
    def _check(answer: aiohttp.ClientResponse, said: bytes, address: str, method: str) -> None:
        """Raises what it speaks of, unless it is a node's that says yes."""
        if (error := stranger(answer.status, answer.headers.get(MARK), address, method)) is not None:
            raise error
        if answer.status >= 400:
            raise error_of(answer.status, said, address, method)

    def _in_turn(self) -> tuple[str, ...]:
        return self.addresses[self._at :] + self.addresses[: self._at]

    def _parts(self, method: str) -> int:
        """Of how many parts of the time a node has one: all of it where no other may be asked the same, as far as we
        know, and half of it for a write, that goes first to who has answered.
        """
        if method in SAFE or self._level == 0:
            return len(self.addresses)
        return 2 if self._level >= ONCE_LEVEL else 1

    async def _heeds_keys(self) -> bool:
        """Whether the cluster carries out once what is sent twice; where no node has said so, one is asked."""
        for address in self._in_turn() if self._level == 0 else ():
            with suppress(PeercronError):
                await self._ask(address, "GET", "/livez", None, None, self._headers, CONNECT_S)
                break
        return self._level >= ONCE_LEVEL

    def _heed(self, answer: aiohttp.ClientResponse) -> None:
        level, index = answer.headers.get("Peercron-Level", ""), answer.headers.get("Peercron-Index", "")
        if level.isdigit():
            self._level = max(self._level, int(level))
        if index.isdigit():
            self._index = max(self._index, int(index))

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise PeercronError("this client is closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._trust())
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    def _trust(self) -> ssl.SSLContext | bool:
        if self._ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise ConfigError([Problem("ca_file", f"{self._ca_file} cannot be used: {_reason(error)}")]) from None


def _base_url(address: str) -> str:
    url = address.strip()
    url = url if "://" in url else f"http://{url}"
    if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
        raise ConfigError([Problem("addresses", f"{address!r} is not like http://host:8400")])
    return url.rstrip("/")


def _encoded(body: object) -> tuple[bytes | None, dict[str, str]]:
    if body is None or isinstance(body, bytes):
        return body, {} if body is None else {"Content-Type": "application/octet-stream"}
    return as_json(body), {"Content-Type": "application/json"}


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientResponseError):
        return NO_HTTP  # what it sent instead is not for a terminal
    if isinstance(error, aiohttp.ClientPayloadError):
        return BROKE_OFF
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
