"""Clients that mean no good: bytes that are no request, many connections, slow ones."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from bailiff_cli import cannot_run
from server_tools import Server, World, raw, statuses

IDLE = 10_000
# Descriptors: of the server one for each client, and of the test, beside what both need anyway.
DESCRIPTORS = IDLE + 1_000


def host(server: Server) -> bytes:
    return f"Host: 127.0.0.1:{server.port}\r\n".encode()


def smuggled(server: Server) -> bytes:
    return b"GET /health HTTP/1.1\r\n" + host(server) + b"\r\n"


REFUSED = [
    (b"POST /health HTTP/1.1\r\n%sContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /health HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    (b"POST /health HTTP/1.1\r\n%sTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /health HTTP/1.1\r\n%sTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /health HTTP/1.1\r\n%sTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /health HTTP/1.1\r\n%sContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    (b"POST /health HTTP/1.1\r\n%sContent-Length: +1\r\n\r\na", 400),
    (b"POST /health HTTP/1.1\r\n%sContent-Length: -1\r\n\r\na", 400),
    (b"POST /health HTTP/1.1\r\n%sContent-Length: 0x1\r\n\r\na", 400),
    (b"POST /health HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400),
    (b"POST /health HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", 400),
    (b"GET /health HTTP/1.1\n%s\n", 400),
    (b"GET /health HTTP/1.1\r\n%sA: b\nC: d\r\n\r\n", 400),
    (b"GET /health HTTP/1.1\r\n%sA: b\rC: d\r\n\r\n", 400),
    (b"GET /health HTTP/1.1\r\n%s folded: x\r\n\r\n", 400),
    (b"GET /health HTTP/1.1\r\n%sA\x00: b\r\n\r\n", 400),
    (b"GET /health HTTP/1.1\r\n%s%sX: two hosts\r\n\r\n", 400),
    (b"GET http://evil.example/health HTTP/1.1\r\n%s\r\n", 400),
    (b"GET /health HTTP/2.0\r\n%s\r\n", 505),
    (b"GET /health\r\n%s\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%s", 505),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n%s", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n%s\r\n", 414),
    (b"GET /health HTTP/1.1\r\n%sA: " + b"b" * 20_000 + b"\r\n\r\n", 431),
    (b"GET /health HTTP/1.1\r\n%s" + b"A: b\r\n" * 150 + b"\r\n", 431),
    (b"GET /%%2e%%2e/health HTTP/1.1\r\n%s\r\n", 400),
    (b"CONNECT /health HTTP/1.1\r\n%s\r\n", 501),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status"), REFUSED, ids=lambda value: repr(value)[:70])
def test_what_could_be_read_in_two_ways_is_refused_and_hides_nothing(
    shared: World, request_: bytes, status: int
) -> None:
    count = request_.count(b"%s")
    filled = request_ % ((host(shared.server),) * count)
    answer = raw(shared.server, filled + smuggled(shared.server))
    assert statuses(answer) == [status], answer
    assert b"healthy" not in answer and b"connection: close" in answer.lower()


def test_requests_in_a_row_are_answered_in_order(shared: World) -> None:
    ask = b"GET %s HTTP/1.1\r\n" + host(shared.server) + b"\r\n"
    answer = raw(shared.server, ask % b"/health" + ask % b"/v1/queue" + ask % b"/none" + ask % b"/health")
    assert statuses(answer) == [200, 401, 404, 200], answer


def test_half_a_request_gets_no_answer_and_does_no_harm(shared: World) -> None:
    head = b"POST /v1/executions HTTP/1.1\r\n" + host(shared.server)
    head += f"Authorization: Bearer {shared.admin.token}\r\n".encode()
    head += b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    before = shared.admin.get("/v1/stats").of(200)["total_executions"]
    for cut in (1, 30, len(head), len(head) + 20):
        assert raw(shared.server, (head + b'{"command": ["/bin/true"]')[:cut]) == b""
    assert shared.admin.get("/v1/stats").of(200)["total_executions"] == before


def test_a_client_that_is_slow_in_asking_does_not_hold_up_others(shared: World) -> None:
    slow = []
    try:
        for _ in range(200):
            stream = socket.create_connection(("127.0.0.1", shared.server.port), timeout=30)
            stream.sendall(b"GET /health HTTP/1.1\r\nHost: ")
            slow.append(stream)
        begin = time.monotonic()
        for _ in range(20):
            shared.server.anybody().get("/health").of(200)
        assert time.monotonic() - begin < 5
        # From its first byte the head of a request has ten seconds.
        answer = slow[0].recv(4096)
        assert statuses(answer) == [408] and 5 < time.monotonic() - begin < 25, answer
    finally:
        for stream in slow:
            stream.close()


def test_a_client_that_does_not_read_does_not_hold_up_others(shared: World) -> None:
    code = "import os\nfor _ in range(160): os.write(1, b'x' * 50000)"
    document = shared.admin.run(code, language="python", mode="discard")
    request = f"GET /v1/executions/{document['execution_id']}/stdout HTTP/1.1\r\n".encode()
    request += host(shared.server) + f"Authorization: Bearer {shared.admin.token}\r\n\r\n".encode()
    deaf = []
    try:
        for _ in range(30):
            stream = socket.socket()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.connect(("127.0.0.1", shared.server.port))
            stream.sendall(request)
            deaf.append(stream)
        begin = time.monotonic()
        assert shared.admin.run("echo x")["stdout"] == "x\n"
        assert time.monotonic() - begin < 10
    finally:
        for stream in deaf:
            stream.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for as many descriptors as it takes; the server inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        top = hard if hard == resource.RLIM_INFINITY else max(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), top))
    except (ValueError, PermissionError):
        cannot_run(f"needs {DESCRIPTORS} open files; the limit is {hard}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_idle_connections_keep_nobody_from_being_served(descriptors, serve) -> None:
    world = serve()
    idle: list[socket.socket] = []
    try:
        for i in range(IDLE):
            # More addresses than one, or there would not be ports enough everywhere.
            source = (f"127.0.0.{1 + i % 4}", 0)
            idle.append(socket.create_connection(("127.0.0.1", world.server.port), 30, source))
        begin = time.monotonic()
        assert world.server.anybody().get("/health").of(200) == {"status": "healthy"}
        assert world.agent.run("echo served")["stdout"] == "served\n"
        assert time.monotonic() - begin < 10
        ask = b"GET /health HTTP/1.1\r\n" + host(world.server) + b"\r\n"
        for stream in idle[:: IDLE // 50]:
            stream.sendall(ask)
            assert stream.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        for stream in idle:
            stream.close()
    world.server.stop()


def test_bodies_of_bad_kinds_leave_the_server_alive(shared: World) -> None:
    deep = b'{"env":' * 100_000
    wide = json.dumps({f"k{i}": i for i in range(100_000)}).encode()
    long = b'{"case_name": "' + b"\\u0000" * 1_000_000 + b'"}'
    numbers = b'{"limits": {"cpus": ' + b"1" * 1_000_000 + b"}}"
    for body in (deep, wide, long, numbers, b"\x00" * 1_000_000):
        assert shared.admin.post("/v1/executions", body).status in (400, 422), body[:40]
    shared.server.anybody().get("/health").of(200)
