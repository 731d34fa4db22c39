"""Tokens for some cases: what belongs to others does not exist for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from bailiff_cli import Bench
from server_tools import Client, World, end_world, make_world

NOT_THERE = "exec_20261121_101500_1f2e3d4c"


class Scene(NamedTuple):
    world: World
    scoped: Client  # Sees Wilson, and is an agent.
    chief: Client  # Sees Wilson, and is a reviewer.
    own: Any  # Held, of Wilson, proposed by the scoped agent.
    wilson: Any  # Held, of Wilson, proposed by the agent who sees all.
    brown: Any  # Held, of Brown.
    none: Any  # Held, of no case.


@pytest.fixture(scope="module")
def scene(bench: Bench) -> Iterator[Scene]:
    world = make_world(bench)
    for name in ("Wilson", "Brown"):
        world.server.cli.write(f"projects/{name}/file.txt", f"of {name}\n")
    world.server.cli.write("Reports/all.txt", "of nobody\n")
    scoped = world.server.token("scoped", "agent", "--case", "Wilson")
    chief = world.server.token("chief", "reviewer", "--case", "Wilson")
    own = scoped.held("projects/Wilson/own.txt", case_name="Wilson")
    held = [world.agent.held(f"projects/{name}/new.txt", case_name=name) for name in ("Wilson", "Brown")]
    yield Scene(world, scoped, chief, own, *held, world.agent.held("Reports/new.txt"))
    end_world(world)


def ids(client: Client, what: str) -> set[str]:
    key = "execution_id" if what == "executions" else "id"
    return {item[key] for item in client.get(f"/v1/{what}").of(200)[what]}


def test_lists_have_what_it_sees(scene: Scene) -> None:
    seen = {scene.own["execution_id"], scene.wilson["execution_id"]}
    hidden = {scene.brown["execution_id"], scene.none["execution_id"]}
    for what in ("executions", "proposals"):
        assert ids(scene.scoped, what) >= seen and not ids(scene.scoped, what) & hidden
        assert ids(scene.world.agent, what) >= seen | hidden
    assert scene.scoped.get("/v1/executions?case=Brown").of(200)["executions"] == []
    assert scene.scoped.get("/v1/capabilities").of(200)["you"]["cases"] == ["Wilson"]
    everything = scene.world.admin.get("/v1/stats").of(200)["total_executions"]
    assert 2 <= scene.scoped.get("/v1/stats").of(200)["total_executions"] < everything


def test_what_belongs_to_others_is_answered_as_what_is_not_there(scene: Scene) -> None:
    paths = ["", "/stdout", "/stderr", "/changes", "/diff", "/events", "/files/x"]
    for hidden in (scene.brown, scene.none):
        for path in paths:
            answer = scene.scoped.get(f"/v1/executions/{hidden['execution_id']}{path}")
            nothing = scene.scoped.get(f"/v1/executions/{NOT_THERE}{path}")
            answer.problem(404, "not_found")
            there = hidden["execution_id"].encode()
            assert answer.body.replace(there, NOT_THERE.encode()) == nothing.body, path
        for path in ("", "/changes", "/diff"):
            scene.scoped.get(f"/v1/proposals/{hidden['execution_id']}{path}").problem(404)
    for path in paths[:-1]:
        assert scene.scoped.get(f"/v1/executions/{scene.wilson['execution_id']}{path}").status == 200


def test_nothing_can_be_done_to_what_belongs_to_others(scene: Scene) -> None:
    for action in ("cancel", "reject", "rollback"):
        for client in (scene.scoped, scene.chief):
            path = f"/v1/executions/{scene.brown['execution_id']}/{action}"
            client.post(path).problem(404, "not_found")
    scene.chief.approve(scene.brown).problem(404, "not_found")
    shown = scene.world.agent.show(scene.brown["execution_id"])
    assert shown["changes"]["state"] == "held"


def test_its_sandbox_has_its_case_alone(scene: Scene) -> None:
    code = "cat /workspace/projects/*/file.txt; ls /workspace/projects; cat /workspace/Reports/* 2>&1"
    document = scene.scoped.run(code, case_name="Wilson")
    assert "of Wilson" in document["stdout"] and "Brown" not in document["stdout"], document
    body = {"command": ["/bin/true"], "case_name": "Brown"}
    other = scene.scoped.post("/v1/executions", body).problem(422, None, "/case_name")
    body = {"command": ["/bin/true"], "case_name": "Never"}
    never = scene.scoped.post("/v1/executions", body).problem(422, None, "/case_name")
    assert other["detail"].replace("Brown", "Never") == never["detail"]


def test_it_cannot_write_where_it_does_not_see(scene: Scene) -> None:
    code = "mkdir -p /workspace/projects/Brown; echo x > /workspace/projects/Brown/file.txt"
    document = scene.scoped.run(code, case_name="Wilson")
    assert document["changes"]["state"] != "committed", document
    file = scene.world.workspace / "projects/Brown/file.txt"
    assert file.read_text() == "of Brown\n"


def test_history_of_other_paths_is_not_there(scene: Scene) -> None:
    scene.world.agent.run("echo x > /workspace/projects/Brown/told.txt", case_name="Brown")
    scene.world.agent.run("echo x > /workspace/projects/Wilson/told.txt", case_name="Wilson")
    told = scene.scoped.get("/v1/history?path=projects/Wilson/told.txt").of(200)
    assert len(told["events"]) == 1
    for path in ("projects/Brown/told.txt", "projects/Brown", "projects/Never", "Reports", "", "projects"):
        scene.scoped.get(f"/v1/history?path={path}").problem(404, "not_found")


def test_a_reviewer_of_the_case_approves_what_belongs_to_it(scene: Scene) -> None:
    scene.chief.approve(scene.wilson).of(200)
    assert (scene.world.workspace / "projects/Wilson/new.txt").read_text() == "held"


def test_the_queue_and_the_stop_of_a_scoped_reviewer(scene: Scene) -> None:
    running = scene.world.agent.submit("sleep 600", case_name="Brown")["execution_id"]
    scene.world.agent.until(running, "running")
    stopped = scene.chief.post("/v1/queue/stop")
    scene.world.admin.post("/v1/queue/resume").of(200)
    assert running not in str(stopped.body), "names what it does not see"
    if scene.world.agent.show(running)["status"] == "running":
        scene.world.agent.post(f"/v1/executions/{running}/cancel").of(200)
