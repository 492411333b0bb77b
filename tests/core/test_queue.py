"""Queues: the order in which items are handed out, and what becomes of each of them; held against a dumb twin."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.apply import queue as queues
from peercron.core.apply.queue import line_of
from peercron.core.commands import (
    AckItems,
    CloseClient,
    DeleteQueue,
    ExpireLease,
    ExtendDelivery,
    NackItems,
    OpenClient,
    PurgeQueue,
    PutItem,
    PutQueue,
    ReceiveItems,
    ReplayItems,
)
from peercron.core.limits import (
    ATTEMPTS_PER_ITEM,
    DELAY_MS_MAX,
    ITEM_BYTES_MAX,
    NAME_LENGTH_MAX,
    PRIORITY_MAX,
    RECEIVED_BYTES_MAX,
    RECEIVED_MAX,
    VISIBILITY_MS,
)
from peercron.core.queue import Item, Queue
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal
from peercron.wire.snapshot import blocks, freeze, thaw
from tests.core.builders import NOW, cluster, complaint, done, refused

Q = ("default", "q")
DEAD = ("default", "q.dead")


def put(
    state: ClusterState, payload: bytes = b"x", now_ms: int = NOW, queue: tuple[str, str] = Q, **more: object
) -> int:
    value = done(state, PutItem(*queue, payload, **more), now_ms).value  # type: ignore[arg-type]
    assert isinstance(value, int)
    return value


def receive(
    state: ClusterState, most: int = 1, now_ms: int = NOW, queue: tuple[str, str] = Q
) -> tuple[int, tuple[int, ...]]:
    """(token, ids) of a delivery; (0, ()): there was none."""
    token = done(state, ReceiveItems(*queue, most), now_ms).value
    if token is None:
        return 0, ()
    assert isinstance(token, int)
    return token, state.deliveries[token].items


def drained(state: ClusterState, now_ms: int = NOW) -> list[bytes]:
    """Payloads in the order in which one receiver that acks each of them gets them."""
    got = []
    while (delivery := receive(state, 1, now_ms))[0]:
        got.append(state.items["default/q"][delivery[1][0]].payload)
        done(state, AckItems(delivery[0]), now_ms)
    return got


# The order.


def test_first_come_first_served_within_a_priority() -> None:
    state = cluster("a")
    for payload, priority in ((b"1", 0), (b"2", 5), (b"3", 0), (b"4", -1), (b"5", 5)):
        put(state, payload, priority=priority)
    assert drained(state) == [b"2", b"5", b"1", b"3", b"4"]


def test_what_is_given_back_stands_where_it_stood() -> None:
    state = cluster("a")
    for payload in (b"1", b"2", b"3"):
        put(state, payload)
    token, _ = receive(state, 2)
    done(state, NackItems(token))
    assert drained(state) == [b"1", b"2", b"3"]


def test_a_delayed_item_is_handed_out_at_its_time_and_holds_up_nobody() -> None:
    state = cluster("a")
    put(state, b"late", delay_ms=5_000)
    put(state, b"now")
    assert line_of(state, "default/q").next_ms == NOW + 5_000
    assert drained(state, NOW + 4_999) == [b"now"]
    assert drained(state, NOW + 5_000) == [b"late"]


def test_of_a_group_one_is_in_hand_and_the_next_waits_until_it_is_done() -> None:
    state = cluster("a")
    first, second, other = put(state, group="g"), put(state, group="g", priority=9), put(state, group="h")
    token, items = receive(state, 10)
    assert items == (first, other)
    assert receive(state) == (0, ())
    done(state, NackItems(token, (first,), delay_ms=1_000))
    assert receive(state) == (0, ())  # delayed, and still the first
    again, items = receive(state, now_ms=NOW + 1_000)
    assert items == (first,)
    done(state, AckItems(again))
    assert receive(state)[1] == (second,)


def test_a_dead_letter_lets_its_group_go_on() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=1))
    first, second = put(state, group="g"), put(state, group="g")
    done(state, NackItems(receive(state)[0], reason="no route"))
    assert receive(state)[1] == (second,)
    dead = state.items["default/q.dead"][first]
    assert (dead.origin, dead.reason, dead.token) == ("default/q", "no route", 0)


# Deliveries.


def test_the_token_of_a_delivery_is_a_fencing_token_and_its_lease() -> None:
    state = cluster("a")
    put(state)
    put(state)
    token, _ = receive(state)
    assert token == state.index == state.last_token
    assert state.leases[token].ttl_ms == VISIBILITY_MS
    later, _ = receive(state)
    assert later > token


def test_a_part_of_a_delivery_may_be_settled_and_the_rest_later() -> None:
    state = cluster("a")
    ids = [put(state) for _ in range(3)]
    token, _ = receive(state, 3)
    assert done(state, AckItems(token, (ids[1],))).value == 2
    assert refused(state, AckItems(token, (ids[1],))) is Refusal.STALE_TOKEN
    assert done(state, NackItems(token, (ids[0],))).value == 1
    assert done(state, AckItems(token)).value == 0
    assert (list(state.items["default/q"]), state.leases, state.deliveries) == ([ids[0]], {}, {})


def test_who_had_its_time_can_neither_ack_nor_nack() -> None:
    state = cluster("a")
    item = put(state)
    token, _ = receive(state)
    done(state, ExpireLease(token))
    for late in (AckItems(token), NackItems(token), ExtendDelivery(token, 1_000), AckItems(token, (item,))):
        assert refused(state, late) is Refusal.STALE_TOKEN
    again, items = receive(state)
    assert items == (item,)
    assert state.items["default/q"][item].attempts == 2
    assert refused(state, AckItems(token, (item,))) is Refusal.STALE_TOKEN
    done(state, AckItems(again, (item,)))


def test_after_so_many_attempts_an_item_is_a_dead_letter_whoever_ends_the_last() -> None:
    state = cluster("a")
    item = put(state, b"poison")
    for _ in range(ATTEMPTS_PER_ITEM):
        done(state, ExpireLease(receive(state)[0]))
    assert receive(state) == (0, ())
    assert state.items == {"default/q.dead": state.items["default/q.dead"]}
    assert state.items["default/q.dead"][item].attempts == ATTEMPTS_PER_ITEM
    for _ in range(20):  # and is one for ever
        done(state, NackItems(receive(state, queue=DEAD)[0]))


def test_what_nobody_saw_is_no_attempt() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=1))
    item = put(state)
    for _ in range(3):
        done(state, NackItems(receive(state)[0], unseen=True))
    assert state.items["default/q"][item].attempts == 0


def test_a_delivery_ends_with_the_client_session_it_hangs_on() -> None:
    state = cluster("a")
    client = done(state, OpenClient("worker", 5_000)).value
    assert isinstance(client, int)
    item = put(state)
    done(state, ReceiveItems(*Q, client=client))
    done(state, CloseClient(client))
    assert (state.deliveries, state.leases) == ({}, {})
    assert refused(state, ReceiveItems(*Q, client=client)) is Refusal.STALE_TOKEN
    assert receive(state)[1] == (item,)


def test_more_time_is_told_to_who_counts() -> None:
    state = cluster("a")
    put(state)
    token, _ = receive(state)
    state.changed_leases = {}
    done(state, ExtendDelivery(token, 90_000))
    assert (state.leases[token].ttl_ms, list(state.changed_leases)) == (90_000, [token])


def test_a_delivery_is_no_longer_than_its_answer_may_be() -> None:
    state = cluster("a")
    for _ in range(6):
        put(state, bytes(ITEM_BYTES_MAX))
    assert len(receive(state, 6)[1]) == RECEIVED_BYTES_MAX // ITEM_BYTES_MAX
    assert len(receive(state, 6)[1]) == 2


# Keys.


def test_a_put_with_a_key_is_done_once_while_the_item_is_there_and_a_while_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "DONE_KEYS_KEPT_PER_QUEUE", 2)
    state = cluster("a")
    item = put(state, key="k")
    assert put(state, key="k") == item
    assert put(state, key="k", queue=("other", "q")) != item
    drained(state)
    assert put(state, key="k") == item
    for key in ("l", "m"):
        put(state, key=key)
    drained(state)
    assert put(state, key="k") > item
    assert len(state.done_keys["default/q"]) == 2


def test_a_dead_letter_is_not_put_again_but_replayed() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=1))
    item = put(state, key="k", priority=3)
    put(state, b"other")
    done(state, NackItems(receive(state)[0], (item,)))
    assert put(state, key="k") == item
    assert done(state, ReplayItems(*Q, 10)).value == 1
    back = state.items["default/q"][item]
    assert (back.attempts, back.origin, back.key, back.priority) == (0, "", "k", 3)
    assert "default/q.dead" not in state.items
    assert receive(state)[1] == (item,)


def test_replay_takes_the_letters_of_its_queue_and_no_more_than_asked() -> None:
    state = cluster("a")
    for name in ("p", "q"):
        done(state, PutQueue("default", name, 1_000, 1, "lost"))
    ids = [put(state, queue=("default", name)) for name in "pqpqp"]
    for name in "pqpqp":
        done(state, NackItems(receive(state, queue=("default", name))[0]))
    assert list(state.items["default/lost"]) == ids
    assert done(state, ReplayItems("default", "p", 2)).value == 2
    assert list(state.items["default/p"]) == [ids[0], ids[2]]
    assert done(state, ReplayItems("default", "p", 2)).value == 1
    assert list(state.items["default/lost"]) == [ids[1], ids[3]]


# Queues.


def test_purge_drops_everything_and_what_was_in_hand_is_nobodys() -> None:
    state = cluster("a")
    for _ in range(3):
        put(state, key="k", group="g")
    put(state)
    token, _ = receive(state)
    assert done(state, PurgeQueue(*Q)).value == 2
    assert (state.items, state.deliveries, state.leases, state.item_count, state.item_bytes) == ({}, {}, {}, 0, 0)
    assert refused(state, AckItems(token)) is Refusal.STALE_TOKEN
    assert put(state, key="k") == state.index


def test_only_an_empty_queue_is_deleted() -> None:
    state = cluster("a")
    put(state, key="k")
    assert refused(state, DeleteQueue(*Q)) is Refusal.CONFLICT
    drained(state)
    done(state, DeleteQueue(*Q))
    assert (state.queues, state.done_keys) == ({}, {})
    assert refused(state, ReceiveItems(*Q)) is Refusal.NOT_FOUND


def test_settings_have_a_revision_and_the_same_ones_change_nothing() -> None:
    state = cluster("a")
    wanted = PutQueue(*Q, 9_000, 3, "lost", if_revision=0)
    revision = done(state, wanted).value
    assert state.queues["default/q"] == Queue("default", "q", 9_000, 3, "lost", revision)  # type: ignore[arg-type]
    assert refused(state, wanted) is Refusal.CONFLICT
    assert done(state, replace(wanted, if_revision=None)).value == revision
    assert done(state, replace(wanted, max_attempts=4, if_revision=revision)).value != revision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (PutItem("a b", "q", b""), "namespace"),
        (PutItem("default", "x" * (NAME_LENGTH_MAX - 4), b""), "name"),
        (PutItem(*Q, b"", priority=PRIORITY_MAX + 1), "priority"),
        (PutItem(*Q, b"", key="k" * 513), "key"),
        (PutItem(*Q, b"", group="ä" * 257), "group"),
        (PutItem(*Q, b"", delay_ms=-1), "delay"),
        (PutItem(*Q, b"", delay_ms=DELAY_MS_MAX + 1), "delay"),
        (PutQueue(*Q, 5, 5), "visibility"),
        (PutQueue(*Q, 1_000, -1), "max_attempts"),
        (PutQueue(*Q, 1_000, 1, "q"), "dead_letters"),
        (PutQueue(*Q, 1_000, 1, "a/b"), "dead_letters"),
        (ReceiveItems("default", "there", 0), "max"),
        (ReceiveItems("default", "there", RECEIVED_MAX + 1), "max"),
        (ReceiveItems("default", "there", visibility_ms=5), "visibility"),
        (ReplayItems("default", "there", 0), "max"),
    ],
    ids=repr,
)
def test_a_refusal_names_the_field(command: PutItem, field: str) -> None:
    state = cluster("a")
    done(state, PutQueue("default", "there", 1_000, 1))
    before = copy.deepcopy(state)
    assert complaint(state, command) == field
    before.index = state.index
    assert state == before


def test_there_is_a_bound_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    state = cluster("a")
    assert refused(state, PutItem(*Q, bytes(ITEM_BYTES_MAX + 1))) is Refusal.LIMIT
    monkeypatch.setattr(queues, "ITEMS_MAX", 2)
    monkeypatch.setattr(queues, "QUEUES_MAX", 1)
    put(state)
    assert refused(state, PutItem("default", "r", b"")) is Refusal.LIMIT
    put(state)
    assert refused(state, PutItem(*Q, b"")) is Refusal.LIMIT
    monkeypatch.setattr(queues, "ITEMS_MAX", 9)
    monkeypatch.setattr(queues, "ITEMS_BYTES_MAX", 5)
    assert refused(state, PutItem(*Q, b"1234")) is Refusal.LIMIT
    put(state, b"123")
    done(state, PutQueue(*Q, 1_000, 1))  # the queue that is there
    done(state, NackItems(receive(state)[0]))  # and that of its dead letters, whatever the bound


def test_who_waits_for_the_queue_is_told_of_what_changes_it() -> None:
    state = cluster("a")
    put(state, group="g")
    put(state, group="g")
    for change in (
        lambda: put(state),
        lambda: receive(state),
        lambda: done(state, ExpireLease(next(iter(state.deliveries)))),
        lambda: done(state, AckItems(receive(state)[0])),
        lambda: done(state, PurgeQueue(*Q)),
    ):
        state.news = {}
        change()
        assert ("queue", *Q) in state.news


def test_what_arrives_is_told_to_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(queues, "ARRIVALS", [lambda _state, queue, item: seen.append((queue.key, item.id))])
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, 1))
    item = put(state, key="k")
    put(state, key="k")  # known already: nothing arrives
    done(state, NackItems(receive(state)[0]))
    done(state, ReplayItems(*Q, 1))
    assert seen == [("default/q", item), ("default/q.dead", item), ("default/q", item)]


def test_an_older_cluster_has_no_queues() -> None:
    assert refused(ClusterState(), PutItem(*Q, b"")) is Refusal.UNSUPPORTED


def test_a_line_costs_little_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is built once, and from then on grows and shrinks with its items."""
    built = []
    line = queues.Line
    monkeypatch.setattr(queues, "Line", lambda items, now_ms: built.append(len(items)) or line(items, now_ms))
    state = cluster("a")
    for n in range(300):
        put(state, group=f"g{n % 7}", priority=n % 3)
    drained(state)
    assert sum(built) == 0


