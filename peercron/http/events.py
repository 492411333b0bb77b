"""Route of events: what happens in the cluster, as server-sent events that can be gone on with at any node."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from peercron.core import views
from peercron.core.chronicle import KINDS, LAST, Chronicle, Event, Place
from peercron.core.state import Resource
from peercron.core.token import Scope
from peercron.errors import Compacted
from peercron.http.asking import READ_PARAMETERS, Route, fresh, node_of, whole_number
from peercron.http.problems import BadRequest
from peercron.http.streaming import SSE, stream
from peercron.sources import nearest

#: Events of one batch: more is left for the next, so that who is far behind does not keep the loop.
BATCH_MAX = 500
#: Told by each node as it sees it: who leads does not stand in the log, so that it has no id.
LEADER = "leader"
_ID = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?")


async def events(request: web.Request) -> web.StreamResponse:
    """What happens from now on, an event each: {"id", "at", "kind", "what", "name", and what there is to say of it}.

    With Last-Event-ID (or ?from=ID) all that came after that one, at whichever node; with ?last=N the last N first.
    ?kind=run,job and ?name= choose among them; ?follow=0 ends the answer with what there is, which is all that is kept
    if nothing else was asked for. An "index" event says how far the stream has come; an "error" event why it ends:
    compacted, when some are not kept any more, with the index to go on from.
    """
    kinds = _kinds(request)
    follow = request.query.get("follow", "1")
    if follow not in ("0", "1"):
        raise BadRequest("query.follow", f"{follow!r}: must be 1 or 0")
    state = await fresh(request)
    story = _Story(request, kinds, request.query.get("name", ""))
    story.begin((state.index, LAST) if follow == "1" else story.chronicle.floor)
    return await stream(request, story, SSE, follow=follow == "1")


class _Story:
    """What one reader is told."""

    def __init__(self, request: web.Request, kinds: frozenset[str], name: str) -> None:
        self._request, self._node = request, node_of(request)
        self._kinds = kinds
        self._names = frozenset({name, f"default/{name}"}) if name else frozenset()
        self._place: Place = (0, 0)
        self._leader = self._node.leader()

    @property
    def chronicle(self) -> Chronicle:
        chronicle = self._node.state.chronicle
        assert chronicle is not None, "a node keeps what happened"
        return chronicle

    @property
    def resource(self) -> Resource:
        return "event", "", ""

    def begin(self, otherwise: Place) -> None:
        """Where the request says, or there."""
        said = (self._request.headers.get("Last-Event-ID"), self._request.query.get("from"))
        given, last = [_place(text) for text in said if text], whole_number(self._request, "last", 0)
        if given:
            self._place = given[0]
        elif "last" in self._request.query:
            self._place = self._before_last(last)
        else:
            self._place = otherwise

    def take(self) -> bytes:
        told = self._news_of_leader()
        while batch := self._next():
            told += b"".join([_told(event) for event in batch if self._wants(event)])
            if told:
                break
        return told

    def place(self) -> bytes:
        index, n = self._place
        id_ = str(index) if n == LAST else f"{index}.{n}"
        return f'event: index\nid: {id_}\ndata: {{"index":{index},"id":"{id_}"}}\n\n'.encode()

    def _next(self) -> list[Event]:
        batch = self.chronicle.after(self._place, BATCH_MAX)
        if batch is None:
            index = self._node.state.index
            raise Compacted(index, f"events after that id are not all kept any more: go on with those after {index}")
        # Nothing is left up to where this node stands; but it may stand behind what was seen elsewhere.
        self._place = batch[-1].place if batch else max(self._place, (self._node.state.index, LAST))
        return batch

    def _before_last(self, count: int) -> Place:
        floor = self.chronicle.floor
        kept = [event for event in self.chronicle.after(floor, LAST) or () if self._wants(event)]
        return kept[-count - 1].place if count < len(kept) else floor

    def _wants(self, event: Event) -> bool:
        return (not self._kinds or event.kind in self._kinds) and (not self._names or event.name in self._names)

    def _news_of_leader(self) -> bytes:
        before, self._leader = self._leader, self._node.leader()
        if before == self._leader or (self._kinds and LEADER not in self._kinds) or self._names:
            return b""
        told = {"id": None, "at": views.instant(self._node.state.now_ms), "kind": LEADER, "what": "changed"}
        return b"data: %b\n\n" % msgspec.json.encode(told | {"name": self._leader or "", "before": before or ""})


def event_view(event: Event) -> dict[str, Any]:
    """Event JSON. `at` is null of what was there before the first command."""
    head = {"id": f"{event.index}.{event.n}", "at": views.instant(event.at_ms or None)}
    return head | {"kind": event.kind, "what": event.what, "name": event.name} | dict(event.facts)


def _told(event: Event) -> bytes:
    return b"id: %d.%d\ndata: %b\n\n" % (event.index, event.n, msgspec.json.encode(event_view(event)))


def _kinds(request: web.Request) -> frozenset[str]:
    """Those that were asked for; none: all."""
    wanted = [kind for kind in request.query.get("kind", "").split(",") if kind]
    known = (*KINDS, LEADER)
    for kind in wanted:
        if kind not in known:
            raise BadRequest("query.kind", f"{kind!r}: must be of {', '.join(known)}{nearest(kind, known)}")
    return frozenset(wanted)


def _place(text: str) -> Place:
    found = _ID.fullmatch(text)
    if found is None:
        raise BadRequest("query.from", f"{text!r}: must be the id of an event, like 42.1, or an index")
    return int(found[1]), int(found[2]) if found[2] else LAST


ROUTES = (Route("GET", "/v1/events", events, Scope.READ, READ_PARAMETERS | {"from", "last", "kind", "name", "follow"}),)
