"""Idempotency-Key: a request that is sent again is done once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server_tools import Client, Reply, World

Serve = Callable[..., World]


def submit(client: Client, key: str, name: str, wait: float = 30) -> Reply:
    body = {"code": f"echo x >> /workspace/{name}", "language": "bash"}
    return client.post(f"/v1/executions?wait={wait}", body, Idempotency_Key=key)


def runs(workspace: Path, name: str) -> int:
    return len((workspace / name).read_text().splitlines())


def test_a_repeated_request_is_one_execution(shared: World) -> None:
    first = submit(shared.agent, "key-1", "once")
    again = submit(shared.agent, "key-1", "once")
    assert first.of(201) == again.of(201) and runs(shared.workspace, "once") == 1
    assert first.headers["Idempotent-Replayed"] is None
    assert again.headers["Idempotent-Replayed"] == "true"
    assert submit(shared.agent, "key-1", "once", wait=0).of(201) == first.json
    other = submit(shared.agent, "key-1", "other")
    other.problem(422, "idempotency_key_reused", "header:Idempotency-Key")
    assert not (shared.workspace / "other").exists()


def test_a_key_belongs_to_who_uses_it(shared: World) -> None:
    mine = submit(shared.agent, "key-2", "mine").of(201)
    theirs = submit(shared.reviewer, "key-2", "mine").of(201)
    assert mine["execution_id"] != theirs["execution_id"] and runs(shared.workspace, "mine") == 2


def test_duplicates_at_a_time_are_one_execution(shared: World) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: submit(shared.agent, "key-3", "at-a-time"), range(12)))
    done = [answer.json["execution_id"] for answer in answers if answer.status == 201]
    assert done and len(set(done)) == 1
    for answer in answers:
        if answer.status != 201:
            answer.problem(409, "in_progress", "header:Idempotency-Key")
            assert int(answer.headers["Retry-After"]) > 0
    assert runs(shared.workspace, "at-a-time") == 1
    assert submit(shared.agent, "key-3", "at-a-time").of(201)["execution_id"] == done[0]


def test_a_key_outlives_the_server(serve: Serve) -> None:
    world = serve("--workers", "1")
    first = submit(world.agent, "key-4", "outlives").of(201)
    world.server.kill()
    world.server.restart()
    assert submit(world.agent, "key-4", "outlives").of(201) == first
    assert runs(world.workspace, "outlives") == 1


def test_a_key_of_a_request_that_was_cut_off_gives_what_it_made(serve: Serve) -> None:
    world = serve("--workers", "1")
    world.reviewer.post("/v1/queue/pause").of(200)
    first = submit(world.agent, "key-5", "cut", wait=0).of(201)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(submit, world.agent, "key-5", "cut")
        world.server.kill()
        assert isinstance(waits.exception(), OSError) or waits.result()
    world.server.restart()
    world.reviewer.post("/v1/queue/resume").of(200)
    world.agent.until(first["execution_id"], "succeeded")
    again = submit(world.agent, "key-5", "cut").of(201)
    assert again["execution_id"] == first["execution_id"] and runs(world.workspace, "cut") == 1


def test_an_approval_that_is_repeated_is_told_as_it_was(serve: Serve) -> None:
    world = serve()
    document = world.agent.held("approved.txt")
    first = world.reviewer.approve(document, Idempotency_Key="approve-1").of(200)
    again = world.reviewer.approve(document, Idempotency_Key="approve-1")
    assert again.of(200) == first and again.headers["Idempotent-Replayed"] == "true"
    world.server.kill()
    world.server.restart()
    assert world.reviewer.approve(document, Idempotency_Key="approve-1").of(200) == first
    world.reviewer.approve(document, Idempotency_Key="approve-2").problem(409, "wrong_state")
    other = world.agent.held("else.txt")
    world.reviewer.approve(other, Idempotency_Key="approve-1").problem(422, "idempotency_key_reused")


def test_a_refusal_does_not_use_up_its_key(shared: World) -> None:
    document = shared.agent.held("refused.txt")
    shared.agent.approve(document, Idempotency_Key="key-6").problem(403)
    bad = {"command": []}
    shared.agent.post("/v1/executions", bad, Idempotency_Key="key-7").problem(422)
    assert submit(shared.agent, "key-7", "after").status == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é"])
def test_a_key_is_visible_ascii(shared: World, key: Any) -> None:
    answer = submit(shared.agent, key.encode(), "never")
    answer.problem(422, "invalid_argument", "header:Idempotency-Key")
    assert not (shared.workspace / "never").exists()
