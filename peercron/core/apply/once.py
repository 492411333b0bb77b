"""Once: the table of what was answered to requests that may come again."""

from __future__ import annotations

from collections.abc import Callable

from peercron.core.limits import ANSWERS_KEPT, NAME_LENGTH_MAX
from peercron.core.once import Answered, Once
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused, Verdict

#: Answers are kept from this level on.
LEVEL = 2
REQUEST_BYTES_MAX = 32


def answer_once(state: ClusterState, once: Once | None, carry_out: Callable[[], Verdict]) -> Verdict:
    """The answer that was given before under this key, or that of carrying it out now.

    A refusal is kept too: the first request may still be on its way when its sender, told so by another node, believes
    that it will never be carried out. A retry that comes after the answers of its time were forgotten is not carried
    out: whether it was done before is unknown.
    """
    if once is None or state.level < LEVEL:
        return carry_out()
    known = state.answers.get(once.key)
    if known is not None:
        return known.answer if known.request == once.request else _other_request(state, once)
    if not 0 < len(once.key) <= NAME_LENGTH_MAX or len(once.request) > REQUEST_BYTES_MAX:
        return Refused(state.index, Refusal.INVALID, f"an idempotency key wants 1 to {NAME_LENGTH_MAX} characters")
    if once.since and once.since < state.answers_floor:
        detail = "this request may have been carried out before, and what was answered then is not kept any more"
        return Refused(state.index, Refusal.UNKNOWN, detail)
    verdict = carry_out()
    _remember(state, once, verdict)
    return verdict


def _remember(state: ClusterState, once: Once, answer: Verdict) -> None:
    if len(state.answers) >= ANSWERS_KEPT:
        forgotten = state.answers.pop(state.answer_keys.pop(state.answer_count - len(state.answer_keys)))
        state.answers_floor = forgotten.answer.index
    state.answers[once.key] = Answered(once.request, answer)
    state.answer_keys[state.answer_count] = once.key
    state.answer_count += 1


def _other_request(state: ClusterState, once: Once) -> Refused:
    return Refused(state.index, Refusal.INVALID, f"idempotency key {once.key} was used for another request")
