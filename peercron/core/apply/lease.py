"""Leases: begun by whatever gives a right for a time, ended by its owner, by the leader's count, or with a client.

Whoever begins leases of a kind says in ENDS what their end means; whoever does something else in the name of a client
session, in CLIENT_ENDS.
"""

from __future__ import annotations

from collections.abc import Callable

from peercron.core.commands import CloseClient, ExpireLease, OpenClient
from peercron.core.lease import Lease, LeaseKind
from peercron.core.limits import LEASE_FORM, LEASE_MS_MAX, LEASE_MS_MIN, LEASES_MAX, NAME_LENGTH_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: Takes (state, lease id, lease): what it was of ends, too. The lease itself is gone already.
End = Callable[[ClusterState, int, Lease], None]


#: Called with a client session that has ended, before what it holds ends: (state, client).
CLIENT_ENDS: list[Callable[[ClusterState, int], None]] = []


def refusal_of_ttl(state: ClusterState, ttl_ms: int, client: int = 0, what: str = "ttl") -> Refused | None:
    """Why there can be no lease of this length for this client (0: for none); None: there can. `what`: the length."""
    if not LEASE_MS_MIN <= ttl_ms <= LEASE_MS_MAX:
        detail = f"{what}: wants {LEASE_FORM}, not {ttl_ms} ms"
        return Refused(state.index, Refusal.INVALID, detail)
    if client and not is_open(state, client):
        return Refused(state.index, Refusal.STALE_TOKEN, f"client session {client} has ended")
    if len(state.leases) >= LEASES_MAX:
        return Refused(state.index, Refusal.LIMIT, f"the cluster holds {LEASES_MAX} leases, which is all it keeps")
    return None


def is_open(state: ClusterState, client: int) -> bool:
    """Whether this client session has not ended."""
    lease = state.leases.get(client)
    return lease is not None and lease.kind is LeaseKind.CLIENT


def begin_lease(state: ClusterState, lease: Lease) -> int:
    """Its id. `refusal_of_ttl` has been asked."""
    state.leases[state.index] = lease
    if lease.client:
        state.client_leases.setdefault(lease.client, {})[state.index] = state.index
    state.touch_lease(state.index)
    if state.tally is not None:
        state.tally.leased(lease, 1)
    return state.index


def drop_lease(state: ClusterState, lease_id: int) -> Lease | None:
    """It is over, whatever it was of; None: it was over already."""
    lease = state.leases.pop(lease_id, None)
    if lease is None:
        return None
    held = state.client_leases.get(lease.client)
    if held is not None:
        held.pop(lease_id, None)
        if not held:
            del state.client_leases[lease.client]
    state.touch_lease(lease_id)
    if state.tally is not None:
        state.tally.leased(lease, -1)
    return lease


def end_lease(state: ClusterState, lease_id: int) -> bool:
    """It is over, and so is what it was of. False: it was over already."""
    lease = drop_lease(state, lease_id)
    if lease is None:
        return False
    ENDS[lease.kind](state, lease_id, lease)
    return True


def expire_lease(state: ClusterState, command: ExpireLease) -> Verdict:
    """Nobody renewed it for as long as it was given for."""
    lease = state.leases.get(command.lease)
    if not end_lease(state, command.lease):
        return _gone(state, f"lease {command.lease}")
    if lease is not None and lease.kind is LeaseKind.CLIENT:
        state.happened("client", "lost", lease.name, client=command.lease)
    return Done(state.index, command.lease)


def open_client(state: ClusterState, command: OpenClient) -> Verdict:
    """The answer is the id of the session."""
    if len(command.label) > NAME_LENGTH_MAX:
        return Refused(state.index, Refusal.INVALID, f"label: wants at most {NAME_LENGTH_MAX} characters")
    refused = refusal_of_ttl(state, command.ttl_ms)
    if refused is not None:
        return refused
    return Done(state.index, begin_lease(state, Lease(LeaseKind.CLIENT, command.ttl_ms, "", command.label)))


def close_client(state: ClusterState, command: CloseClient) -> Verdict:
    """All that the session holds is free again."""
    if not is_open(state, command.client):
        return _gone(state, f"client session {command.client}")
    end_lease(state, command.client)
    return Done(state.index, command.client)


def _end_client(state: ClusterState, client: int, lease: Lease) -> None:
    for end in CLIENT_ENDS:
        end(state, client)
    for lease_id in tuple(state.client_leases.get(client, ())):
        end_lease(state, lease_id)
    state.tell("client", "", str(client))


def _gone(state: ClusterState, what: str) -> Refused:
    return Refused(state.index, Refusal.STALE_TOKEN, f"{what} has ended")


#: Kind -> what its end means. Filled where the kinds are at home.
ENDS: dict[LeaseKind, End] = {LeaseKind.CLIENT: _end_client}
