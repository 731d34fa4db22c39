"""The queue: what waits, what survives the server's death, and how it is stopped."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2e_tools import wait_until
from server_tools import Client, Events, World, files_with

Serve = Callable[..., World]
HANGS = "echo ready; sleep 600"


def hang(client: Client, code: str = HANGS) -> str:
    """An execution that runs, has said "ready", and does not end by itself."""
    execution = client.submit(code)["execution_id"]
    path = f"/v1/executions/{execution}/stdout"
    wait_until(lambda: client.get(path).body == b"ready\n", "it says that it runs")
    return execution


def status(client: Client, execution: str) -> str:
    return client.show(execution)["status"]


def cancel(client: Client, execution: str) -> Any:
    return client.post(f"/v1/executions/{execution}/cancel").of(200)


def appending(name: str) -> str:
    """Code that leaves a trace of each time that it runs."""
    return f"echo {name} >> /workspace/runs-{name}"


def test_what_no_worker_is_free_for_waits_its_turn(serve: Serve) -> None:
    world = serve("--workers", "1")
    first = hang(world.agent)
    waiting = [world.agent.submit(f"echo {i} >> /workspace/order")["execution_id"] for i in range(3)]
    assert [status(world.agent, execution) for execution in waiting] == ["queued"] * 3
    queue = world.agent.get("/v1/queue").of(200)
    assert (queue["waiting"], queue["running"], queue["workers"]) == (3, 1, 1)
    cancelled = cancel(world.agent, waiting[1])
    assert cancelled["status"] == "cancelled" and "before it was started" in cancelled["error"]
    cancel(world.agent, first)
    for execution in (waiting[0], waiting[2]):
        assert world.agent.until(execution, "succeeded")["changes"]["state"] == "committed"
    assert (world.workspace / "order").read_text() == "0\n2\n"
    assert status(world.agent, waiting[1]) == "cancelled"
    started = {record["id"] for record in world.server.records("started")}
    assert waiting[0] in started and waiting[1] not in started


@pytest.mark.parametrize("by", ["route", "command"])
def test_who_waits_hears_of_a_cancelled_place_in_the_queue(serve: Serve, by: str) -> None:
    world = serve("--workers", "1")
    first = hang(world.agent)
    execution = world.agent.submit("true")["execution_id"]
    with ThreadPoolExecutor(1) as pool, Events(world.agent, execution) as events:
        assert events.until("status").data == {"status": "queued"}
        begin = time.monotonic()
        waits = pool.submit(world.agent.get, f"/v1/executions/{execution}?wait=25")
        if by == "route":
            cancel(world.reviewer, execution)
        else:
            world.server.cli.ok(["cancel", execution])
        assert waits.result().of(200)["status"] == "cancelled"
        assert events.until("done").data["status"] == "cancelled"
        assert time.monotonic() - begin < 8
    cancel(world.agent, first)


def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    world = serve("--workers", "1", "--queue", "1")
    first = hang(world.agent)
    waiting = world.agent.submit("true")["execution_id"]
    refused = world.agent.post("/v1/executions", {"command": ["/bin/true"]})
    refused.problem(429, "resource_exhausted")
    assert int(refused.headers["Retry-After"]) > 0
    cancel(world.agent, waiting)
    world.agent.submit("true")
    cancel(world.agent, first)


def test_a_queue_that_many_fill_at_once_keeps_to_its_length(serve: Serve) -> None:
    world = serve("--workers", "1", "--queue", "5")
    first = hang(world.agent)
    with ThreadPoolExecutor(16) as pool:
        body = {"command": ["/bin/true"]}
        answers = list(pool.map(lambda _: world.agent.post("/v1/executions", body).status, range(32)))
    assert set(answers) == {201, 429} and answers.count(201) == 5, answers
    cancel(world.agent, first)


def test_a_killed_server_runs_what_waited_once_and_nothing_twice(serve: Serve) -> None:
    world = serve("--workers", "1")
    running = hang(world.agent, appending("running") + "; echo ready; sleep 600")
    waiting = {name: world.agent.submit(appending(name))["execution_id"] for name in ("a", "b")}
    world.server.kill()
    world.server.restart()
    for execution in waiting.values():
        assert world.agent.until(execution, "succeeded", "error")["status"] == "succeeded"
    ended = world.agent.show(running)
    assert ended["status"] == "interrupted" and ended["changes"]["state"] in ("none", "discarded")
    assert not (world.workspace / "runs-running").exists()
    for name, execution in waiting.items():
        assert (world.workspace / f"runs-{name}").read_text() == name + "\n"
        for kind in ("submitted", "started", "finished", "committed"):
            found = [record for record in world.server.records(kind) if record["id"] == execution]
            assert len(found) == 1, (kind, found)
    assert [record["id"] for record in world.server.records("interrupted")] == [running]
    world.server.cli.ok(["audit", "verify"])


def test_who_waits_for_a_run_needs_no_place_in_the_queue_and_it_is_as_durable(serve: Serve) -> None:
    """A worker that has nothing to do takes it at once; what the server's death leaves is the same."""
    world = serve("--workers", "1")
    early = world.agent.submit(appending("early") + "; " + HANGS, wait=0.3)
    assert early["status"] == "running", early
    cancel(world.agent, early["execution_id"])
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(world.agent.submit, appending("run") + "; " + HANGS, wait=60)

        def ready() -> Any:
            """The id, once it has said so."""
            running = world.agent.get("/v1/executions?status=running").of(200)["executions"]
            ids = [document["execution_id"] for document in running]
            said = [world.agent.get(f"/v1/executions/{one}/stdout").body for one in ids]
            return ids[0] if said == [b"ready\n"] else None

        execution = wait_until(ready, "it says that it runs")
        world.server.kill()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            waits.result()
    world.server.restart()
    ended = world.agent.until(execution, "interrupted", "succeeded", "error")
    assert (ended["status"], ended["changes"]["state"]) in (
        ("interrupted", "none"), ("interrupted", "discarded")), ended  # fmt: skip
    assert world.agent.run("true")["status"] == "succeeded"  # It was not queued again before that.
    assert sorted(path.name for path in world.workspace.glob("runs-*")) == []
    for kind in ("submitted", "started", "interrupted"):
        found = [record for record in world.server.records(kind) if record["id"] == execution]
        assert len(found) == 1, (kind, found)
    world.server.cli.ok(["audit", "verify"])


