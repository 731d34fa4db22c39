"""A `bailiff serve` of a workspace, asked over its unix socket, and a receiver of webhooks."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bailiff_cli import Cli
from e2e_tools import SECONDS_MAX, wait_until


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, whose path may be long."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS_MAX)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS_MAX)
        folder = os.open(self.path.parent, os.O_PATH)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)


class Reply(NamedTuple):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`with Server(cli) as server:`; it listens at its unix socket alone."""

    def __init__(self, cli: Cli, args: Sequence[str] = ("--no-tcp",), **options: Any) -> None:
        self.cli = cli
        self.socket = cli.state / "socket"
        self.log = cli.home / "serve.log"
        with self.log.open("ab") as log:
            self.process = cli.start(["serve", *args], stderr=log, **options)
        wait_until(self.answers, "the server answers")

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/health").status == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        connection = UnixConnection(self.socket)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        reply = Reply(response.status, response.read())
        connection.close()
        return reply

    def run(self, code: str, mode: str = "commit", **more: Any) -> Any:
        """The document of a run of Python code that has ended."""
        made = self.ask("POST", "/v1/executions", {"code": code, "mode": mode} | more)
        assert made.status in (200, 201, 202), made
        path = "/v1/executions/" + made.json["execution_id"]

        def ended() -> Any:
            document = self.ask("GET", path).json
            return None if document["status"] in ("queued", "running") else document

        return wait_until(ended, "the end of the run", 60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_MAX)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=SECONDS_MAX)


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
