"""Whatever a peer sends is a sound message or a ProtocolError: never another error, never passed on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.consensus.messages import (
    BATCH_BYTES_MAX,
    BATCH_ITEMS_MAX,
    SCHEMA,
    Message,
    ProtocolError,
    batches,
    check,
)
from peercron.wire.plain import pack, unpack

SOUND: dict[str, Message] = {
    "request_vote": {"term": 2, "last_log_index": 5, "last_log_term": 1, "transfer": False},
    "response_vote": {"term": 2},
    "append_entries": {
        "term": 2,
        "commit_index": 4,
        "prevLogIdx": 4,
        "prevLogTerm": 1,
        "entries": ((b"\x00x", 5, 2), (b"\x01", 6, 2)),
        "quiet": False,
        "step": 3,
    },
    "next_node_idx": {"next_node_idx": 6, "reset": False, "success": True, "step": 3},
    "timeout_now": {"term": 2},
    "prevote": {"round": 1, "term": 3, "last_log_index": 5, "last_log_term": 1},
    "prevote_ok": {"round": 1},
    "term_notice": {"term": 9},
    "position": {"last_log_index": 5, "last_log_term": 1},
    "read": {"id": 7},
    "read_at": {"id": 7, "index": None},
    "propose": {"items": ((1, b"x"), (2, b""))},
    "busy": {"seqs": (1, 2)},
    "snapshot_offer": {"term": 2, "index": 5, "last_term": 1, "size": 90, "digest": bytes(32)},
    "snapshot_get": {"index": 5, "last_term": 1, "offset": 0},
    "snapshot_chunk": {"index": 5, "last_term": 1, "offset": 0, "data": b"x"},
    "mail": {"kind": "renew", "body": (1, 2, None, None)},
}
for kind, fields in SOUND.items():
    fields.update({"type": kind, "_t": 2, "_w": 1_700_000_000_000})

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
calm = settings(derandomize=True, deadline=None, max_examples=200)


def test_every_type_has_an_example() -> None:
    assert set(SOUND) == set(SCHEMA)


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_message_passes_also_after_a_journey(kind: str) -> None:
    assert check(SOUND[kind]) == SOUND[kind]
    assert check(unpack(pack(SOUND[kind]))) == SOUND[kind]


@pytest.mark.parametrize("kind", SOUND)
def test_a_message_without_one_of_its_fields_is_refused(kind: str) -> None:
    for name in SOUND[kind]:
        with pytest.raises(ProtocolError):
            check({k: v for k, v in SOUND[kind].items() if k != name})


@calm
@given(anything)
def test_garbage_is_refused(garbage: Any) -> None:
    with pytest.raises(ProtocolError):
        check(garbage)


@calm
@given(st.sampled_from(sorted(SOUND)), st.data())
def test_a_spoiled_message_is_sound_or_refused(kind: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SOUND[kind])))
    spoiled = {**SOUND[kind], name: data.draw(anything)}
    try:
        message = check(spoiled)
    except ProtocolError:
        return
    for field, accepted in SCHEMA[message["type"]].items():
        assert isinstance(message[field], accepted)


@pytest.mark.parametrize(
    "entry",
    [
        (b"x", 6, 2),
        (b"x", 4, 2),
        (b"", 5, 2),
        ("x", 5, 2),
        (b"x", 5, "2"),
        (b"x", 5),
        [b"x", 5, 2],
        None,
        (b"x", None, 2),
    ],
)
def test_an_unsound_entry_is_refused(entry: Any) -> None:
    with pytest.raises(ProtocolError, match="place 0"):
        check({**SOUND["append_entries"], "entries": (entry,)})


def test_entries_that_follow_nothing_are_refused() -> None:
    with pytest.raises(ProtocolError, match="follow nothing"):
        check({**SOUND["append_entries"], "prevLogIdx": None})


@pytest.mark.parametrize("item", [(1, "x"), ("1", b"x"), (1,), b"x", None])
def test_an_unsound_item_is_refused(item: Any) -> None:
    with pytest.raises(ProtocolError, match="item"):
        check({**SOUND["propose"], "items": (item,)})


def test_seqs_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ProtocolError, match="seq"):
        check({**SOUND["busy"], "seqs": ({},)})


def test_proposals_are_cut_into_messages_that_fit_a_frame() -> None:
    many = [(seq, b"x") for seq in range(2 * BATCH_ITEMS_MAX + 1)]
    assert [len(batch) for batch in batches(many)] == [BATCH_ITEMS_MAX, BATCH_ITEMS_MAX, 1]
    large = [(seq, bytes(BATCH_BYTES_MAX // 2)) for seq in range(5)]
    assert [len(batch) for batch in batches(large)] == [2, 2, 1]
    huge = [(0, bytes(2 * BATCH_BYTES_MAX)), (1, b"x")]
    assert [len(batch) for batch in batches(huge)] == [1, 1]
    assert list(batches([])) == []
    assert [item for batch in batches(many) for item in batch] == many
