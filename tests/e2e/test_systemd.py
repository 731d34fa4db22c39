"""The unit files, and what systemd does for a server, done by a parent that is not systemd."""

from __future__ import annotations

import configparser
import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from bailiff_cli import REPOSITORY, Bench, Cli
from e2e_tools import SECONDS_MAX
from server_tools import Server

UNITS = REPOSITORY / "deploy/systemd"
# systemd's part: the socket as descriptor 3, and the pid that may use it.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def health(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    connection.request("GET", "/health")
    return connection.getresponse().status


def test_a_server_takes_over_the_socket_and_tells_when_it_is_ready(ws: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:  # fmt: skip
        listening.set_inheritable(True)
        path = ws.home / "notify"
        notified.bind(str(path))
        path.chmod(0o666)
        notified.settimeout(SECONDS_MAX)
        number = listening.fileno()
        process = ws.start(
            ["serve"], under=[sys.executable, "-c", ACTIVATE, str(number)], pass_fds=[number],
            env=ws.environment() | {"NOTIFY_SOCKET": str(path)})  # fmt: skip
        try:
            assert notified.recv(100) == b"READY=1"
            assert health(listening.getsockname()[1]) == 200
            process.send_signal(signal.SIGTERM)
            assert notified.recv(100) == b"STOPPING=1"
            _, err = process.communicate(timeout=SECONDS_MAX)
            assert process.returncode == 0, err
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        # Without an inherited one it would have been 8124.
        assert b"listening on 127.0.0.1:8124\n" not in err


def test_a_socket_for_another_process_is_left_alone(ws: Cli) -> None:
    variables = ws.environment() | {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    with Server(ws, env=variables) as server:
        server.stop()


def test_the_unit_files_are_right(bench: Bench) -> None:
    for name in ("bailiff@.service", "bailiff@.socket"):
        text = (UNITS / name).read_text().replace("/usr/local/bin/bailiff", str(bench.binary))
        (bench.root / name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", bench.root / "bailiff@x.service",
         bench.root / "bailiff@x.socket"], capture_output=True, text=True, timeout=60)  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, ""), checked


def test_the_unit_leaves_the_launcher_what_it_needs() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(Path(UNITS / "bailiff@.service"))
    service = parser["Service"]
    assert service["Type"] == "notify" and service["Delegate"] == "yes"
    for option in ("RestrictNamespaces", "CapabilityBoundingSet", "PrivateUsers", "ProtectHome",
                   "ProtectKernelTunables", "ProtectKernelLogs", "ProtectProc", "ProcSubset",
                   "MemoryDenyWriteExecute", "SystemCallFilter"):  # fmt: skip
        assert option not in service, option
