"""Plans over HTTP, in Bailiff's own shape and in those of the services that it replaces."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from server_tools import Client, Reply, World

CASE = "Wilson"


@pytest.fixture
def world(serve: Callable[..., World]) -> World:
    return serve()


@pytest.fixture
def case(world: World) -> Any:
    folder = world.workspace / "projects" / CASE
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").write_text("b")
    return folder


OPERATIONS = [{"type": "create_dir", "destination": "Medical/One"},
              {"type": "move", "source": "a.txt", "destination": "Medical/One/a.txt"},
              {"type": "delete", "source": "b.txt"},
              {"type": "write_file", "destination": "notes.md", "content": "seen"}]  # fmt: skip
PLAN = {"case_name": CASE, "description": "sort", "operations": OPERATIONS}


def act(client: Client, plan: Any, what: str, body: Any = None) -> Reply:
    return client.post(f"/v1/plans/{plan['plan_id']}/{what}", body)


def test_a_plan_is_proposed_approved_applied_and_rolled_back(world: World, case: Any) -> None:
    plan = world.agent.post("/v1/plans", PLAN).of(201)
    assert plan["changes"]["state"] == "held" and plan["validation"]["valid"]
    assert {"b.txt", "a.txt"} == {one.name for one in case.iterdir()}
    act(world.agent, plan, "apply").problem(409, "wrong_state")
    digest = {"digest": plan["changes"]["digest"]}
    act(world.agent, plan, "approve", digest).problem(403)
    act(world.reviewer, plan, "approve", {"digest": "sha256:00000000"}).problem(409, "wrong_state")
    assert act(world.reviewer, plan, "approve", digest).of(200)["state"] == "approved"
    assert (case / "b.txt").exists()
    assert act(world.agent, plan, "apply").of(200)["state"] == "committed"
    assert (case / "Medical/One/a.txt").read_text() == "a"
    assert (case / "notes.md").read_text() == "seen" and not (case / "b.txt").exists()
    assert b"b.txt" in world.agent.get(f"/v1/plans/{plan['plan_id']}/diff").body
    assert act(world.reviewer, plan, "rollback").of(200)["state"] == "committed"
    assert (case / "b.txt").read_text() == "b" and not (case / "Medical").exists()
    listed = world.agent.get("/v1/plans").of(200)["plans"]
    assert [one["plan_id"] for one in listed] == [plan["plan_id"]]


def test_what_changed_since_a_plan_was_made_is_a_conflict(world: World, case: Any) -> None:
    plan = world.agent.post("/v1/plans", PLAN).of(201)
    act(world.reviewer, plan, "approve", {"digest": plan["changes"]["digest"]}).of(200)
    (case / "b.txt").write_text("changed meanwhile")
    problem = act(world.agent, plan, "apply").problem(409, "conflict")
    assert [one["path"] for one in problem["conflicts"]] == [f"projects/{CASE}/b.txt"]
    assert (case / "a.txt").read_text() == "a" and not (case / "notes.md").exists()


def test_a_fault_is_named_by_its_pointer(world: World) -> None:
    broken = {"operations": [{"type": "move", "source": "/etc/passwd", "destination": "x"},
                             {"type": "burn"}]}  # fmt: skip
    problem = world.agent.post("/v1/plans", broken).problem(422, field="/operations/0/source")
    assert {one["field"] for one in problem["faults"]} >= {"/operations/0/source",
                                                           "/operations/1/type"}  # fmt: skip


def test_an_invalid_plan_cannot_be_approved(world: World, case: Any) -> None:
    plan = world.agent.post("/v1/plans", {"case_name": CASE, "operations": [
        {"type": "move", "source": "gone", "destination": "x"}]}).of(201)  # fmt: skip
    assert plan["validation"]["errors"] and plan["changes"]["state"] == "none"
    assert act(world.reviewer, plan, "approve", {"digest": "sha256:00000000"}).status in (404, 409)
    checked = act(world.agent, plan, "validate").of(200)
    assert checked["validation"]["errors"] == plan["validation"]["errors"]


# From here on: what the smaller services answer.


def basic(client: Client, method: str, path: str, body: Any = None) -> Reply:
    """As a client that was given http://x:TOKEN@host sends it."""
    word = base64.b64encode(f"x:{client.token}".encode()).decode()
    return Client(client.server).ask(method, path, body, Authorization=f"Basic {word}")


