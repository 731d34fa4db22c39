"""What looks at the host after an attack sees each thing that an attack could do."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bailiff_cli import Bench, Cli
from host import Host, processes_of


def connect(family: int, address: object) -> None:
    with socket.socket(family) as client:
        client.connect(address)


def send(host: Host) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", host.values["UDP"]))


TRACES: dict[str, Callable[[Host, Cli], object]] = {
    "a file is written": lambda host, _: (host.tree / "file").write_text("other"),
    "a file is written with the same bytes": lambda host, _: (host.tree / "file").write_text(host.token),
    "a file is made": lambda host, _: (host.tree / "other").touch(),
    "a file is gone": lambda host, _: (host.tree / "file").unlink(),
    "a mode is changed": lambda host, _: (host.tree / "file").chmod(0o600),
    "a connection by path": lambda host, _: connect(socket.AF_UNIX, host.values["SOCKET"]),
    "a connection by abstract name": lambda host, _: connect(socket.AF_UNIX, "\0" + host.token),
    "a connection to a port": lambda host, _: connect(socket.AF_INET, ("127.0.0.1", host.values["TCP"])),
    "a datagram": lambda host, _: send(host),
    "a process is ended": lambda host, _: (host.process.kill(), host.process.wait()),
    "shared memory is written": lambda host, _: host.shared[0].write_text("other"),
    "a temporary file is made": lambda host, _: Path(f"/tmp/left-{host.token}").touch(),
    "a core file": lambda _, cli: (cli.home / "core").touch(),
    "a mount": lambda _, cli: subprocess.run(["mount", "-t", "tmpfs", "x", cli.workspace], check=True),
}


@pytest.mark.parametrize("trace", TRACES)
def test_each_trace_is_seen(host: Host, bench: Bench, trace: str) -> None:
    cli = bench.cli("privileged")
    cli.workspace.mkdir()
    host.check(cli, "exec_none")
    TRACES[trace](host, cli)
    try:
        with pytest.raises(AssertionError):
            host.check(cli, "exec_none")
    finally:
        Path(f"/tmp/left-{host.token}").unlink(missing_ok=True)
        if os.path.ismount(cli.workspace):
            subprocess.run(["umount", cli.workspace], check=True)


def test_a_process_of_a_run_is_found(host: Host) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE,
                          env={"EXECUTION_ID": host.token}) as left:  # fmt: skip
        assert left.pid in processes_of(host.token)
