"""Things of the host that a script must not reach, and what shows afterwards that none was.

    with Host(folder) as host:
        ...run an attack...
        host.check(cli, execution)
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from bailiff_cli import USER, Cli
from e2e_tools import PYTHON, SECONDS_MAX
from leftovers import Leftovers
from trees import differences, snapshot

HERE = Path(__file__).resolve().parent
DRIVER = (HERE / "driver.py").read_text()
SECONDS_OF_ONE = 10
IMPORTS = "import os, shutil, socket, stat, sys"
IPC_CREAT, IPC_RMID = 0o1000, 0

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p


class Host:
    """In a folder that every user can enter:

    tree/           files of the ordinary user USER, in a directory that every user may write
    socket          a listening socket that every user may connect to
    and: an abstract socket, a TCP and a UDP port on loopback, a process, a System V segment that every
    user may write, a file in /dev/shm and one in /tmp, all of them with the token in their name or
    content.
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
        self.key = secrets.randbits(30) + 1
        self.segment = libc.shmget(self.key, 4096, IPC_CREAT | 0o666)
        self.memory = (ctypes.c_char * 4096).from_address(libc.shmat(self.segment, None, 0))
        self.memory.value = self.token.encode()
        self.leftovers = Leftovers()
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
            "PID": self.process.pid, "KEY": self.key,
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

    def check(self, cli: Cli, *executions: str, seconds: float = SECONDS_MAX) -> None:
        """Fails when anything of the host was reached, or when anything of the runs stays for longer
        than `seconds`. Without executions: of all that the workspace knows."""
        assert self.received() == []
        now = snapshot(self.tree, ())
        changed = differences(self.before, now, lambda _, want, have: want.mtime_ns == have.mtime_ns)
        assert changed == []
        assert self.process.poll() is None, "the host's process was ended"
        assert [path for path in self.shared if path.read_text() != self.token] == []
        assert self.memory.value == self.token.encode(), "the host's memory was written"
        assert self.left_in_shared_places() == []
        assert core_files(cli.home) == [] and core_files(self.folder) == []
        known = list(executions or ids_of(cli))
        deadline = time.monotonic() + seconds
        while left := self.leftovers.find(cli, known):
            assert time.monotonic() < deadline, f"left on the host: {left}"
            select.select([], [], [], 0.01)

    def left_in_shared_places(self) -> list[str]:
        """Files with the token in their name that are not ours."""
        return [str(path) for folder in ("/dev/shm", "/tmp", "/var/tmp")
                for path in Path(folder).glob(f"*{self.token}*") if path not in self.shared]  # fmt: skip

    def close(self) -> None:
        for listener in (*self.listeners.values(), self.udp):
            listener.close()
        self.process.kill()
        self.process.communicate()
        libc.shmdt(ctypes.byref(self.memory))
        libc.shmctl(self.segment, IPC_RMID, None)
        for path in self.shared:
            path.unlink(missing_ok=True)

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ids_of(cli: Cli) -> list[str]:
    return [document["execution_id"] for document in cli.json(["list", "--limit", "1000"])["executions"]]


def core_files(folder: Path) -> list[str]:
    """By descriptors, as paths may be longer than PATH_MAX."""
    return [f"{top}/{name}" for top, _, names, _ in os.fwalk(folder) for name in names
            if name == "core" or name.startswith("core.")]  # fmt: skip


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


def run_bare(cli: Cli, folder: Path, code: str) -> None:
    """Runs Python as the user of `cli`, in a folder, with nothing in between."""
    who: dict[str, Any] = {}
    if cli.uid != os.geteuid():
        who = {"user": cli.uid, "group": cli.uid, "extra_groups": []}
    subprocess.run([PYTHON, "-c", f"{IMPORTS}\n{code}"], cwd=folder, timeout=SECONDS_MAX, check=True, **who)


def run_on_a_copy(host: Host, cli: Cli, code: str) -> Path:
    """What the same code leaves of a copy of the workspace where nothing confines it."""
    copy = host.folder / f"copy-{secrets.token_hex(4)}"
    subprocess.run(["cp", "-a", cli.workspace, copy], check=True)
    shutil.rmtree(copy / ".bailiff")
    run_bare(cli, copy, code)
    return copy


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
