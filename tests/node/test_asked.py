"""Who may do everything is said, as long as it is everybody."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from peercron import service
from peercron.core.commands import CreateToken
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.node.asked import exposure
from tests.core.builders import cluster, done


@pytest.mark.parametrize(
    ("http", "open_to_others"),
    [
        ("0.0.0.0:8400", True),
        ("[::]:8400", True),
        ("10.0.0.7:8400", True),
        ("127.0.0.1:8400", False),
        ("[::1]:1", False),
    ],
)
def test_an_address_that_others_reach_is_open_until_there_is_a_token(http: str, open_to_others: bool) -> None:
    assert exposure(http, ClusterState()).startswith(f"whoever reaches {http}") is open_to_others
    state = cluster("a")
    done(state, CreateToken("ops", bytes(32), (Scope.ADMIN,)))
    assert exposure(http, state) == ""


async def test_it_is_said_once_in_the_log_of_a_node_that_is_ready(caplog: pytest.LogCaptureFixture) -> None:
    for exposed in ("", "whoever reaches it"):
        await service._warn(SimpleNamespace(ready=lambda: [("leader", True, "")], exposed=exposed))  # type: ignore[arg-type]
    assert [(record.message, record.reason) for record in caplog.records] == [("open_to_all", "whoever reaches it")]  # type: ignore[attr-defined]
