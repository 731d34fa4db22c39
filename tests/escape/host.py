"""Things of the host that a script must not reach, and what shows afterwards that none was.

    with Host(folder) as host:
        ...run an attack...
        host.check(cli, document)
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any

from bailiff_cli import USER, Cli
from e2e_tools import PYTHON, cgroups_named, mounts_with, wait_until
from trees import differences, snapshot

HERE = Path(__file__).resolve().parent
DRIVER = (HERE / "driver.py").read_text()
SECONDS_OF_ONE = 10


class Host:
    """In a folder that every user can enter:

    tree/           files of the ordinary user USER, in a directory that every user may write
    socket          a listening socket that every user may connect to
    and: an abstract socket, a TCP and a UDP port on loopback, a process, a System V segment, a file in
    /dev/shm and one in /tmp, all of them with the token in their name or content.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = f"canary-{secrets.token_hex(8)}"
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.tree.chmod(0o777)
        (self.tree / "file").write_text(self.token)
        (self.tree / "file").chmod(0o666)
        os.chown(self.tree / "file", USER, USER)
        self.socket_path = folder / "socket"
        self.listeners = {
            "socket": self._listen(socket.AF_UNIX, str(self.socket_path)),
            "abstract socket": self._listen(socket.AF_UNIX, f"\0{self.token}"),
            "TCP port": self._listen(socket.AF_INET, ("127.0.0.1", 0)),
        }
        self.socket_path.chmod(0o777)
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", "read line", self.token], stdin=subprocess.PIPE,
            env={"CANARY": self.token}, start_new_session=True)  # fmt: skip
        self.shared = [Path("/dev/shm") / self.token, Path("/tmp") / self.token]
        for path in self.shared:
            path.write_text(self.token)
            path.chmod(0o666)
        self.remember()

    @staticmethod
    def _listen(family: int, address: Any) -> socket.socket:
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen(256)
        listener.setblocking(False)
        return listener

    @property
    def values(self) -> dict[str, Any]:
        """What the attacks know of the host."""
        return {
            "TREE": str(self.tree), "FILE": str(self.tree / "file"), "TOKEN": self.token,
            "SOCKET": str(self.socket_path), "ABSTRACT": self.token, "NAME": "{name}",
            "TCP": self.listeners["TCP port"].getsockname()[1], "UDP": self.udp.getsockname()[1],
            "PID": self.process.pid,
        }  # fmt: skip

    def remember(self) -> None:
        """From here on, nothing may change."""
        self.before = snapshot(self.tree, ())
        self.received()

    def received(self) -> list[str]:
        """What has come by a socket since the last time; for a connection, its first bytes."""
        found = []
        for name, listener in self.listeners.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.settimeout(1)
                        with contextlib.suppress(OSError):
                            found.append(f"{name}: {peer.recv(1 << 12).decode(errors='replace')}")
                            continue
                    found.append(f"{name}: ?")
        with contextlib.suppress(BlockingIOError):
            while data := self.udp.recv(1 << 12):
                found.append(f"UDP port: {data!r}")
        return found

    def check(self, cli: Cli, execution: str) -> None:
        """Fails when anything of the host was reached, or anything of the run stays."""
        assert self.received() == []
        now = snapshot(self.tree, ())
        changed = differences(self.before, now, lambda _, want, have: want.mtime_ns == have.mtime_ns)
        assert changed == []
        assert self.process.poll() is None, "the host's process was ended"
        assert [path for path in self.shared if path.read_text() != self.token] == []
        assert self.left_in_shared_places() == []
        wait_until(lambda: not processes_of(execution), "the end of the run's processes")
        wait_until(lambda: not cgroups_named(execution), "the end of the run's cgroups")
        assert mounts_with(execution) == [] and mounts_with(str(cli.workspace)) == []
        assert core_files(cli.home) == [] and core_files(self.folder) == []
        assert ipc_of_sandboxes() == []

    def left_in_shared_places(self) -> list[str]:
        """Files with the token in their name that are not ours."""
        return [str(path) for folder in ("/dev/shm", "/tmp", "/var/tmp")
                for path in Path(folder).glob(f"*{self.token}*") if path not in self.shared]  # fmt: skip

    def close(self) -> None:
        for listener in (*self.listeners.values(), self.udp):
            listener.close()
        self.process.kill()
        self.process.communicate()
        for path in self.shared:
            path.unlink(missing_ok=True)

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def processes_of(execution: str) -> list[int]:
    """The processes that were started in the sandbox of an execution, by their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if execution.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(int(pid))
    return found


def core_files(folder: Path) -> list[str]:
    """By descriptors, as paths may be longer than PATH_MAX."""
    return [f"{top}/{name}" for top, _, names, _ in os.fwalk(folder) for name in names
            if name == "core" or name.startswith("core.")]  # fmt: skip


def ipc_of_sandboxes() -> list[str]:
    """System V objects of the host that the uid of a sandbox has made."""
    found = []
    for kind in ("shm", "sem", "msg"):
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
        creator = lines[0].split().index("cuid")
        found += [f"{kind} {line}" for line in lines[1:] if int(line.split()[creator]) >= 2_000_000_000]
    return found


def order(scripts: dict[str, str], values: dict[str, Any]) -> bytes:
    return json.dumps({"scripts": scripts, "values": values, "seconds": SECONDS_OF_ONE}).encode()


def results(output: bytes) -> dict[str, str]:
    lines = [json.loads(line) for line in output.decode().splitlines()]
    return {line["name"]: line["result"] for line in lines}


def run_outside(
    scripts: dict[str, str], values: dict[str, Any], folder: Path, uid: int, **variables: str
) -> dict[str, str]:
    """What each attack comes to where nothing confines it."""
    who: dict[str, Any] = {}
    if uid != os.geteuid():
        who = {"user": uid, "group": uid, "extra_groups": []}
    done = subprocess.run(
        [PYTHON, "-c", DRIVER], input=order(scripts, values), stdout=subprocess.PIPE, cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8",
             **variables},
        timeout=SECONDS_OF_ONE * (len(scripts) + 1), check=True, start_new_session=True, **who)  # fmt: skip
    return results(done.stdout)


def run_inside(
    cli: Cli, scripts: dict[str, str], values: dict[str, Any], *options: str
) -> tuple[str, dict[str, str]]:
    """The id of the execution in which all attacks were tried, and what each came to."""
    document = cli.json(
        ["exec", "--mode", "discard", "--stdin", *options, "--", PYTHON, "-c", DRIVER],
        order(scripts, values))  # fmt: skip
    assert document["status"] == "succeeded", document
    assert not document["stdout_truncated"]
    return document["execution_id"], results(document["stdout"].encode())