# The dumb twin.


@dataclass
class Twin:
    """One queue as a list of rows, looked through from the beginning each time."""

    items: list[Item]
    dead: list[Item]
    done: list[str]
    now_ms: int = NOW
    max_attempts: int = 2

    def can_go(self, item: Item) -> bool:
        ahead = [other for other in self.items if other.group == item.group and other.place < item.place]
        return not item.token and item.not_before_ms <= self.now_ms and not (item.group and ahead)

    def next(self, most: int) -> list[int]:
        ready = sorted(filter(self.can_go, self.items), key=lambda item: (-item.priority, item.place))
        return [item.id for item in ready[:most]]

    def change(self, id_: int, **changes: object) -> None:
        self.items = [replace(item, **changes) if item.id == id_ else item for item in self.items]  # type: ignore[arg-type]

    def remove(self, id_: int) -> Item:
        (item,) = [item for item in self.items if item.id == id_]
        self.items.remove(item)
        return item

    def give_back(self, id_: int, delay_ms: int) -> None:
        (item,) = [item for item in self.items if item.id == id_]
        if item.attempts >= self.max_attempts:
            self.dead.append(self.remove(id_))
        else:
            self.change(id_, token=0, not_before_ms=self.now_ms + delay_ms)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 120))
def test_any_use_of_a_queue_is_as_the_twin_says(dice: Random, steps: int) -> None:
    state, twin = cluster("a"), Twin([], [], [])
    done(state, PutQueue(*Q, 1_000, max_attempts=2))
    for _ in range(steps):
        twin.now_ms += dice.choice((0, 0, 1, 500))
        _step(dice, state, twin)
        if dice.random() < 0.1:  # what is not replicated makes no difference
            state = thaw(blocks(freeze(state)))
        line = line_of(state, "default/q")
        line.release(twin.now_ms)
        assert [item.id for item in line.first(99)] == twin.next(99)
        assert len(line.items) == len(twin.items) == line.ready + line.delayed + line.behind + line.in_flight
        assert line.keys == {item.key: item.id for item in twin.items if item.key}
        assert list(state.items.get("default/q.dead", {})) == [item.id for item in twin.dead]


