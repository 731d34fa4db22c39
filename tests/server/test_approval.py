"""From a proposal to a commit: who may decide on what, and that it happens once."""

from __future__ import annotations

import collections
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from server_tools import Client, World

Serve = Callable[..., World]
BY_ADMIN = """
[[policy.rule]]
name = "admins-decide"
decide = "review"
by = "admin"
[policy.rule.when]
paths = ["secret", "secret/**"]
[[policy.rule]]
name = "the-rest"
decide = "commit"
"""


def state(client: Client, document: Any) -> str:
    return client.show(document["execution_id"])["changes"]["state"]


def rollback(client: Client, document: Any) -> Any:
    return client.post(f"/v1/executions/{document['execution_id']}/rollback").of(200)


def test_a_reviewer_commits_what_an_agent_proposed_byte_for_byte(shared: World) -> None:
    code = "open('/workspace/exact.bin', 'wb').write(bytes(range(256)) * 9)"
    document = shared.agent.run(code, language="python", mode="review")
    file, path = shared.workspace / "exact.bin", f"/v1/executions/{document['execution_id']}"
    digest = document["changes"]["digest"]
    assert digest.startswith("sha256:") and not file.exists()

    waiting = shared.reviewer.get("/v1/proposals?state=held").of(200)["proposals"]
    assert document["execution_id"] in [proposal["id"] for proposal in waiting]
    assert shared.reviewer.get(f"/v1/proposals/{document['execution_id']}").of(200)["digest"] == digest

    shared.agent.approve(document).problem(403, "permission_denied")
    wrong = "sha256:" + ("0" if digest[7] != "0" else "1") + digest[8:]
    refused = shared.reviewer.post(path + "/approve", {"digest": wrong}).problem(409)
    assert refused["done"] is False and refused["state"] == "held"
    assert not file.exists() and state(shared.agent, document) == "held"

    action = shared.reviewer.approve(document).of(200)
    assert action["done"] is True and action["state"] == "committed", action
    assert file.read_bytes() == bytes(range(256)) * 9
    again = shared.reviewer.approve(document).problem(409, "wrong_state")
    assert again["state"] == "committed"
    (commit,) = [record for record in shared.server.records("committed")
                 if record["id"] == document["execution_id"]]  # fmt: skip
    assert commit["digest"] == digest
    history = shared.agent.get("/v1/history?path=exact.bin").of(200)["events"]
    assert "token:rita" in str(history), history


def test_an_approval_has_to_name_what_it_approves(shared: World) -> None:
    document = shared.agent.held("named.txt")
    path = f"/v1/executions/{document['execution_id']}/approve"
    shared.reviewer.post(path, {}).problem(422, None, "/digest")
    shared.reviewer.post(path, {"digest": ""}).problem(422, None, "/digest")
    shared.reviewer.post(path, {"digest": 1}).problem(422, None, "/digest")
    shared.reviewer.post(path, {"digest": "sha256:12", "x": 1}).problem(422, None, "/x")
    shared.reviewer.post(path).problem(415, "not_json")
    for short in ("sha256:", document["changes"]["digest"][:14], "sha256:" + "g" * 8):
        answer = shared.reviewer.post(path, {"digest": short})
        assert answer.status in (409, 422), answer
    assert state(shared.agent, document) == "held"
    shared.reviewer.post(path, {"digest": document["changes"]["digest"][:15]}).of(200)
    assert (shared.workspace / "named.txt").read_text() == "held"


def test_what_changed_meanwhile_is_a_conflict(shared: World) -> None:
    shared.server.cli.write("contested.txt", "first")
    document = shared.agent.held("contested.txt", "second")
    shared.server.cli.write("contested.txt", "third")
    problem = shared.reviewer.approve(document).problem(409, "conflict")
    assert "contested.txt" in str(problem["conflicts"]), problem
    assert (shared.workspace / "contested.txt").read_text() == "third"
    assert state(shared.agent, document) == "conflict"


