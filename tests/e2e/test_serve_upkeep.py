"""What a server does in the background: webhooks, and what was held for too long."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import time

from bailiff_cli import Cli
from e2e_tools import SECONDS_MAX, commit_file, hold_for_review, state_of, wait_until
from server_tools import Message, Receiver, Server

KEY = b"a key of the receiver's"


def configure(cli: Cli, url: str, more: str = "") -> None:
    key = cli.home / "hook.key"
    key.write_bytes(KEY + b"\n")
    key.chmod(0o600)
    config = cli.state / "bailiff.toml"
    config.write_text(
        f'{more}\n[[webhook]]\nname = "records"\nurl = "{url}"\nsecret_file = "{key}"\n')  # fmt: skip
    config.chmod(0o600)
    cli.own(key)
    cli.own(config)


def is_signed(message: Message) -> bool:
    parts = dict(part.split("=", 1) for part in message.headers["Bailiff-Signature"].split(","))
    expected = hmac.new(KEY, f"{parts['t']}.".encode() + message.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300


def waiting(cli: Cli) -> list[tuple[int, str]]:
    """Of each message in the outbox, how often it was tried, and what was wrong."""
    database = sqlite3.connect(f"file:{cli.state / 'bailiff.db'}?mode=ro", uri=True)
    try:
        return database.execute("SELECT attempts, last_error FROM outbox ORDER BY seq").fetchall()
    finally:
        database.close()


def test_what_happens_is_told_to_webhooks_with_a_signature(ws: Cli) -> None:
    with Receiver() as receiver:
        configure(ws, receiver.url)
        with Server(ws) as server:
            held = server.local().run("open('/workspace/a', 'w').write('x')", "python", mode="review")
            message = receiver.next()
            assert message.json["event"] == message.headers["Bailiff-Event"] == "held"
            assert message.json["id"] == held["execution_id"] and is_signed(message)
            server.local().run("open('/workspace/b', 'w').write('x')", "python")
            message = receiver.next()
            assert message.json["event"] == "committed" and is_signed(message)
            failed = server.local().run("raise SystemExit(3)", "python")
            message = receiver.next()
            assert message.json["event"] == "failed" and is_signed(message)
            assert message.json["id"] == failed["execution_id"] and message.json["exit_code"] == 3
            hold_for_review(ws, "c")  # By a command beside it.
            assert receiver.next().json["event"] == "held"
            wait_until(lambda: waiting(ws) == [], "the outbox is empty")


def make_due(cli: Cli) -> None:
    """Ends the back-off of every message, which notify_test.cc looks at."""
    database = sqlite3.connect(cli.state / "bailiff.db", timeout=SECONDS_MAX)
    with database:
        database.execute("UPDATE outbox SET next_ns = 0")
    database.close()


def test_a_receiver_that_fails_is_asked_again_and_holds_nothing_up(ws: Cli) -> None:
    with Receiver(lambda number: 500 if number < 2 else 200) as receiver:
        configure(ws, receiver.url)
        with Server(ws) as server:
            first = server.local().run("open('/workspace/a', 'w').write('x')", "python")
            deliveries = []
            for attempt in (1, 2):
                message = receiver.next()
                assert message.json["id"] == first["execution_id"]
                deliveries.append(message.headers["Bailiff-Delivery"])
                expected = [(attempt, "the receiver answered with status 500")]
                wait_until(lambda: waiting(ws) == expected, "the failure is noted")
                assert server.local().run("print(1)", "python")["success"]
                make_due(ws)
            message = receiver.next()
            assert is_signed(message)
            assert set(deliveries) == {message.headers["Bailiff-Delivery"]}
            wait_until(lambda: waiting(ws) == [], "the outbox is empty")


def test_a_server_sends_what_lay_in_the_outbox_when_it_started(ws: Cli) -> None:
    with Receiver() as receiver:
        configure(ws, receiver.url)
        ids = [commit_file(ws, name, "x")["execution_id"] for name in ("a", "b", "c")]
        assert len(waiting(ws)) == 3
        with Server(ws):
            assert [receiver.next().json["id"] for _ in ids] == ids


def test_a_receiver_that_does_not_answer_delays_no_stop(ws: Cli) -> None:
    with Receiver() as receiver:
        receiver.server.shutdown()  # It takes connections still, and says nothing.
        configure(ws, receiver.url)
        commit_file(ws, "a", "x")
        with Server(ws) as server:
            assert server.local().run("print(1)", "python")["success"]
            begun = time.monotonic()
            server.stop()
            assert time.monotonic() - begun < 15
        assert len(waiting(ws)) == 1


def test_what_was_held_for_too_long_expires(ws: Cli) -> None:
    configure(ws, "http://127.0.0.1:9/none", '[retention]\nheld = "1s"')
    held = hold_for_review(ws)["execution_id"]
    with Server(ws):
        wait_until(lambda: state_of(ws, held) == "expired", "it expires", 60)
    assert not (ws.workspace / "note.txt").exists()
