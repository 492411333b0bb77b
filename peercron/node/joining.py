"""Joining: a node that is new asks a running cluster to take it in, and remembers that it was, before it runs."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from peercron.address import split_address
from peercron.consensus.transport import DIAL_TIMEOUT_S
from peercron.errors import ConfigError, DataDirError, PeerRejected, Problem, Refused
from peercron.identity import DataDir, Identity, cluster_name
from peercron.settings import Settings
from peercron.wire.frames import NONCE_BYTES, OTHER_SECRET, Channel, secret_key
from peercron.wire.plain import pack, unpack

log = logging.getLogger(__name__)

#: Between two rounds of asking: at first, and at most.
PAUSE_S: Final = (0.1, 2.0)
#: After so many rounds in which all said that they cannot speak with us, we believe it; one might be a death.
ROUNDS_REJECTED_MAX: Final = 3
#: How long one member may take to answer.
ANSWER_S: Final = 10.0
READ_BYTES: Final = 65_536


async def join(
    settings: Settings, data_dir: DataDir, fresh: Callable[[], str], client_tls: ssl.SSLContext | None
) -> Settings:
    """Be taken in by the cluster of `settings.join`, unless this directory belongs to one already; for ever if need be.

    Returns:
        the settings, with the addresses of more members, and with the name under which we were taken in.

    Raises:
        Refused: the cluster does not take us.
        PeerRejected: none of the members can be spoken with.
        ConfigError: our own address cannot be had.
        DataDirError: the directory cannot be used, or the cluster has another name.
    """
    identity = data_dir.newcomer(settings.self_address, fresh)
    if identity.cluster:
        return settings
    await _check_own_address(settings)
    if set(settings.join) == {settings.self_address}:
        # With data it would be a member that comes back; without, it would ask itself for ever.
        what = f"{settings.self_address} is this node itself; name a member of the cluster that it shall join"
        raise ConfigError([Problem("--join", what)])
    log.info("joining", extra={"via": ", ".join(settings.join), "id": identity.member})
    answer = await _Applicant(settings, identity, client_tls).until_admitted()
    cluster = str(answer["cluster"])
    if cluster_name(cluster) != settings.cluster:
        raise DataDirError(f"the cluster there is {cluster_name(cluster)}, and --cluster says {settings.cluster}")
    founders = tuple(str(address) for address in answer["founders"])
    data_dir.write(replace(identity, cluster=cluster, founders=founders))
    log.info("joined", extra={"cluster": cluster, "node": answer["name"]})
    # Until the log arrives, nothing else tells what we are called here.
    return replace(settings, name=str(answer["name"]), join=_joined(settings.join, answer["members"]))


class _Applicant:
    """Asks one member after the other, round by round."""

    def __init__(self, settings: Settings, identity: Identity, client_tls: ssl.SSLContext | None) -> None:
        self._settings, self._identity, self._client_tls = settings, identity, client_tls
        self._addresses = settings.join
        self._rng = random.Random()
        self._said = ""

    async def until_admitted(self) -> Mapping[str, Any]:
        delay_s, rejected = PAUSE_S[0], 0
        while True:
            rejections: dict[str, PeerRejected] = {}
            for address in self._addresses:
                answer = await self._ask(address, rejections)
                if answer is not None:
                    return answer
            rejected = rejected + 1 if rejections.keys() >= set(self._settings.join) else 0
            if rejected >= ROUNDS_REJECTED_MAX:
                raise next(iter(rejections.values()))
            await asyncio.sleep(delay_s * self._rng.uniform(0.7, 1.3))
            delay_s = min(delay_s * 1.6, PAUSE_S[1])

    async def _ask(self, address: str, rejections: dict[str, PeerRejected]) -> Mapping[str, Any] | None:
        """What a member answers that is a yes; None: nothing yet. Refused: it is a no."""
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._talk(address)
        except PeerRejected as error:
            said = str(error)
            said = said if said.startswith(f"{address} ") else f"{address}: {said}"  # who has no other name yet
            rejections[address] = PeerRejected(said)
            self._say(said)
            return None
        except (OSError, TimeoutError) as error:
            self._say(f"{address}: {str(error) or 'no answer in time'}")
            return None
        match answer.get("type"):
            case "admitted":
                return answer
            case "refused":
                raise Refused(str(answer["code"]), f"the cluster does not take this node: {answer['detail']}")
            case _:
                self._addresses = _joined(self._addresses, answer.get("members", ()))
                self._say(f"{address}: {answer.get('detail') or 'not now'}")
                return None

    async def _talk(self, address: str) -> Mapping[str, Any]:
        settings, identity = self._settings, self._identity
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*split_address(address), ssl=self._client_tls)
        try:
            key = secret_key(settings.secret or b"")
            channel = Channel(identity.member, "", key, os.urandom(NONCE_BYTES), dialer=True)
            answer = await self._converse(channel, reader, writer)
        finally:
            writer.transport.abort()
        if not isinstance(answer, dict):
            raise PeerRejected("its answer is unreadable")
        return answer

    async def _converse(self, channel: Channel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(channel.greeting())
        payloads: list[bytes] = []
        asked = False
        while not payloads:
            data = await _read(reader)
            if not data and channel.claimed.member and channel.peer is None:
                # It hung up on our proof, which may overtake its own.
                raise PeerRejected(f"{channel.claimed.member} {OTHER_SECRET}")
            if not data:
                raise OSError("it hung up")
            payloads = channel.receive(data)
            writer.write(channel.take())
            if channel.peer is not None and not asked:
                asked = True
                writer.write(channel.seal(pack(self._request())))
        return unpack(payloads[0])

    def _request(self) -> dict[str, str]:
        settings = self._settings
        name = settings.name if settings.name_given else ""
        own = {"id": self._identity.member, "name": name, "address": settings.self_address, "role": settings.role}
        return {"type": "admit", **own}

    def _say(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            log.warning("not_joined_yet", extra={"reason": reason})


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What comes; nothing: the other end is gone, in whatever way."""
    try:
        return await reader.read(READ_BYTES)
    except ConnectionError:
        return b""


async def _check_own_address(settings: Settings) -> None:
    """A seat for a node that cannot listen would be a dead one."""
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, *split_address(settings.self_address))
    except OSError as error:
        message = f"cannot listen on {settings.self_address}: {error.strerror or error}"
        raise ConfigError([Problem("--self", message)]) from error
    server.close()
    await server.wait_closed()


def _joined(addresses: Iterable[str], more: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*addresses, *map(str, more))))