def _step(dice: Random, state: ClusterState, twin: Twin) -> None:
    now_ms, token = twin.now_ms, dice.choice([*state.deliveries, 0])
    held = state.deliveries[token].items if token else ()
    some = tuple(dice.sample(held, dice.randrange(len(held) + 1))) or held
    what = dice.choice(("put", "put", "put", "receive", "receive", "ack", "nack", "expire", "purge", "replay"))
    if what == "put":
        key, delay_ms = dice.choice(("", "", "", "k", "l", "m")), dice.choice((0, 0, 0, 700))
        more = {"key": key, "priority": dice.randrange(2), "group": dice.choice(("", "g", "h")), "delay_ms": delay_ms}
        known = key and (key in twin.done or any(item.key == key for item in twin.items))
        id_ = put(state, b"x", now_ms, **more)
        if not known:
            more.pop("delay_ms")
            twin.items.append(Item(id_, id_, b"x", False, put_ms=now_ms, not_before_ms=now_ms + delay_ms, **more))  # type: ignore[arg-type]
    elif what == "receive":
        most = dice.randrange(1, 4)
        token, got = receive(state, most, now_ms)
        assert list(got) == twin.next(most)
        for id_ in got:
            twin.change(id_, token=token, attempts=next(i.attempts for i in twin.items if i.id == id_) + 1)
    elif what == "ack" and token:
        done(state, AckItems(token, some), now_ms)
        twin.done += [twin.remove(id_).key for id_ in some]
    elif what == "nack" and token:
        delay_ms = dice.choice((0, 0, 300))
        done(state, NackItems(token, some, delay_ms), now_ms)
        for id_ in some:
            _given_back(twin, id_, delay_ms)
    elif what == "expire" and token:
        done(state, ExpireLease(token), now_ms)
        for id_ in held:
            _given_back(twin, id_, 0)
    elif what == "purge" and dice.random() < 0.2:
        done(state, PurgeQueue(*Q), now_ms)
        twin.items = []
    elif what == "replay":
        assert isinstance(apply(state, ReplayItems(*Q, 2), now_ms), Done)
        for item in twin.dead[:2]:
            place = state.items["default/q"][item.id].place
            key = "" if any(other.key == item.key for other in twin.items) else item.key
            twin.items.append(replace(item, token=0, attempts=0, not_before_ms=0, place=place, key=key))
        twin.dead = twin.dead[2:]


def _given_back(twin: Twin, id_: int, delay_ms: int) -> None:
    before = len(twin.dead)
    twin.give_back(id_, delay_ms)
    twin.done += [item.key for item in twin.dead[before:]]
