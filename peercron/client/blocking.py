"""A blocking connection to a cluster: any of its nodes answers, and where one cannot the next is asked."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from peercron.client.once import STATUS, key_of, since
from peercron.client.replies import MARK, SAFE, error_of, reason_of, stranger, unanswered, worse
from peercron.client.tries import PAUSE_S, Tries
from peercron.client.words import as_json
from peercron.clock import Clock, SystemClock
from peercron.errors import Busy, ConfigError, NoLeader, OutcomeUnknown, PeercronError, Problem, Unreachable

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said to a request that it accepted. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is too large to hold: its bytes in pieces, anew at each call, and how many they are."""

    pieces: Callable[[], Iterator[bytes]]
    size: int


@dataclass(slots=True)
class Connection:
    """Addresses are base URLs, tried in order; `timeout_s` is for a request with all its tries.

    >>> Connection(["http://127.0.0.1:8400"]).request("GET", "/v1/status").json      # doctest: +SKIP
    """

    addresses: Sequence[str]
    timeout_s: float = 5.0
    token: str = field(default="", repr=False)
    ca_file: str | None = None
    clock: Clock = field(default_factory=SystemClock)
    #: Waits between two rounds of tries, in seconds.
    pause: Callable[[float], object] = field(default_factory=lambda: Event().wait)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        answer_s: float = 0.0,
        again: bool = False,
    ) -> Answer:
        """Ask until a node answers for good. `body`: bytes as they are, anything else as JSON. None: no body.

        `answer_s` is how much longer than usual the answer itself may take (a read that waits). `again`: the next node
        may be asked also when one that has got it did not answer, as it does no harm twice. So may it with a write that
        the cluster knows again by its Idempotency-Key. A write, and what may take its time, go first to a node that has
        just answered.

        Raises:
            Unreachable, NoLeader, Busy: nothing happened, and the time is up.
            OutcomeUnknown: a write was sent and not answered.
            Refused, ConfigError: the answer is no.
        """
        tries = Tries(self.clock.monotonic(), self.timeout_s)
        target = f"{path}?{urlencode(params)}" if params else path
        addresses, sent = tuple(self.addresses), dict(headers or {})
        repeated: dict[str, str] = {}
        if method not in SAFE and not again and len(addresses) > 1:
            addresses, repeated = self._met(tries)
            if repeated and (key := key_of(method, path)):
                sent, again = key | sent, True
        elif answer_s and len(addresses) > 1:
            addresses, _ = self._met(tries)
        # One that has just answered hardly hangs: it may have half of the time. All of it, where no other may be asked.
        parts = (2 if repeated else len(addresses)) if method in SAFE or again else 1
        unknown: OutcomeUnknown | None = None
        while True:
            for place, address in enumerate(addresses):
                began_s = self.clock.monotonic()
                share_s = tries.share_s(addresses[place:], began_s, parts)
                try:
                    return self._ask(address, method, target, body, sent, share_s + answer_s)
                except OutcomeUnknown as error:
                    if not again:
                        raise _left_at(error, addresses) from None
                    unknown = error
                    sent |= repeated
                except (Unreachable, NoLeader, Busy) as error:
                    tries.failed(address, error, self.clock.monotonic() - began_s)
                if tries.is_over(self.clock.monotonic()):
                    break
            nobody = tries.in_vain(addresses) or (tries.silent and unknown is not None)
            if nobody or tries.is_over(self.clock.monotonic() + PAUSE_S):
                raise unknown or tries.told
            self.pause(PAUSE_S)

    def _met(self, tries: Tries) -> tuple[tuple[str, ...], dict[str, str]]:
        """The addresses, that of the first node that answers in front, so that no write goes to one that hangs; and
        what a write says that comes again: nothing, if it would not be known again. Unreachable: nobody answers.
        """
        for place, address in enumerate(self.addresses):
            began_s = self.clock.monotonic()
            share_s = tries.share_s(self.addresses[place:], began_s, len(self.addresses))
            try:
                told = since(self._ask(address, "GET", STATUS, None, {}, share_s).headers)
            except Unreachable as error:
                tries.failed(address, error, self.clock.monotonic() - began_s)
                continue
            except (NoLeader, Busy):  # it is there
                told = {}
            return (*self.addresses[place:], *self.addresses[:place]), told
        raise tries.told

    def stream(
        self, path: str, *, params: Mapping[str, object] | None = None, silence_s: float | None = None
    ) -> Iterator[bytes]:
        """The body of a GET in pieces as they come, however long that takes; nothing for `silence_s` is Unreachable.
        Raises as `request` does.
        """
        target = f"{path}?{urlencode(params)}" if params else path
        last: PeercronError = Unreachable()
        for address in self.addresses:
            try:
                link, answer = self._send(address, "GET", target, None, {}, self.timeout_s, body_s=silence_s)
            except (Unreachable, NoLeader, Busy) as error:
                last = worse(last, error)
                continue
            return _pieces(link, answer)
        raise last

    def upload(
        self, path: str, body: Upload, *, params: Mapping[str, object] | None, answer_s: float, again: bool
    ) -> Answer:
        """PUT what is large; the answer may take `answer_s`. Each node is asked once.

        `again`: also when a node that has got it did not answer, as it does no harm twice. Raises as `request` does.
        """
        target = f"{path}?{urlencode(params)}" if params else path
        last: PeercronError = Unreachable()
        for address in self.addresses:
            try:
                return self._ask(address, "PUT", target, body, {}, self.timeout_s, answer_s)
            except (Unreachable, NoLeader, Busy) as error:
                last = worse(last, error)
            except OutcomeUnknown as error:
                if not again:
                    raise
                last = error
        raise last

    def _ask(
        self,
        address: str,
        method: str,
        target: str,
        body: object,
        headers: Mapping[str, str],
        timeout_s: float,
        answer_s: float | None = None,
    ) -> Answer:
        link, answer = self._send(
            address, method, target, body, headers, timeout_s, body_s=timeout_s, answer_s=answer_s or timeout_s
        )
        try:
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise unanswered(urlsplit(address).netloc, method, error) from None
        finally:
            answer.close()
            link.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def _send(
        self,
        address: str,
        method: str,
        target: str,
        body: object,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        body_s: float | None,
        answer_s: float | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send the request to one node; an answer that is no raises what it says. `body_s`: time-out of each read;
        `answer_s`: of the wait for the answer.
        """
        url = urlsplit(address)
        link = self._dial(url, timeout_s)
        try:
            link.connect()
        except OSError as error:
            link.close()
            raise Unreachable(f"cannot reach {url.netloc}: {reason_of(error)}") from None
        content, kind = _encoded(body)
        sent = {**kind, **({"Authorization": f"Bearer {self.token}"} if self.token else {}), **headers}
        whole = not isinstance(body, Upload)
        try:
            sock = link.sock
            # A node that has heard enough of an upload says so, and does not listen to the rest.
            with suppress(*(() if whole else (BrokenPipeError, ConnectionResetError))):
                link.request(method, url.path.rstrip("/") + target, content, sent)
                whole = True
            sock.settimeout(answer_s or timeout_s)
            answer = link.getresponse()
            sock.settimeout(body_s)
            foreign = stranger(answer.status, answer.headers.get(MARK), url.netloc, method)
            if foreign is None and answer.status < http.client.BAD_REQUEST:
                return link, answer
            said = answer.read() if foreign is None else b""
        except (OSError, http.client.HTTPException) as error:
            link.close()
            # What did not arrive whole was not done.
            raise unanswered(url.netloc, method if whole else "GET", error) from None
        answer.close()
        link.close()
        raise foreign or error_of(answer.status, said, url.netloc, method)

    def _dial(self, url: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
        try:
            host, port = url.hostname or "", url.port
        except ValueError:
            host, port = "", None
        if url.scheme not in ("http", "https") or not host:
            raise ConfigError([Problem("--addr", f"{url.geturl()!r} is not like http://host:8400")])
        if url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            trust = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise ConfigError([Problem("--cacert", f"{self.ca_file} cannot be used: {reason_of(error)}")]) from None
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=trust)


def _left_at(error: OutcomeUnknown, addresses: Sequence[str]) -> OutcomeUnknown:
    """Why the other nodes were not asked, where there are any."""
    if len(addresses) == 1:
        return error
    return OutcomeUnknown(f"{error}, and no other node was asked, as it might be done twice")


def _encoded(body: object) -> tuple[bytes | Iterator[bytes] | None, dict[str, str]]:
    if isinstance(body, Upload):
        return body.pieces(), {"Content-Type": "application/octet-stream", "Content-Length": str(body.size)}
    if body is None or isinstance(body, bytes):
        return body, {} if body is None else {"Content-Type": "application/octet-stream"}
    return as_json(body), {"Content-Type": "application/json"}


def _pieces(link: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := answer.read1(_CHUNK_BYTES):
            yield piece
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"the answer broke off: {reason_of(error)}") from None
    finally:
        answer.close()
        link.close()
