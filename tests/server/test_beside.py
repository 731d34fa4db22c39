"""Commands and a server on one state: each sees what the other does, and they never do it twice."""

from __future__ import annotations

import collections
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bailiff_cli import Cli
from e2e_tools import PYTHON, wait_until
from server_tools import World

Serve = Callable[..., World]
HANGS = "import signal; print('ready', flush=True); signal.pause()"


def running(world: World) -> list[str]:
    documents = world.admin.get("/v1/executions?status=running").of(200)["executions"]
    return [document["execution_id"] for document in documents]


def test_each_shows_what_the_other_ran(shared: World) -> None:
    cli: Cli = shared.server.cli
    served = shared.agent.run("echo served")
    assert cli.json(["show", served["execution_id"]]) == served
    ran = cli.json(["exec", "--", "/bin/sh", "-c", "echo ran > /workspace/Reports/ran"])
    assert ran["principal"] == f"local:{os.geteuid()}"
    assert shared.admin.show(ran["execution_id"]) == ran
    assert shared.server.local().get("/v1/capabilities").of(200)["you"]["principal"] == ran["principal"]
    (event,) = shared.agent.get("/v1/history?path=Reports/ran").of(200)["events"]
    assert event["id"] == ran["execution_id"]


def test_of_approvals_from_both_sides_one_commits(shared: World) -> None:
    cli: Cli = shared.server.cli
    document = shared.agent.held("both.txt")
    execution = document["execution_id"]

    def approve(number: int) -> str:
        if number % 2 == 0:
            return "done" if shared.reviewer.approve(document).status == 200 else "refused"
        return "done" if cli.run(["approve", execution]).exit == 0 else "refused"

    with ThreadPoolExecutor(8) as pool:
        outcomes = collections.Counter(pool.map(approve, range(16)))
    assert outcomes == {"done": 1, "refused": 15}
    committed = [record for record in shared.server.records("committed") if record["id"] == execution]
    assert len(committed) == 1 and (shared.workspace / "both.txt").read_text() == "held"
    cli.ok(["audit", "verify"])


def test_what_one_has_committed_the_other_rolls_back(shared: World) -> None:
    cli: Cli = shared.server.cli
    file = shared.workspace / "back.txt"
    served = shared.agent.run("echo 1 > /workspace/back.txt")
    assert file.read_text() == "1\n"
    cli.ok(["rollback", served["execution_id"]])
    assert not file.exists()
    ran = cli.json(["exec", "--", "/bin/sh", "-c", "echo 2 > /workspace/back.txt"])
    assert ran["changes"]["state"] == "committed" and file.read_text() == "2\n"
    shared.admin.post(f"/v1/executions/{ran['execution_id']}/rollback").of(200)
    assert not file.exists()


def test_the_emergency_stop_of_either_ends_what_both_run(serve: Serve) -> None:
    world = serve("--workers", "2")
    cli: Cli = world.server.cli

    def start_both() -> tuple[subprocess.Popen[bytes], str]:
        served = world.agent.submit(HANGS, language="python")["execution_id"]
        process = cli.start(["--json", "exec", "--", PYTHON, "-c", HANGS])
        wait_until(lambda: len(running(world)) == 2, "both run")
        return process, served

    def ended(process: subprocess.Popen[bytes], served: str) -> None:
        out, _ = process.communicate(timeout=30)
        assert b'"status": "cancelled"' in out, out
        assert world.agent.until(served, "cancelled")["status"] == "cancelled"

    def stop_by_route() -> Any:
        return world.reviewer.post("/v1/queue/stop").of(200)["cancelled"]

    for stop in (stop_by_route, lambda: cli.json(["cancel", "--all"])["cancelled"]):
        process, served = start_both()
        assert len(stop()) == 2
        ended(process, served)
        cli.ok(["queue", "resume"])
