"""What a node writes of its own slices is read by its next boot, or refused as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.job import Cursor, Job
from peercron.core.slice_duty import Plan
from peercron.core.slices import Share, SliceEntry, Slices
from peercron.wire.plain import pack
from peercron.wire.slicelog import Begun, Ended, Planned, Record, Told, pack_records, unpack_records
from tests.wire.rows import DEFINITION, SLICED, values

JOB = Job("3", SLICED, revision=7, created_ms=1, updated_ms=2)
PLAN = Plan(JOB, Cursor(5), Slices((Share(4, 10_000, ("a", "b")),)))

UIDS, INSTANTS = st.text(max_size=9), st.integers(0, 2**53)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(Planned, UIDS, INSTANTS, st.none() | st.just(PLAN)),
    st.builds(Begun, UIDS, INSTANTS),
    st.builds(Ended, UIDS, values(SliceEntry), INSTANTS),
    st.builds(Told, UIDS, INSTANTS),
)


@given(st.lists(RECORDS, max_size=5))
def test_what_was_written_is_read(records: list[Record]) -> None:
    assert unpack_records(pack_records(records)) == records


def test_a_plan_is_kept_with_all_of_its_job() -> None:
    whole = Planned("3", 9, replace(PLAN, job=replace(JOB, definition=DEFINITION)))
    assert unpack_records(pack_records([whole])) == [whole]


@pytest.mark.parametrize(
    "strange",
    [
        b"",
        b"\xc1",
        pack(7),
        pack([7]),
        pack([(4, ())]),  # of a newer version
        pack([(1, ("3",))]),
        pack([(0, ("3", 9, ("a row", ())))]),
    ],
)
def test_what_is_no_record_is_refused(strange: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        unpack_records(strange)


@given(st.binary(max_size=60))
def test_bytes_of_chance_are_records_or_refused(data: bytes) -> None:
    try:
        unpack_records(data)
    except ValueError:
        return