def test_a_server_killed_again_and_again_loses_and_repeats_nothing(serve: Serve) -> None:
    world = serve("--workers", "2")
    names = [f"n{i}" for i in range(8)]
    ids = {name: world.agent.submit("sleep 0.05; " + appending(name))["execution_id"]
           for name in names}  # fmt: skip
    for _ in range(3):
        wait_until(lambda: world.agent.get("/v1/executions?status=running").of(200)["executions"]
                   or world.agent.get("/v1/queue").of(200)["waiting"] == 0, "one runs")  # fmt: skip
        world.server.kill()
        world.server.restart()
    for name, execution in ids.items():
        document = world.agent.until(execution, "succeeded", "interrupted", "error", "failed")
        file = world.workspace / f"runs-{name}"
        if document["status"] == "succeeded":
            assert file.read_text() == name + "\n", document
        else:
            assert document["status"] == "interrupted", document
            committed = document["changes"]["state"] == "committed"
            assert file.exists() == committed and (not committed or file.read_text() == name + "\n")
    world.server.cli.ok(["audit", "verify"])


def test_a_stop_that_cancels_keeps_what_waits(serve: Serve) -> None:
    world = serve("--workers", "1", "--on-stop", "cancel")
    running = hang(world.agent, appending("running") + "; echo ready; sleep 600")
    waiting = world.agent.submit(appending("waiting"))["execution_id"]
    world.server.stop()
    document = world.server.cli.json(["show", running])
    assert document["status"] == "cancelled" and not (world.workspace / "runs-running").exists()
    assert world.server.cli.json(["show", waiting])["status"] == "queued"
    world.server.start()
    assert world.agent.until(waiting, "succeeded", "error")["status"] == "succeeded"
    assert (world.workspace / "runs-waiting").read_text() == "waiting\n"


