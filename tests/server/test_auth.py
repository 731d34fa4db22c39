"""Who is let in: tokens, roles, the unix socket, pages of other sites."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from server_tools import Client, Reply, World, raw, statuses

REVIEWERS = [("POST", "/v1/executions/{id}/approve"), ("POST", "/v1/proposals/{id}/approve"),
             ("POST", "/v1/queue/pause"), ("POST", "/v1/queue/resume"), ("POST", "/v1/queue/stop"),
             ("GET", "/metrics")]  # fmt: skip


def routes(world: World) -> list[tuple[str, str, Any]]:
    """Method, path and operation of each route that the server says it has."""
    paths = world.admin.get("/openapi.json").of(200)["paths"]
    return [(method.upper(), path, operation)
            for path, methods in paths.items() for method, operation in methods.items()]  # fmt: skip


def filled(path: str) -> str:
    return path.replace("{id}", "exec_20261121_101500_1f2e3d4c").replace("{path}", "a/b")


def knock(client: Client, method: str, path: str, **headers: str) -> Reply:
    return client.ask(method, filled(path), {} if method == "POST" else None, **headers)


def test_no_route_but_health_answers_a_stranger(shared: World) -> None:
    walked = routes(shared)
    assert len(walked) >= 25
    for method, path, _ in walked:
        answer = knock(shared.server.anybody(), method, path)
        if path == "/health":
            assert answer.of(200) == {"status": "healthy"}
        else:
            answer.problem(401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer", (method, path)


def test_what_is_no_living_token_is_refused_with_one_answer(shared: World) -> None:
    server = shared.server
    good = server.token("short-lived", "admin", "--expires", "1s")
    revoked = server.token("revoked", "admin")
    server.cli.ok(["token", "revoke", "revoked"])
    changed = good.token[:-1] + ("A" if good.token[-1] != "A" else "B")
    unknown = "bailiff_00000000_" + "A" * 43
    deadline = time.monotonic() + 10
    while good.get("/v1/queue").status == 200:
        assert time.monotonic() < deadline, "the token does not expire"
    answers = set()
    for token in (good.token, revoked.token, changed, unknown, "x", ""):
        for method, path, _ in routes(shared):
            if path == "/health":
                continue
            answer = knock(Client(server, token), method, path)
            answer.problem(401, "unauthorized")
            answers.add(answer.body)
    assert len(answers) == 1
    reasons = {record["reason"] for record in server.records("denied_request")}
    assert any("expired" in reason for reason in reasons), reasons
    assert any("revoked" in reason for reason in reasons), reasons


def test_an_agent_is_kept_from_what_reviewers_do_and_that_is_recorded(shared: World) -> None:
    operations = {(method, path): operation for method, path, operation in routes(shared)}
    for method, path in REVIEWERS:
        body = {"digest": "sha256:12345678"} if "approve" in path else None
        shared.agent.ask(method, filled(path), body).problem(403, "permission_denied")
        assert "reviewer" in operations[method, path]["description"]
        name = operations[method, path]["operationId"]
        denied = [record for record in shared.server.records("denied_request")
                  if (record["principal"], record["action"]) == ("token:agent", name)]  # fmt: skip
        assert denied, (name, shared.server.records("denied_request"))


def test_only_the_routes_of_reviewers_refuse_an_agent(shared: World) -> None:
    walked = routes(shared)
    theirs = {(method, path) for method, path, operation in walked
              if "Takes the role agent" not in operation.get("description", "Takes the role agent")}  # fmt: skip
    refused = {(method, path) for method, path, _ in walked
               if knock(shared.agent, method, path).status == 403}  # fmt: skip
    assert refused == theirs and theirs >= set(REVIEWERS)


def test_the_token_may_be_the_password_of_basic_authentication(shared: World) -> None:
    headers = shared.server.with_password(shared.agent.token)
    you = shared.server.anybody().get("/v1/capabilities", **headers).of(200)["you"]
    assert you == {"principal": "token:agent", "role": "agent", "cases": None}
    wrong = shared.server.with_password("bailiff_00000000_x")
    shared.server.anybody().get("/v1/capabilities", **wrong).problem(401, "unauthorized")


def test_two_credentials_are_none(shared: World) -> None:
    head = f"GET /v1/queue HTTP/1.1\r\nHost: 127.0.0.1:{shared.server.port}\r\n"
    line = f"Authorization: Bearer {shared.admin.token}\r\n"
    (status,) = statuses(raw(shared.server, (head + line + line + "\r\n").encode()))
    assert status in (400, 401)


def test_the_owner_of_the_state_needs_no_token_on_the_unix_socket(shared: World) -> None:
    you = shared.server.local().get("/v1/capabilities").of(200)["you"]
    assert you == {"principal": f"local:{os.geteuid()}", "role": "admin", "cases": None}
    wrong = Client(shared.server, "bailiff_00000000_x", unix=True)
    wrong.get("/v1/capabilities").problem(401, "unauthorized")


def test_another_user_does_not_get_at_the_unix_socket(shared: World) -> None:
    path = str(shared.server.cli.state / "socket")
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, path], user=65534, group=65534,
                          extra_groups=[], capture_output=True, check=False)  # fmt: skip
    assert b"PermissionError" in done.stderr, done


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1",
                                  "localhost.evil.example:{port}", ""])  # fmt: skip
def test_another_host_name_gets_no_answer(shared: World, host: str) -> None:
    host = host.format(port=shared.server.port)
    shared.admin.get("/v1/queue", Host=host).problem(421, "host_not_allowed")
    shared.admin.get("/health", Host=host).problem(421, "host_not_allowed")


def test_hosts_that_are_the_server_answer(shared: World) -> None:
    for host in (f"127.0.0.1:{shared.server.port}", f"LOCALHOST:{shared.server.port}"):
        shared.admin.get("/v1/queue", Host=host).of(200)


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1"},
    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
])  # fmt: skip
def test_pages_of_other_sites_are_refused(shared: World, headers: dict[str, str]) -> None:
    shared.admin.post("/v1/queue/pause", **headers).problem(403, "cross_site")
    assert shared.admin.get("/v1/queue").of(200)["paused"] is False


def test_its_own_pages_are_served(shared: World) -> None:
    origin = f"http://127.0.0.1:{shared.server.port}"
    shared.admin.get("/v1/queue", Origin=origin, Sec_Fetch_Site="same-origin").of(200)


def test_a_second_server_of_one_state_does_not_start(shared: World) -> None:
    again = shared.server.cli.run(["serve", "--listen", "127.0.0.1:0"])
    assert again.exit != 0 and b"another 'bailiff serve' works on this state" in again.stderr, again


def test_requests_are_served_on_one_connection(shared: World) -> None:
    request = (f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{shared.server.port}\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", shared.server.port), timeout=10) as stream:
        for _ in range(3):
            stream.sendall(request)
            assert stream.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