def test_the_mutation_service_s_clients_are_served(world: World, case: Any) -> None:
    asked = {"plan_id": "", "case_name": CASE, "description": "sort", "operations": OPERATIONS,
             "created_by": "somebody", "requires_approval": True}  # fmt: skip
    created = basic(world.agent, "POST", "/plans", asked).of(200)
    plan = created["plan_id"]
    assert created == asked | {"plan_id": plan} and plan
    checked = basic(world.agent, "POST", f"/plans/{plan}/validate").of(200)
    assert checked["valid"] and checked["operation_count"] == 4 and checked["errors"] == []
    assert f"Deletes: projects/{CASE}/b.txt" in checked["dry_run_summary"]
    assert isinstance(checked["estimated_size_change_mb"], float)
    # Without approval, and with an agent approving itself.
    basic(world.agent, "POST", f"/plans/{plan}/apply").problem(403)
    basic(world.agent, "POST", f"/plans/{plan}/approve?approved_by=auto").problem(403)
    assert (case / "b.txt").exists()
    approved = basic(world.reviewer, "POST", f"/plans/{plan}/approve?approved_by=auto").of(200)
    assert approved == {"status": "approved", "plan_id": plan}
    done = basic(world.reviewer, "POST", f"/plans/{plan}/apply").of(200)
    assert done["success"] and done["operations_completed"] == 4 and done["operations_failed"] == 0
    assert done["error_details"] is None and done["audit_log_path"]
    assert (case / "notes.md").read_text() == "seen" and not (case / "b.txt").exists()


def test_a_conflict_is_a_failed_plan_there(world: World, case: Any) -> None:
    plan = basic(world.agent, "POST", "/plans", PLAN).of(200)["plan_id"]
    basic(world.reviewer, "POST", f"/plans/{plan}/approve").of(200)
    (case / "b.txt").write_text("changed meanwhile")
    done = basic(world.agent, "POST", f"/plans/{plan}/apply").of(200)
    assert not done["success"] and done["operations_completed"] == 0
    assert "b.txt" in done["error_details"] and (case / "a.txt").exists()


def test_file_operations_are_looked_at_or_applied(world: World, case: Any) -> None:
    asked = {"case_name": CASE, "dry_run": True, "operations": [
        {"type": "mkdir", "path": f"{CASE}/photos"},
        {"type": "move", "from": f"{CASE}/a.txt", "to": f"{CASE}/photos/a.txt"}]}  # fmt: skip
    looked = world.agent.post("/file-ops/plans", asked).of(200)
    assert not looked["applied"] and looked["valid"]
    assert f"move projects/{CASE}/a.txt -> projects/{CASE}/photos/a.txt" in looked["diff"]
    assert (case / "a.txt").exists()
    done = world.agent.post("/file-ops/plans", asked | {"dry_run": False}).of(200)
    assert done["applied"] and done["state"] == "committed"
    assert (case / "photos/a.txt").read_text() == "a"
    outside = asked | {"operations": [{"type": "mkdir", "path": "Other/x"}]}
    assert world.agent.post("/file-ops/plans", outside).status == 422


def test_a_script_is_run_and_answered_with_its_output(world: World, case: Any) -> None:
    tool = world.workspace / "Tools" / "count.py"
    tool.write_text("import os, sys\nprint(len(os.listdir('.')), sys.argv[1])\n")
    asked = {"case_name": CASE, "script_path": "Tools/count.py", "script_args": ["--x"]}
    done = world.agent.post("/execute/file-reorganization", asked).of(200)
    assert done["stdout"] == "2 --x\n" and done["success"]
    tool.write_text("import sys\nsys.exit('no good')\n")
    failed = world.agent.post("/execute/file-reorganization", asked).problem(500)
    assert "no good" in failed["detail"]
    for path in ("/execute/browser-automation", "/execute/research"):
        world.agent.post(path, {"url": "x"}).problem(501, "unsupported")
