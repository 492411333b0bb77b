"""peercron queue."""

from __future__ import annotations

import json

from tests.cli.conftest import Shell


def test_what_json_does_not_know_is_text(shell: Shell) -> None:
    shell.ok("queue", "put", "mail", "[NaN]")
    assert shell.json("queue", "get", "mail")["items"][0]["payload"] == "[NaN]"


def test_put_get_and_ack(shell: Shell) -> None:
    item = shell.ok("queue", "put", "mail", '{"to": "a"}', "--key", "k", "--group", "g", "-o", "name").strip()
    assert shell.ok("queue", "put", "mail", "again", "--key", "k", "-o", "name").strip() == item
    got = shell.json("queue", "get", "mail")
    assert [(str(row["id"]), row["payload"], row["group"]) for row in got["items"]] == [(item, {"to": "a"}, "g")]
    assert shell.node.state.deliveries[got["token"]].owner.endswith("/cli")
    assert shell.ok("queue", "ack", "mail", str(got["token"])) == "acked\n"
    late = shell("queue", "ack", "mail", str(got["token"]))
    assert (late.exit_code, "settled before" in late.stderr) == (6, True)


def test_what_was_taken_is_shown_with_the_way_to_ack_it(shell: Shell) -> None:
    shell.ok("queue", "put", "mail", "plain text")
    told = shell.ok("queue", "get", "mail", "--visibility", "9")
    token = next(iter(shell.node.state.deliveries))
    assert "plain text" in told
    assert f"Done?  peercron queue ack mail {token}  (within 9 s; then others get it)" in told


def test_nothing_is_there(shell: Shell) -> None:
    assert shell("queue", "get", "mail").exit_code == 3
    waited = shell("queue", "get", "mail", "--wait", "20ms")
    assert (waited.exit_code, waited.stderr) == (124, "peercron: queue mail has nothing ready\n")
    assert shell("queue", "peek", "mail").exit_code == 3


def test_standard_input_may_be_text_json_or_bytes(shell: Shell) -> None:
    for content in ("[1]", "a b", b"\x00\xff"):
        shell.ok("queue", "put", "ops/mail", stdin=content)
    rows = shell.json("queue", "get", "ops/mail", "-n", "9", "--ack")["items"]
    assert [row.get("payload", row.get("payload_base64")) for row in rows] == [[1], "a b", "AP8="]
    assert shell.node.state.deliveries == {}


def test_list_and_peek_tell_where_the_items_are(shell: Shell) -> None:
    shell.ok("queue", "put", "mail", "one", "--priority", "-1")
    shell.ok("queue", "put", "mail", "two", "--delay", "1h")
    shell.ok("queue", "put", "mail", "three")
    shell.ok("queue", "get", "mail")
    head, row = shell.ok("queue", "list").splitlines()
    assert head.split() == ["QUEUE", "ITEMS", "READY", "DELAYED", "IN", "FLIGHT", "DEAD"]
    assert row.split() == ["mail", "3", "1", "1", "1", "0"]
    peeked = [json.loads(line) for line in shell.ok("queue", "peek", "mail", "-o", "jsonl").splitlines()]
    assert [(row["payload"], row["state"]) for row in peeked] == [
        ("one", "ready"), ("two", "delayed"), ("three", "in_flight")
    ]  # fmt: skip
    assert "delayed" in shell.ok("queue", "peek", "mail", "-o", "wide")


def test_dead_letters_and_their_replay(shell: Shell) -> None:
    told = shell.json("queue", "set", "mail", "--max-attempts", "1", "--visibility", "1m")
    assert (told["max_attempts"], told["visibility"], told["dead_letters"]) == (1, "1m", "mail.dead")
    for _ in range(3):
        shell.ok("queue", "put", "mail", "x")
    token = shell.json("queue", "get", "mail", "-n", "3")["token"]
    first = next(iter(shell.node.state.items["default/mail"]))
    assert shell.ok("queue", "nack", "mail", str(token), str(first), "--reason", "why") == (
        "given back, 2 left under the token\n"
    )
    shell.ok("queue", "nack", "mail", str(token))
    assert shell.json("queue", "list")[0]["dead"] == 3
    assert shell.ok("queue", "replay", "mail", "-n", "1") == "1 items put back\n"
    assert shell.ok("queue", "replay", "mail") == "2 items put back\n"


def test_purge_and_rm(shell: Shell) -> None:
    shell.ok("queue", "put", "mail", "x")
    assert shell("queue", "rm", "mail").exit_code == 6
    assert shell.ok("queue", "purge", "mail") == "1 items dropped\n"
    assert shell.ok("queue", "rm", "mail") == "queue mail deleted\n"
    assert shell("queue", "rm", "mail").exit_code == 3


def test_a_job_that_works_through_a_queue(shell: Shell) -> None:
    shell.ok("job", "add", "mailer", "--queue", "mail", "--", "sendmail")
    row = shell.json("job", "show", "mailer")
    assert (row["queue"], row["concurrency"]) == ("mail", {"per_node": 1})
    assert "queue mail" in shell.ok("job", "list")
