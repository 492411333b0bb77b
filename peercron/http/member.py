"""Routes of members: who there is, who is invited, who goes, who is given no more work, and who leads."""

from __future__ import annotations

import shlex
from typing import Any

from aiohttp import web

from peercron.address import NAME_PATTERN, is_unspecified, join_address, split_address
from peercron.core import views
from peercron.core.commands import DrainMember, Invite, Uninvite
from peercron.core.member import Role
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import blocking_answer, json_answer
from peercron.http.asking import BLOCKING_PARAMETERS, TIMEOUT_S, Route, commit, fields_of_body, fresh, node_of
from peercron.http.port import NodePort
from peercron.settings import Settings

#: Addresses named to a newcomer; any one of them is enough.
JOIN_ADDRESSES_MAX = 3
ROLES = (Role.VOTER, Role.WITNESS)


async def members(request: web.Request) -> web.Response:
    """Everybody: who has a seat, who is expected, and who is still running something."""
    node = node_of(request)
    return await blocking_answer(request, lambda: {"members": _members(node)})


async def add(request: web.Request) -> web.Response:
    """Expect a node at an address: 201, or 200 when it is expected already, or a member. `command` starts it."""
    invite = _invitation(await fields_of_body(request, "address", "role", "name"))
    node, state = node_of(request), await fresh(request)
    known = next((id_ for id_, seat in state.seats.items() if seat.address == invite.address), None)
    if known is not None:
        return json_answer(_row(node, known))
    before = state.invitations.get(invite.address)
    await commit(request, invite)
    changed = before is None or (before.role, before.name) != (invite.role, invite.name)
    row = {"name": invite.name, "id": None, "address": invite.address, "role": str(invite.role), "state": "invited"}
    command = _command(node.settings, node.state, invite)
    return json_answer(row | {"command": command}, status=201 if changed else 200)


async def remove(request: web.Request) -> web.Response:
    """Take a member's seat, or back an invitation; answers when that is committed."""
    word, node, state = request.match_info["name"], node_of(request), await fresh(request)
    member = find_member(state, word)
    if member is not None:
        name, seat = _name(state, member), state.seats.get(member)
        await node.remove_member(member, TIMEOUT_S)
        return json_answer({"removed": name, "id": member, "address": seat.address if seat else None})
    for invited in state.invitations.values():
        if word in (invited.address, invited.name):
            await commit(request, Uninvite(invited.address))
            return json_answer({"uninvited": invited.address})
    raise _unknown(state, word)


async def drain(request: web.Request) -> web.Response:
    """It is given nothing more; what runs there goes on."""
    return await _drain(request, drained=True)


async def undrain(request: web.Request) -> web.Response:
    """It is given work again."""
    return await _drain(request, drained=False)


async def transfer(request: web.Request) -> web.Response:
    """Hand leadership to the member of this name, {"to": name}, or to the best one."""
    fields = await fields_of_body(request, "to")
    to = fields.get("to")
    if to is not None and not isinstance(to, str):
        raise ConfigError([Problem("to", "must be the name of a member")])
    node = node_of(request)
    await node.transfer_leadership(to)
    return json_answer({"leader": node.leader()})


def find_member(state: ClusterState, word: str) -> str | None:
    """The id of the member of this name, id or address; None: there is none."""
    for id_ in state.seats or state.members:
        seat = state.seats.get(id_)
        if word in (id_, _name(state, id_)) or (seat is not None and word in (seat.name, seat.address)):
            return id_
    return None


def _name(state: ClusterState, member: str) -> str:
    row, seat = state.members.get(member), state.seats.get(member)
    return row.info.name if row else seat.name if seat else member


async def _drain(request: web.Request, *, drained: bool) -> web.Response:
    word, state = request.match_info["name"], await fresh(request)
    member = find_member(state, word)
    if member is None:
        raise _unknown(state, word)
    await commit(request, DrainMember(member, drained))
    return json_answer(_row(node_of(request), member))


def _unknown(state: ClusterState, word: str) -> Refused:
    names = sorted(_name(state, id_) for id_ in state.seats or state.members)
    return Refused("not_found", f"there is no member {word}; there are {', '.join(names)}")


def _members(node: NodePort) -> list[dict[str, Any]]:
    """What the state knows of each member, and over it what only its peers can measure."""
    state = node.state
    known = {id_: views.member_view(state, row) for id_, row in state.members.items()}
    seen = node.status().get("members", ())
    ids = {row["id"] for row in seen}
    return [*(known.get(row["id"], {}) | row for row in seen), *(row for id_, row in known.items() if id_ not in ids)]


def _row(node: NodePort, member: str) -> dict[str, Any]:
    return next((row for row in _members(node) if row["id"] == member), {"id": member})


def _invitation(fields: dict[str, Any]) -> Invite:
    problems: list[Problem] = []
    given = {key: value for key, value in fields.items() if value is not None}
    address, role, name = given.get("address"), given.get("role", Role.VOTER), given.get("name", "")
    try:
        host, port = split_address(address if isinstance(address, str) else "")
        address = join_address(host, port)
        if is_unspecified(host):
            problems.append(Problem("address", f"{address} cannot be dialled; give the one that the others reach"))
    except ValueError as error:
        problems.append(Problem("address", str(error) if isinstance(address, str) else "must be HOST:PORT"))
    if role not in ROLES:
        problems.append(Problem("role", f"must be one of {', '.join(ROLES)}"))
    if name != "" and not (isinstance(name, str) and NAME_PATTERN.fullmatch(name)):
        problems.append(Problem("name", "letters, digits, dots, dashes and underscores, at most 128, no dash first"))
    if problems:
        raise ConfigError(problems)
    return Invite(str(address), Role(role), name)


def _command(settings: Settings, state: ClusterState, invite: Invite) -> str:
    """What to type on the host of the newcomer."""
    voters = [seat.address for seat in state.seats.values() if seat.role in ROLES]
    words = ["peercron", "--join", ",".join(voters[:JOIN_ADDRESSES_MAX] or [settings.self_address])]
    words += ["--self", invite.address]
    words += ["--name", invite.name] if invite.name else []
    words += ["--role", str(invite.role)] if invite.role is not Role.VOTER else []
    words += ["--secret-file", "FILE"] if settings.secret else ["--insecure"] if settings.insecure else []
    words += ["--cluster", settings.cluster] if settings.cluster != "peercron" else []
    words += ["--profile", settings.profile] if settings.profile != "lan" else []
    words += ["--tls-cert", "FILE", "--tls-key", "FILE", "--tls-ca", "FILE"] if settings.tls_cert else []
    return shlex.join(words)


#: A member goes by its address too, which has a colon; but no port is called so.
_MEMBER = "/v1/members/{name:[^/]+(?<!:drain)(?<!:undrain)}"
ROUTES = (
    Route("GET", "/v1/members", members, Scope.READ, BLOCKING_PARAMETERS),
    Route("POST", "/v1/members", add, Scope.ADMIN),
    Route("DELETE", _MEMBER, remove, Scope.ADMIN),
    Route("POST", "/v1/members/{name}:drain", drain, Scope.ADMIN),
    Route("POST", "/v1/members/{name}:undrain", undrain, Scope.ADMIN),
    Route("POST", "/v1/leader:transfer", transfer, Scope.ADMIN),
)
