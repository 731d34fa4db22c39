"""Following an execution by server-sent events."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack

import pytest
from bailiff_cli import Cli
from e2e_tools import wait_until
from server_tools import Client, Event, Events, World

PYTHON = "/usr/bin/python3"
STREAMS_MAX = 32  # Of one principal.


def text_of(events: list[Event], stream: str) -> str:
    return "".join(e.data["text"] for e in events if e.name == "output" and e.data["stream"] == stream)


def kinds(events: list[Event]) -> set[str]:
    return {event.name for event in events}


def followed(client: Client, execution: str, last: str | None = None) -> list[Event]:
    with Events(client, execution, last) as events:
        assert events.status == 200, events.answer.read()
        assert events.answer.headers["Content-Type"] == "text/event-stream"
        return list(events)


def test_events_come_in_the_order_of_what_happens(shared: World) -> None:
    code = "echo one; echo two >&2; sleep 0.2; echo three; echo x > /workspace/followed.txt"
    execution = shared.agent.submit(code)["execution_id"]
    events = followed(shared.agent, execution)
    assert text_of(events, "stdout") == "one\nthree\n" and text_of(events, "stderr") == "two\n"
    assert events[-1].name == "done"
    document = events[-1].data
    shown = shared.agent.show(execution)
    assert document.pop("duration_seconds") == pytest.approx(shown.pop("duration_seconds"), abs=1e-5)
    assert document == shown and document["status"] == "succeeded"
    statuses = [event.data["status"] for event in events if event.name == "status"]
    assert statuses[-1] == "succeeded" and statuses[:-1] in (["running"], ["queued", "running"], []), statuses
    states = [event.data["state"] for event in events if event.name == "changes"]
    assert states[-1] == "committed", states
    order = [event.name for event in events]
    last_output = max(i for i, name in enumerate(order) if name == "output")
    assert last_output < order.index("changes"), order
    assert max(i for i, name in enumerate(order) if name == "changes") < len(order) - 1


def test_output_is_there_before_the_end(shared: World) -> None:
    execution = shared.agent.submit("echo early; sleep 600")["execution_id"]
    with Events(shared.agent, execution) as events:
        assert events.until("output").data == {"stream": "stdout", "offset": 0, "text": "early\n"}
        assert shared.agent.show(execution)["status"] == "running"
        shared.agent.post(f"/v1/executions/{execution}/cancel").of(200)
        assert events.until("done").data["status"] == "cancelled"


def test_a_held_change_set_is_told_of(shared: World) -> None:
    execution = shared.agent.submit("echo x > /workspace/h.txt", mode="review")["execution_id"]
    events = followed(shared.agent, execution)
    assert [e.data["state"] for e in events if e.name == "changes"][-1] == "held"
    shared.reviewer.approve(events[-1].data).of(200)


def test_a_new_connection_goes_on_exactly_where_the_last_one_was(shared: World) -> None:
    code = ("import time\nfor i in range(40):\n    print('é' * 50, i, flush=True)\n    time.sleep(0.005)\n"
            "open('/workspace/resumed.txt', 'w').close()")  # fmt: skip
    execution = shared.agent.submit(code, language="python")["execution_id"]
    whole = followed(shared.agent, execution)
    expected = "".join(f"{'é' * 50} {i}\n" for i in range(40))
    assert text_of(whole, "stdout") == expected and len(whole) > 3
    for at, event in enumerate(whole):
        rest = followed(shared.agent, execution, event.id)
        if event.name == "done":
            continue
        seen = text_of(whole[: at + 1], "stdout")
        assert seen + text_of(rest, "stdout") == expected, (at, event.id)
        assert rest[-1] == whole[-1]
        committed = any(e.data == {"state": "committed"} or "digest" in e.data
                        for e in whole[: at + 1] if e.name == "changes")  # fmt: skip
        assert ("changes" in kinds(rest)) == (not committed), (at, rest)


def test_a_stream_that_breaks_off_loses_nothing(shared: World) -> None:
    code = "import time\nfor i in range(60):\n    print(i, flush=True)\n    time.sleep(0.005)"
    execution = shared.agent.submit(code, language="python")["execution_id"]
    seen: list[Event] = []
    connections = 0
    while not seen or seen[-1].name != "done":
        connections += 1
        with Events(shared.agent, execution, seen[-1].id if seen else None) as events:
            for count, event in enumerate(events):
                seen.append(event)
                if count == 2:
                    break
    assert text_of(seen, "stdout") == "".join(f"{i}\n" for i in range(60)) and connections > 2
    assert [e.name for e in seen].count("done") == 1


def test_what_is_no_id_of_an_event_is_refused(shared: World) -> None:
    execution = shared.agent.run("echo x")["execution_id"]
    for bad in ("x", "1", "1-2", "-1-0-queued-none", "99999999999999999999-0-a-b", "1-2-a"):
        answer = shared.agent.get(f"/v1/executions/{execution}/events", Last_Event_ID=bad)
        answer.problem(422, "invalid_argument", "header:Last-Event-ID")
    # Beyond the end there is nothing more, which is no failure.
    assert followed(shared.agent, execution, "999999-0-queued-none")[-1].name == "done"


def test_bytes_that_are_no_characters_are_told_as_such(shared: World) -> None:
    code = "import os\nos.write(1, b'a\\xff' + 'é'.encode()[:1])"
    execution = shared.agent.submit(code, language="python")["execution_id"]
    assert text_of(followed(shared.agent, execution), "stdout") == "a\ufffd\ufffd"


def test_much_output_arrives_whole(shared: World) -> None:
    code = "for i in range(60000): print(i)"
    execution = shared.agent.submit(code, language="python")["execution_id"]
    events = followed(shared.agent, execution)
    assert text_of(events, "stdout") == "".join(f"{i}\n" for i in range(60000))
    at = 0
    for event in events:
        if event.name == "output":
            assert event.data["offset"] == at
            at += len(event.data["text"])


def test_what_another_process_runs_can_be_followed(shared: World) -> None:
    cli: Cli = shared.server.cli
    code = "import sys; print('ready', flush=True); sys.stdin.read(); print('went on')"
    process = cli.start(["exec", "--stdin", "--", PYTHON, "-c", code], stdin=subprocess.PIPE)
    try:
        listed = lambda: shared.admin.get("/v1/executions?status=running").of(200)["executions"]  # noqa: E731
        execution = wait_until(listed, "it runs")[0]["execution_id"]
        with Events(shared.admin, execution) as events:
            assert events.until("output").data["text"] == "ready\n"
            process.communicate(b"", timeout=30)
            rest = list(events)
        assert text_of(rest, "stdout") == "went on\n"
        assert rest[-1].name == "done" and rest[-1].data["status"] == "succeeded"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_one_principal_follows_only_so_many(shared: World) -> None:
    execution = shared.agent.submit("echo x; sleep 600")["execution_id"]
    with ExitStack() as stack:
        streams = [stack.enter_context(Events(shared.agent, execution)) for _ in range(STREAMS_MAX)]
        assert [stream.status for stream in streams] == [200] * STREAMS_MAX
        busy = shared.agent.get(f"/v1/executions/{execution}/events")
        busy.problem(429, "too_many_streams")
        assert int(busy.headers["Retry-After"]) > 0
        with Events(shared.reviewer, execution) as other:
            assert other.status == 200
    deadline = time.monotonic() + 30

    def free() -> bool:
        with Events(shared.agent, execution) as again:
            return again.status == 200

    wait_until(free, "place for another stream", deadline - time.monotonic())
    shared.agent.post(f"/v1/executions/{execution}/cancel").of(200)


def test_a_server_that_stops_ends_its_streams(serve) -> None:
    world = serve("--on-stop", "cancel")
    execution = world.agent.submit("echo x; sleep 600")["execution_id"]
    with Events(world.agent, execution) as events:
        events.until("output")
        begin = time.monotonic()
        world.server.stop()
        assert time.monotonic() - begin < 15
        list(events)
