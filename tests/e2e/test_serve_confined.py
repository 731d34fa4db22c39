"""The process that parses HTTP has given up its privilege, and everything it does still works."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from bailiff_cli import Bench, Cli, remove_tree
from e2e_tools import wait_until
from server_tools import Server, children_of, threads_of

NONE = "0000000000000000"
READ_SEARCH = f"{1 << 2:016x}"
WRITE_NOTE = "open('/workspace/note.txt', 'w').write('new\\n')"


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_no_thread_of_the_server_has_privilege(ws: Cli) -> None:
    kept = NONE if ws.owner == ws.uid else READ_SEARCH
    with Server(ws) as server:
        assert server.local().run("print(1)", "python")["success"]  # By now all threads have been started.
        threads = threads_of(server.process)
        assert len(threads) > 5
        for thread in threads:
            assert {thread[name] for name in ("CapInh", "CapAmb")} == {NONE}
            assert {thread[name] for name in ("CapPrm", "CapEff")} == {kept}
            assert thread["NoNewPrivs"] == "1"
            assert thread["Seccomp"] == "2"
            assert ws.uid != 0 or thread["CapBnd"] == kept
        # As the kernel does for processes that are not dumpable.
        assert os.stat(f"/proc/{server.process.pid}/mem").st_uid == 0
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
        (launcher,) = children_of(server.process.pid)
        assert status_of(launcher)["NoNewPrivs"] == "0"
        if ws.uid == 0:
            assert status_of(launcher)["CapEff"] == status_of(os.getpid())["CapEff"]


def test_it_reads_files_of_others_with_the_one_capability_for_that(bench: Bench) -> None:
    cli = bench.workspace("privileged")
    script = cli.write("projects/Wilson/secret.py", "print('read')\n", mode=0o600)
    os.chown(script, 12345, 12345)
    with Server(cli) as server:
        for thread in threads_of(server.process):
            assert thread["CapEff"] == thread["CapPrm"] == thread["CapBnd"] == READ_SEARCH
        body = {"script_path": "projects/Wilson/secret.py"}
        made = server.local().ask("POST", "/v1/executions", body)
        assert made.status < 300, made
        assert "CAP_DAC_READ_SEARCH" in server.log.decode()
    remove_tree(cli.home)


def test_everything_that_it_does_still_works(ws: Cli) -> None:
    ws.write("note.txt", "old\n")
    with Server(ws) as server:
        held = server.local().run(WRITE_NOTE, "python", mode="review")
        assert held["changes"]["state"] == "held", (held, server.log.decode())
        path = "/v1/executions/" + held["execution_id"]
        diff = server.local().ask("GET", path + "/diff")
        assert b"-old" in diff.body and b"+new" in diff.body, diff
        assert server.local().ask("GET", path + "/files/note.txt").body == b"new\n"
        digest = held["changes"]["digest"]
        approved = server.local().ask("POST", path + "/approve", {"digest": digest})
        assert approved.status == 200 and approved.json["state"] == "committed", approved
        assert (ws.workspace / "note.txt").read_text() == "new\n"
        assert b"+new" in server.local().ask("GET", path + "/diff").body
        rolled = server.local().ask("POST", path + "/rollback")
        assert rolled.status < 300, rolled
        wait_until(
            lambda: (ws.workspace / "note.txt").read_text() == "old\n", "the rollback")  # fmt: skip
        assert server.local().ask("GET", "/v1/history?path=note.txt").status == 200
        for route in ("/v1/stats", "/v1/queue", "/v1/capabilities", "/v1/executions", "/metrics",
                      "/openapi.json"):  # fmt: skip
            assert server.local().ask("GET", route).status == 200, route
        assert server.local().run("print(1)", "python", require="ns")["success"]
        ws.ok(["gc"])
        server.stop()
    assert "denied" not in server.log.decode().lower()


def test_a_running_execution_can_be_cancelled(ws: Cli) -> None:
    with Server(ws) as server:
        code = "import signal; print('up', flush=True); signal.pause()"
        made = server.local().ask("POST", "/v1/executions", {"code": code}).json
        path = "/v1/executions/" + made["execution_id"]
        wait_until(lambda: server.local().ask("GET", path + "/stdout").body == b"up\n", "its output")
        assert server.local().ask("POST", path + "/cancel").status < 300
        wait_until(
            lambda: server.local().ask("GET", path).json["status"] == "cancelled", "its end")  # fmt: skip


def test_what_was_proved_at_the_start_is_demanded_of_its_runs(privileged_ws: Cli) -> None:
    with Server(privileged_ws):
        proofs = json.loads((privileged_ws.state / "proof.json").read_text())["proofs"]
        assert len(proofs) == 1
    # By the command, which has its privilege, the circumstances are the same.
    privileged_ws.ok(["exec", "--require", "ns", "--", "/bin/true"])
    assert json.loads((privileged_ws.state / "proof.json").read_text())["proofs"] == proofs


def test_the_state_of_another_user_is_refused(bench: Bench) -> None:
    cli = bench.workspace("rootless")
    cli.tier = "privileged"
    answer = cli.run(["serve", "--no-tcp"])
    assert answer.exit != 0
    assert b"run the server as that user" in answer.stderr, answer
    remove_tree(cli.home)
