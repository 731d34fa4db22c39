"""Drives `bailiff serve`: starts it, makes tokens, and speaks HTTP with it, well and badly. And what
its webhooks reach, and what the kernel says of its threads."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bailiff_cli import Bench, Cli, remove_tree
from e2e_tools import SECONDS_MAX, wait_until

ENDED = {"succeeded", "failed", "timed_out", "oom_killed", "limit_exceeded", "cancelled",
         "interrupted", "denied", "error"}  # fmt: skip


class Reply(NamedTuple):
    """One answer of the server."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def of(self, status: int) -> Any:
        """The document of an answer that has to have this status."""
        assert self.status == status, self
        return self.json

    def problem(self, status: int, code: str | None = None, field: str | None = None) -> Any:
        """The problem of an answer that has to be this refusal."""
        assert self.status == status, self
        assert self.headers["Content-Type"] == "application/problem+json", self
        problem = self.json
        assert problem["status"] == status and problem["detail"] and problem["type"], problem
        assert code is None or problem["code"] == code, problem
        assert field is None or problem.get("field") == field, problem
        return problem


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, whose path may be long."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        folder = os.open(self.path.parent, os.O_PATH)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)


class Client:
    """Who asks: the holder of one token, of none, or a process on the unix socket."""

    def __init__(self, server: Server, token: str | None = None, unix: bool = False) -> None:
        self.server = server
        self.token = token
        self.unix = unix

    def connection(self, timeout: float = SECONDS_MAX) -> http.client.HTTPConnection:
        if self.unix:
            return UnixConnection(self.server.cli.state / "socket", timeout)
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=timeout)

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        return headers | (more or {})

    def ask(self, method: str, path: str, body: Any = None, **more: str) -> Reply:
        """One request on a connection of its own. A body that is no bytes is sent as JSON; `more`
        are headers, with _ for -."""
        headers = self.headers({name.replace("_", "-"): value for name, value in more.items()})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connection()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **more: str) -> Reply:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: str) -> Reply:
        return self.ask("POST", path, body, **more)

    def submit(self, code: str, wait: float = 0, language: str = "bash", **fields: Any) -> Any:
        """The document of a run of `code`, which the server has to take."""
        body = {"code": code, "language": language, **fields}
        return self.post(f"/v1/executions?wait={wait}", body).of(201)

    def run(self, code: str, language: str = "bash", **fields: Any) -> Any:
        """The document of a run that has ended."""
        document = self.submit(code, SECONDS_MAX, language, **fields)
        assert document["status"] in ENDED, document
        return document

    def show(self, execution: str) -> Any:
        return self.get(f"/v1/executions/{execution}").of(200)

    def until(self, execution: str, *statuses: str) -> Any:
        """The document once it has one of these statuses."""
        def reached() -> Any:
            document = self.show(execution)
            return document if document["status"] in statuses else None

        return wait_until(reached, f"{execution} is one of {statuses}")

    def held(self, path: str = "note.txt", text: str = "held", **fields: Any) -> Any:
        """A run whose one change waits for review."""
        document = self.run(f"printf %s '{text}' > '/workspace/{path}'", mode="review", **fields)
        assert document["changes"]["state"] == "held", document
        return document

    def approve(self, document: Any, **more: str) -> Reply:
        return self.post(f"/v1/executions/{document['execution_id']}/approve",
                         {"digest": document["changes"]["digest"]}, **more)  # fmt: skip


class Event(NamedTuple):
    name: str
    id: str
    data: Any


