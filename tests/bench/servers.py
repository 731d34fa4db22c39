"""Servers to be measured: Bailiff's own and what it stands beside, and the ways to ask them."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

from engines import PYTHON, Places

HERE = pathlib.Path(__file__).resolve().parent
WRK = "/usr/bin/wrk"
CONNECTIONS = 8
START_SECONDS_MAX = 30


class Client:
    """One connection that is kept; requests are sent as bytes, so that little of it is Python's."""

    def __init__(self, port: int, token: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = f"Host: 127.0.0.1:{port}\r\n"
        if token:
            self._headers += f"Authorization: Bearer {token}\r\n"

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        head = f"{method} {target} HTTP/1.1\r\n{self._headers}"
        if method == "POST":
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        length = 0
        for line in answer[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        parts = [answer[end + 4 :]]
        missing = length - len(parts[0])
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return int(answer[9:12]), b"".join(parts)

    def get(self, target: str) -> Any:
        status, body = self.ask("GET", target)
        if status != 200:
            raise RuntimeError(f"GET {target}: {status}: {body.decode()}")
        return json.loads(body)

    def _more(self) -> bytes:
        piece = self._socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece


class Server:
    """`bailiff serve` on a workspace, from its start until close()."""

    def __init__(self, places: Places, workspace: pathlib.Path, *options: str) -> None:
        self.port = free_port()
        self._bailiff = places.bailiff(workspace)
        self._log = open(f"{workspace}.serve.log", "ab")  # noqa: SIM115
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [*self._bailiff, "serve", "--listen", f"127.0.0.1:{self.port}", *options],
            stdout=self._log, stderr=self._log)  # fmt: skip
        while not self._answers():
            if self.process.poll() is not None or time.perf_counter() - begin > START_SECONDS_MAX:
                self.close()
                log = pathlib.Path(self._log.name).read_text()
                raise RuntimeError(f"bailiff serve did not start: {log}")
            time.sleep(0.0005)
        self.start_seconds = time.perf_counter() - begin

    def _answers(self) -> bool:
        try:
            client = Client(self.port)
        except ConnectionRefusedError:
            return False
        status, _ = client.ask("GET", "/health")
        client.close()
        return status == 200

    def token(self, name: str, role: str, *cases: str) -> str:
        scope = [word for case in cases for word in ("--case", case)]
        made = subprocess.run([*self._bailiff, "--json", "token", "create", name, "--role", role,
                               *scope], check=True, capture_output=True)  # fmt: skip
        return json.loads(made.stdout)["token"]

    def rss_mib(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines()
                    if line.startswith("VmRSS"))  # fmt: skip

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self._log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Rate:
    """One row: a URL that wrk asks for as fast as it can."""

    name: str
    url: str
    token: str = ""
    samples: list[dict[str, float]] = field(default_factory=list)

    def run(self, seconds: int) -> None:
        header = ["-H", f"Authorization: Bearer {self.token}"] if self.token else []
        done = subprocess.run([WRK, "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s",
                               str(HERE / "wrk.lua"), *header, self.url],
                              check=True, capture_output=True, text=True)  # fmt: skip
        sample = json.loads(done.stdout.splitlines()[-1])
        if sample["errors"] != 0 and "http.server" not in self.name:
            raise RuntimeError(f"{self.name}: {done.stdout}")
        sample["per_second"] = sample["requests"] / sample["seconds"]
        self.samples.append(sample)

    def median(self, key: str) -> float:
        return statistics.median(sample[key] for sample in self.samples)


def program(name: str) -> str:
    """One of the programs that CMake builds for the benchmarks alone."""
    folder = os.environ.get("BENCH_PROGRAMS", str(HERE.parents[1] / "build/tests/bench"))
    return str(pathlib.Path(folder) / name)


def python_server(folder: pathlib.Path) -> tuple[subprocess.Popen[bytes], int]:
    """`python3 -m http.server`, with a file `health` of what the others answer."""
    (folder / "health").write_text('{\n  "status": "healthy"\n}\n')
    port = free_port()
    process = subprocess.Popen(
        [PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1",
         "--directory", str(folder), str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            Client(port).close()
            return process, port
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                process.kill()
                raise
            time.sleep(0.01)


def echo_server() -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen([program("bench_echo")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, int(process.stdout.readline())