def test_a_rejected_change_set_is_gone(shared: World) -> None:
    document = shared.agent.held("rejected.txt")
    path = f"/v1/proposals/{document['execution_id']}/reject"
    other = shared.server.token("other", "agent")
    other.post(path).problem(403, "permission_denied")
    assert shared.reviewer.post(path, {"reason": "no"}).of(200)["state"] == "rejected"
    shared.reviewer.approve(document).problem(409, "wrong_state")
    assert not (shared.workspace / "rejected.txt").exists()
    withdrawn = shared.agent.held("withdrawn.txt")
    path = f"/v1/executions/{withdrawn['execution_id']}/reject"
    assert shared.agent.post(path).of(200)["state"] == "rejected"


def test_nobody_approves_what_they_proposed(shared: World) -> None:
    for proposer in (shared.reviewer, shared.admin):
        document = proposer.held("own.txt")
        problem = proposer.approve(document).problem(403, "permission_denied")
        assert "somebody else has to approve it" in problem["detail"]
        assert state(proposer, document) == "held" and not (shared.workspace / "own.txt").exists()
    shared.reviewer.approve(document).of(200)


def test_an_operator_may_allow_self_approval(serve: Serve) -> None:
    world = serve(config="[policy]\nself_approval = true\n")
    world.reviewer.approve(world.reviewer.held("own.txt")).of(200)
    assert (world.workspace / "own.txt").read_text() == "held"
    world.agent.approve(world.agent.held("agents.txt")).problem(403, "permission_denied")


def test_a_rule_may_ask_for_an_admin(serve: Serve) -> None:
    world = serve(config=BY_ADMIN)
    document = world.agent.run("mkdir /workspace/secret; echo x > /workspace/secret/x")
    assert document["changes"]["state"] == "held", document
    world.reviewer.approve(document).problem(403, "permission_denied")
    assert not (world.workspace / "secret").exists()
    world.admin.approve(document).of(200)
    assert (world.workspace / "secret/x").read_text() == "x\n"


def test_an_agents_rollback_of_what_a_person_approved_is_held(shared: World) -> None:
    document = shared.agent.held("approved.txt")
    shared.reviewer.approve(document).of(200)
    action = rollback(shared.agent, document)
    assert action["state"] == "held" and (shared.workspace / "approved.txt").exists(), action
    shown = shared.reviewer.get(f"/v1/proposals/{action['id']}").of(200)
    assert shown["kind"] == "rollback"
    path = f"/v1/proposals/{action['id']}/approve"
    shared.agent.post(path, {"digest": shown["digest"]}).problem(403)
    shared.reviewer.post(path, {"digest": shown["digest"]}).of(200)
    assert not (shared.workspace / "approved.txt").exists()
    assert state(shared.agent, document) == "rolled_back"


def test_what_policy_committed_an_agent_rolls_back(shared: World) -> None:
    document = shared.agent.run("echo x > /workspace/by-policy.txt")
    assert document["changes"]["state"] == "committed"
    assert rollback(shared.agent, document)["state"] == "committed"
    assert not (shared.workspace / "by-policy.txt").exists()
    path = f"/v1/executions/{document['execution_id']}/rollback"
    shared.agent.post(path).problem(409)


def test_of_a_hundred_approvals_at_a_time_one_commits(shared: World) -> None:
    document = shared.agent.run("echo once >> /workspace/log.txt", mode="review")
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: shared.reviewer.approve(document), range(100)))
    counted = collections.Counter(answer.status for answer in answers)
    assert counted[200] == 1 and set(counted) <= {200, 409, 429}, counted
    assert (shared.workspace / "log.txt").read_text() == "once\n"
    commits = [record for record in shared.server.records("committed")
               if record["id"] == document["execution_id"]]  # fmt: skip
    assert len(commits) == 1


def test_two_who_change_one_file_do_not_both_commit(shared: World) -> None:
    shared.server.cli.write("counter.txt", "0")
    held = [shared.agent.held("counter.txt", str(i)) for i in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(shared.reviewer.approve, held))
    counted = collections.Counter(answer.status for answer in answers)
    assert counted == {200: 1, 409: 7}, counted
    winner = next(i for i, answer in enumerate(answers, 1) if answer.status == 200)
    assert Path(shared.workspace / "counter.txt").read_text() == str(winner)