class Events:
    """Server-sent events of one execution, read one by one."""

    def __init__(self, client: Client, execution: str, last: str | None = None) -> None:
        self.connection = client.connection()
        more = {} if last is None else {"Last-Event-ID": last}
        self.connection.request("GET", f"/v1/executions/{execution}/events", None,
                                client.headers(more))  # fmt: skip
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def __iter__(self) -> Iterator[Event]:
        lines: dict[str, str] = {}
        while raw := self.answer.readline():
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                lines[name] = value
            elif "event" in lines:
                yield Event(lines["event"], lines["id"], json.loads(lines["data"]))
                lines = {}

    def until(self, name: str) -> Event:
        for event in self:
            if event.name == name:
                return event
        raise AssertionError(f"the stream ended before {name}")

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class Server:
    """`bailiff serve` on a workspace, at a port of its own."""

    def __init__(self, cli: Cli, *options: str, **popen: Any) -> None:
        self.cli = cli
        self.options = options
        self.popen = popen  # Further options of its process.
        self.log_file = cli.home / "server.log"
        self.log_file.touch()
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        seen = len(self.log)
        with self.log_file.open("ab") as log:  # A pipe that nobody reads would stop it some day.
            self.process = self.cli.start(
                ["serve", "--listen", "127.0.0.1:0", *self.options],
                stdout=subprocess.DEVNULL, stderr=log, **self.popen)  # fmt: skip

        def listens() -> Any:
            assert self.process.poll() is None, self.log
            return b"/socket\n" in self.log[seen:]  # The last of the "listening on" lines.

        wait_until(listens, "the server listens")
        lines = [ln for ln in self.log[seen:].splitlines() if b"listening on 127.0.0.1:" in ln]
        self.port = int(lines[0].rpartition(b":")[2])

    @property
    def log(self) -> bytes:
        return self.log_file.read_bytes()

    def token(self, name: str, role: str, *options: str) -> Client:
        made = self.cli.ok(["token", "create", name, "--role", role, *options])
        return Client(self, made.stdout.decode().strip())

    def anybody(self) -> Client:
        return Client(self)

    def local(self) -> Client:
        return Client(self, unix=True)

    def with_password(self, token: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"x:{token}".encode()).decode()}

    def stop(self) -> None:
        """Ends it with SIGTERM, which has to do."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=SECONDS_MAX)
        assert self.process.returncode == 0, self.log

    def kill(self) -> None:
        """Ends it with SIGKILL, and it alone: what it had started may live on."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=SECONDS_MAX)

    def restart(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self.start()

    def records(self, kind: str) -> list[Any]:
        """What the ledger has of one type."""
        found = self.cli.json(["audit", "show"])["records"]
        return [record["data"] for record in found if record["type"] == kind]

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class World(NamedTuple):
    """A server and those who use it."""

    server: Server
    agent: Client
    reviewer: Client
    admin: Client
    workspace: Path


def make_world(bench: Bench, *options: str, config: str = "") -> World:
    cli = bench.workspace("privileged")
    (cli.state / "bailiff.toml").write_text(config)
    server = Server(cli, *options)
    return World(server, server.token("agent", "agent"), server.token("rita", "reviewer"),
                 server.token("root", "admin"), cli.workspace)  # fmt: skip


def end_world(world: World) -> None:
    world.server.close()
    remove_tree(world.server.cli.home)


def raw(server: Server, request: bytes, seconds: float = SECONDS_MAX) -> bytes:
    """All that the server answers to these bytes, until it closes; the client sends no more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as stream:
        stream.sendall(request)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := stream.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in a row of them."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def files_with(folder: Path, text: bytes) -> Sequence[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


class Message(NamedTuple):
    """What a receiver of webhooks was sent."""

    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Takes webhooks on loopback; `answer` gives the status for the number of a message."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 200) -> None:
        self.messages: queue.Queue[Message] = queue.Queue()
        seen = iter(range(1_000_000))
        messages = self.messages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                messages.put(Message(self.headers, body))  # Before another can be sent.
                self.send_response(answer(next(seen)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # By name, so that names are resolved.
        self.url = f"http://localhost:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, seconds: float = SECONDS_MAX) -> Message:
        return self.messages.get(timeout=seconds)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def threads_of(process: subprocess.Popen[bytes]) -> list[dict[str, str]]:
    """What the kernel says of each thread of a process."""
    found = []
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return found


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