def test_a_stop_that_finishes_lets_what_runs_end(serve: Serve) -> None:
    world = serve("--workers", "1", "--on-stop", "finish")
    running = hang(world.agent, "echo ready; sleep 1; echo done > /workspace/finished")
    waiting = world.agent.submit(appending("waiting"))["execution_id"]
    world.server.stop()
    assert world.server.cli.json(["show", running])["status"] == "succeeded"
    assert (world.workspace / "finished").read_text() == "done\n"
    assert world.server.cli.json(["show", waiting])["status"] == "queued"
    world.server.start()
    assert world.agent.until(waiting, "succeeded", "error")["status"] == "succeeded"


def test_a_second_signal_cancels_what_a_stop_waits_for(serve: Serve) -> None:
    world = serve("--workers", "1")
    running = hang(world.agent)
    world.server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: b"stopping" in world.server.log, "it says that it stops")
    assert world.server.process.poll() is None
    world.server.process.send_signal(signal.SIGINT)
    assert world.server.process.wait(timeout=30) == 0
    assert world.server.cli.json(["show", running])["status"] == "cancelled"


def test_the_emergency_stop_pauses_until_somebody_resumes(serve: Serve) -> None:
    world = serve("--workers", "1")
    running = hang(world.agent)
    waiting = world.agent.submit(appending("waiting"))["execution_id"]
    world.server.cli.ok(["cancel", "--all"])
    assert world.agent.until(running, "cancelled")["changes"]["state"] in ("none", "discarded")
    queue = world.agent.get("/v1/queue").of(200)
    assert queue["paused"] is True and queue["paused_by"] == f"local:{os.geteuid()}", queue
    later = world.agent.submit(appending("later"), wait=0.5)["execution_id"]
    assert [status(world.agent, one) for one in (waiting, later)] == ["queued"] * 2
    world.server.restart()
    assert [status(world.agent, one) for one in (waiting, later)] == ["queued"] * 2
    world.server.cli.ok(["queue", "resume"])
    for execution in (waiting, later):
        assert world.agent.until(execution, "succeeded", "error")["status"] == "succeeded"
    assert world.agent.get("/v1/queue").of(200)["paused"] is False


def test_the_emergency_stop_has_a_route(serve: Serve) -> None:
    world = serve("--workers", "2")
    running = [hang(world.agent) for _ in range(2)]
    waiting = world.agent.submit(appending("waiting"))["execution_id"]
    stopped = world.reviewer.post("/v1/queue/stop").of(200)
    assert sorted(stopped["cancelled"]) == sorted(running)
    assert world.agent.get("/v1/queue").of(200)["paused_by"] == "token:rita"
    assert [world.agent.until(one, "cancelled")["status"] for one in running] == ["cancelled"] * 2
    assert world.reviewer.post("/v1/queue/resume").of(200)["paused"] is False
    assert world.agent.until(waiting, "succeeded", "error")["status"] == "succeeded"
    assert world.reviewer.post("/v1/queue/pause").of(200)["paused"] is True
    assert world.reviewer.post("/v1/queue/pause").of(200)["paused"] is True
    kinds = [len(world.server.records(kind)) for kind in ("queue_paused", "queue_resumed")]
    assert kinds == [2, 1], kinds


def test_values_of_the_environment_stay_nowhere_after_the_run(serve: Serve) -> None:
    world = serve("--workers", "1")
    secret = "hunter2-" + os.urandom(8).hex()
    first = hang(world.agent)
    execution = world.agent.submit("echo ${#KEY}", env={"KEY": secret})["execution_id"]
    dropped = world.agent.submit("true", env={"KEY": secret + "x"})["execution_id"]
    cancel(world.agent, dropped)
    cancel(world.agent, first)
    document = world.agent.until(execution, "succeeded", "error")
    assert document["stdout"] == f"{len(secret)}\n" and secret not in str(document)
    assert secret.encode() not in world.server.log
    world.server.stop()
    assert files_with(world.server.cli.state, secret.encode()) == []
    assert files_with(world.workspace, secret.encode()) == []
