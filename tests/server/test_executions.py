"""Executions: what can be asked for, what is told of them, and every way to ask wrongly."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from e2e_tools import wait_until
from server_tools import World

NOT_THERE = "exec_20261121_101500_1f2e3d4c"
HANGS = "echo ready; sleep 600"


def test_a_script_of_the_workspace_runs_with_its_arguments(shared: World) -> None:
    shared.server.cli.write("Tools/add.py", "import sys\nprint(sum(map(int, sys.argv[1:])))\n")
    body = {"script_path": "Tools/add.py", "script_args": ["1", "2"], "description": "adds"}
    answer = shared.agent.post("/v1/executions?wait=30", body)
    document = answer.of(201)
    assert (document["status"], document["stdout"]) == ("succeeded", "3\n"), document
    assert (document["principal"], document["description"]) == ("token:agent", "adds")
    assert document["script_path"] == "/Tools/add.py"
    assert answer.headers["Location"] == f"/v1/executions/{document['execution_id']}"
    assert shared.agent.get(answer.headers["Location"]).of(200) == document


def test_text_and_commands_run(shared: World) -> None:
    assert shared.agent.run("print(6 * 7)", language="python")["stdout"] == "42\n"
    assert shared.agent.run("echo $A >&2", env={"A": "b c"})["stderr"] == "b c\n"
    body = {"command": ["/bin/cat"], "stdin": "fed", "limits": {"timeout_seconds": 9.5}}
    document = shared.agent.post("/v1/executions?wait=30", body).of(201)
    assert (document["stdout"], document["limits"]["timeout_seconds"]) == ("fed", 9.5), document
    failed = shared.agent.run("exit 3")
    assert (failed["status"], failed["exit_code"], failed["success"]) == ("failed", 3, False)


def test_without_wait_the_answer_comes_at_once(shared: World) -> None:
    begin = time.monotonic()
    document = shared.agent.submit(HANGS)
    assert time.monotonic() - begin < 5 and document["status"] in ("queued", "running")
    begin = time.monotonic()
    shown = shared.agent.get(f"/v1/executions/{document['execution_id']}?wait=0.3").of(200)
    assert 0.25 < time.monotonic() - begin < 5 and shown["status"] == "running", shown
    shared.agent.post(f"/v1/executions/{document['execution_id']}/cancel").of(200)


def test_a_running_execution_is_cancelled_with_its_changes(shared: World) -> None:
    document = shared.agent.submit(f"echo x > /workspace/half; {HANGS}")
    path = f"/v1/executions/{document['execution_id']}"
    wait_until(lambda: shared.agent.get(path + "/stdout").body == b"ready\n", "its output")
    cancelled = shared.agent.post(path + "/cancel").of(200)
    ended = shared.agent.get(path + "?wait=30").of(200)
    assert ended["status"] == "cancelled" and ended["changes"]["state"] in ("none", "discarded")
    assert cancelled["execution_id"] == ended["execution_id"]
    assert not (shared.workspace / "half").exists()
    shared.agent.post(path + "/cancel").problem(409, "wrong_state")


def test_nobody_cancels_for_an_agent_but_a_reviewer(shared: World) -> None:
    other = shared.server.token("other", "agent")
    document = shared.agent.submit(HANGS)
    path = f"/v1/executions/{document['execution_id']}"
    other.post(path + "/cancel").problem(403, "permission_denied")
    shared.reviewer.post(path + "/cancel").of(200)
    assert shared.agent.get(path + "?wait=30").of(200)["status"] == "cancelled"


def test_output_is_given_byte_for_byte_and_in_ranges(shared: World) -> None:
    code = "import os\nos.write(1, bytes(range(256)) * 2000)\nos.write(2, b'words')"
    document = shared.agent.run(code, language="python")
    path, whole = f"/v1/executions/{document['execution_id']}/stdout", bytes(range(256)) * 2000
    answer = shared.agent.get(path)
    assert (answer.status, answer.body, answer.headers["Accept-Ranges"]) == (200, whole, "bytes")
    size = len(whole)
    for range_, first, last in [("0-0", 0, 0), ("10-19", 10, 19), (f"{size - 3}-", size - 3, size - 1),
                                ("-5", size - 5, size - 1), (f"5-{size * 2}", 5, size - 1),
                                (f"-{size * 2}", 0, size - 1)]:  # fmt: skip
        part = shared.agent.get(path, Range=f"bytes={range_}")
        assert (part.status, part.body) == (206, whole[first : last + 1]), (range_, part.headers)
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    beyond = shared.agent.get(path, Range=f"bytes={size}-")
    beyond.problem(416, "range")
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    for odd in ("bytes=0-1,4-5", "lines=1-2", "bytes=x-y", "bytes=9-3"):  # Such a header is ignored.
        assert shared.agent.get(path, Range=odd).status == 200, odd
    assert shared.agent.get(path.replace("stdout", "stderr")).body == b"words"


def test_changes_diff_and_files_tell_what_an_execution_did(shared: World) -> None:
    shared.server.cli.write("before.txt", "old\n")
    document = shared.agent.run(
        "cd /workspace; echo new > before.txt; mkdir -p d; printf '\\000\\377' > 'd/a b#.bin'",
        mode="review")
    path = f"/v1/executions/{document['execution_id']}"
    changes = shared.agent.get(path + "/changes").of(200)
    assert (changes["id"], changes["state"]) == (document["execution_id"], "held")
    assert {(c["op"], c["path"]) for c in changes["changes"]} == {
        ("modify", "before.txt"), ("create", "d"), ("create", "d/a b#.bin")}  # fmt: skip
    assert shared.agent.get(f"/v1/proposals/{document['execution_id']}/changes").of(200) == changes
    diff = shared.agent.get(path + "/diff")
    assert diff.status == 200 and b"-old\n+new\n" in diff.body and b"bin" in diff.body, diff
    assert diff.headers["Content-Type"] == "text/plain; charset=utf-8"
    only = shared.agent.get(path + "/diff?path=d").body
    assert b"before.txt" not in only and b"bin" in only
    file = shared.agent.get(path + "/files/d/a%20b%23.bin")
    assert (file.status, file.body) == (200, b"\x00\xff")
    assert file.headers["Content-Disposition"] == "attachment"
    assert shared.agent.get(path + "/files/before.txt").body == b"new\n"
    shared.agent.get(path + "/files/none").problem(404)
    shared.agent.get(path + "/files/d").problem(404)
    for away in ("..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd"):
        assert shared.agent.get(path + "/files/" + away).status in (400, 404, 422), away


def test_lists_go_from_page_to_page_and_filter(serve: Any) -> None:
    world = serve()
    (world.workspace / "projects/Wilson").mkdir()
    ids = [world.agent.run("true", case_name="Wilson" if i % 2 else None)["execution_id"]
           for i in range(5)]  # fmt: skip
    bad = world.agent.run("false")["execution_id"]
    newest_first = [bad, *reversed(ids)]

    def listed(query: str) -> list[str]:
        page = world.reviewer.get("/v1/executions" + query).of(200)
        return [document["execution_id"] for document in page["executions"]]

    assert listed("") == newest_first
    assert listed("?status=failed") == [bad]
    assert listed("?case=Wilson") == [ids[3], ids[1]]
    assert listed("?case=Nobody") == []
    assert listed("?since=2026-11-21T10:15:00Z") == newest_first
    assert listed("?since=2200-01-01T00:00:00.5Z") == []
    assert listed(f"?since={world.agent.show(ids[3])['timestamp']}")[:2] == [bad, ids[4]]
    seen, cursor = [], ""
    while cursor is not None:
        page = world.reviewer.get(f"/v1/executions?limit=2{cursor and '&cursor=' + cursor}").of(200)
        assert len(page["executions"]) <= 2
        seen += [document["execution_id"] for document in page["executions"]]
        cursor = page["next_cursor"]
    assert seen == newest_first


@pytest.mark.parametrize("path", ["", "/stdout", "/stderr", "/changes", "/diff", "/events",
                                  "/files/x"])  # fmt: skip
@pytest.mark.parametrize("given", [NOT_THERE, "x", "a" * 3000])
def test_what_was_never_given_is_not_found(shared: World, given: str, path: str) -> None:
    shared.admin.get(f"/v1/executions/{given}{path}").problem(404, "not_found")


@pytest.mark.parametrize("given", ["..%2f..", "%2e%2e", "a%00", "%zz", "%"])
def test_what_is_no_name_at_all_is_refused(shared: World, given: str) -> None:
    shared.admin.get(f"/v1/executions/{given}").problem(400, "bad_target")


@pytest.mark.parametrize("action", ["cancel", "reject", "rollback"])
def test_nothing_can_be_done_to_what_is_not_there(shared: World, action: str) -> None:
    shared.admin.post(f"/v1/executions/{NOT_THERE}/{action}").problem(404, "not_found")


QUERIES = [("wait=-1", "wait"), ("wait=301", "wait"), ("wait=x", "wait"), ("wait=nan", "wait"),
           ("wait=", "wait"), ("wait=1&wait=1", "wait"), ("limit=0", "limit"), ("limit=501", "limit"),
           ("limit=1.0", "limit"), ("limit=1e2", "limit"), ("limit=%2B1", "limit"),
           ("limit=99999999999999999999", "limit"), ("cursor=-1", "cursor"), ("cursor=x", "cursor"),
           ("status=done", "status"), ("status=", "status"), ("since=yesterday", "since"),
           ("since=2026-13-01T00:00:00Z", "since"), ("case=%FF", "case"),
           ("nonsense=1", "nonsense")]  # fmt: skip


@pytest.mark.parametrize(("query", "name"), QUERIES)
def test_a_bad_query_is_told_by_its_name(shared: World, query: str, name: str) -> None:
    path = f"/v1/executions/{NOT_THERE}" if name == "wait" else "/v1/executions"
    shared.agent.get(f"{path}?{query}").problem(422, "invalid_argument", f"query:{name}")


# What is put over {"command": ["/bin/true"]}, and the pointer to what is wrong with it.
BODIES = [
    ({"command": None}, None), ({"code": "true"}, None), ({"script_path": "Tools/x.py"}, None),
    ({"command": []}, None), ({"command": "/bin/true"}, "/command"), ({"command": [1]}, "/command/0"),
    ({"command": ["/bin/true", "a\0b"]}, "/command/1"),
    ({"script_args": ["x"]}, "/script_args"), ({"language": "bash"}, "/language"),
    ({"command": None, "code": "x", "language": "perl"}, "/language"),
    ({"command": None, "code": 1}, "/code"), ({"command": None, "code": ["x"]}, "/code"),
    ({"command": None, "code": "cat", "stdin": "x"}, "/stdin"), ({"stdin": 1}, "/stdin"),
    ({"command": None, "script_path": "Tools/none.py"}, "/script_path"),
    ({"command": None, "script_path": "../../etc/passwd"}, "/script_path"),
    ({"command": None, "script_path": "Tools"}, "/script_path"),
    ({"case_name": "None-Such"}, "/case_name"), ({"case_name": "../x"}, "/case_name"),
    ({"case_name": 1}, "/case_name"), ({"working_dir": "none"}, "/working_dir"),
    ({"working_dir": "../.."}, "/working_dir"), ({"mode": "later"}, "/mode"),
    ({"mode": True}, "/mode"), ({"on_failure": "x"}, "/on_failure"),
    ({"environment": "nix"}, "/environment"), ({"network": "bridge"}, "/network"),
    ({"network": 1}, "/network"), ({"env": []}, "/env"), ({"env": {"A": 1}}, "/env/A"),
    ({"env": {"A": None}}, "/env/A"),
    ({"env": {"A/B~": 1}}, "/env/A~1B~0"), ({"env": {"": "x"}}, "/env/"),
    ({"env": {"A=B": "x"}}, "/env/A=B"), ({"env": {"A": "x\0"}}, "/env/A"),
    ({"limits": 1}, "/limits"), ({"limits": {"cpu": 1}}, "/limits/cpu"),
    ({"limits": {"timeout_seconds": 0}}, "/limits/timeout_seconds"),
    ({"limits": {"timeout_seconds": -1}}, "/limits/timeout_seconds"),
    ({"limits": {"timeout_seconds": 1e7}}, "/limits/timeout_seconds"),
    ({"limits": {"timeout_seconds": "9"}}, "/limits/timeout_seconds"),
    ({"limits": {"memory_bytes": 1}}, "/limits/memory_bytes"),
    ({"limits": {"memory_bytes": 1.5e9}}, "/limits/memory_bytes"),
    ({"limits": {"memory_bytes": 2**63}}, "/limits/memory_bytes"),
    ({"limits": {"memory_bytes": -1}}, "/limits/memory_bytes"),
    ({"limits": {"cpus": 0}}, "/limits/cpus"), ({"limits": {"pids": 0}}, "/limits/pids"),
    ({"limits": {"pids": True}}, "/limits/pids"), ({"limits": {"files": 0}}, "/limits/files"),
    ({"limits": {"scratch_bytes": 0}}, "/limits/scratch_bytes"),
    ({"limits": {"output_bytes": 0}}, "/limits/output_bytes"),
    ({"require": "magic"}, "/require"), ({"description": {}}, "/description"),
    ({"wait_lock_seconds": 0}, "/wait_lock_seconds"), ({"cold": "yes"}, "/cold"),
    ({"nonsense": 1}, "/nonsense"), ({"": 1}, "/"), ({"id": "exec_x"}, "/id"),
    ({"principal": "token:root"}, "/principal"), ({"visible_cases": []}, "/visible_cases"),
]  # fmt: skip


@pytest.mark.parametrize(("over", "field"), BODIES, ids=lambda value: str(value)[:60])
def test_a_bad_body_is_told_where(shared: World, over: dict[str, Any], field: str | None) -> None:
    body = {"command": ["/bin/true"]} | over
    problem = shared.agent.post("/v1/executions", body).problem(422)
    assert problem.get("field") == field, problem


TEXTS = [
    (b"{", 400, None), (b"", 415, None), (b"null", 422, None), (b"[]", 422, None), (b'"x"', 422, None),
    (b'{"code": "a", "code": "b"}', 400, "/code"), (b'{"env": {"A": "", "\\u0041": ""}}', 400, "/env/A"),
    (b'{"code": "x"} {}', 400, None), (b"{'code': 'x'}", 400, None), (b'{"code": "x",}', 400, None),
    (b'{"code": NaN}', 400, None), (b'{"code": "\xff"}', 400, None), (b'{"code": "\xed\xa0\x80"}', 400, None),
    (b'{"code": "\\ud800"}', 400, None), (b'\xef\xbb\xbf{"code": "x"}', 400, None),
    (b'{"a":' * 40 + b"1" + b"}" * 40, 400, None), (b"[" * 100_000, 400, None),
    (b'{"code": "x", "limits": {"cpus": 1e999}}', 422, "/limits/cpus"), (b'{"code": "\x01"}', 400, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "status", "field"), TEXTS, ids=lambda value: str(value)[:40])
def test_what_is_no_plain_json_is_refused(
    shared: World, text: bytes, status: int, field: str | None
) -> None:
    answer = shared.agent.post("/v1/executions", text)
    if text == b"":
        answer = shared.agent.post("/v1/executions")
    problem = answer.problem(status)
    assert field is None or problem.get("field") == field, problem


def test_a_body_that_is_not_declared_as_json_is_refused(shared: World) -> None:
    body = b'{"command": ["/bin/true"]}'
    for media in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        answer = shared.agent.post("/v1/executions", body, Content_Type=media)
        answer.problem(415, "not_json")
    media = "Application/JSON ; charset=utf-8"
    shared.agent.post("/v1/executions", body, Content_Type=media).of(201)


def test_a_body_above_the_limit_is_refused(serve: Any) -> None:
    world = serve("--body", "64k")
    body = {"command": ["/bin/true"], "description": "x" * 70_000}
    world.agent.post("/v1/executions", body).problem(413)
    world.agent.run("true")


def test_a_large_script_arrives_whole(shared: World) -> None:
    text = json.dumps("é" * 2_000_000)
    code = f"import hashlib\nprint(hashlib.sha256({text}.encode()).hexdigest())"
    document = shared.agent.run(code, language="python", limits={"timeout_seconds": 60})
    assert document["status"] == "succeeded" and len(document["stdout"]) == 65, document["error"]


def test_an_agent_does_not_get_the_network_of_the_host(serve: Any) -> None:
    world = serve(config="[sandbox]\nhost_network = true\n")
    body = {"command": ["/bin/true"], "network": "host"}
    world.agent.post("/v1/executions", body).problem(403, "permission_denied", "/network")
    document = world.reviewer.post("/v1/executions?wait=30", body).of(201)
    assert document["status"] == "succeeded" and document["guarantees"]["network"] == "host"
    assert world.agent.get("/v1/capabilities").of(200)["networks"] == ["none"]
    assert world.reviewer.get("/v1/capabilities").of(200)["networks"] == ["none", "host"]


def test_nobody_gets_the_network_of_the_host_unless_it_is_configured(shared: World) -> None:
    body = {"command": ["/bin/true"], "network": "host"}
    shared.admin.post("/v1/executions", body).problem(422, None, "/network")


def test_a_route_takes_no_other_method(shared: World) -> None:
    answer = shared.admin.ask("DELETE", "/v1/executions")
    answer.problem(405)
    assert {word.strip() for word in answer.headers["Allow"].split(",")} >= {"GET", "POST"}
    shared.admin.get("/v1/nothing").problem(404)
    shared.admin.ask("TRACE", "/v1/queue").problem(405)


def test_history_stats_and_metrics_tell_of_it(serve: Any) -> None:
    world = serve()
    document = world.agent.run("echo x > /workspace/told.txt")
    (event,) = world.agent.get("/v1/history?path=told.txt").of(200)["events"]
    assert document["execution_id"] in json.dumps(event)
    stats = world.agent.get("/v1/stats?hours=1").of(200)
    assert stats["total_executions"] == 1 and stats["health"] is not None
    metrics = world.reviewer.get("/metrics")
    assert metrics.status == 200 and metrics.body.startswith(b"# ")
    for line in metrics.body.decode().splitlines():
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0, line
    assert b"\nbailiff_webhook_messages_lost_total 0\n" in metrics.body
    world.agent.get("/v1/history?path=../x").problem(422, None, "query:path")


def test_a_client_that_leaves_does_not_end_what_it_asked_for(shared: World) -> None:
    connection = shared.agent.connection()
    body = json.dumps({"code": "sleep 0.3; echo x > /workspace/stays", "language": "bash"})
    headers = shared.agent.headers({"Content-Type": "application/json"})
    connection.request("POST", "/v1/executions?wait=30", body, headers)
    wait_until(lambda: shared.agent.get("/v1/executions?status=running").of(200)["executions"],
               "it runs")  # fmt: skip
    connection.close()
    wait_until((shared.workspace / "stays").exists, "its change")
