"""What looks at the host after an attack sees each thing that an attack could do."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from bailiff_cli import USER, Bench, Cli
from e2e_tools import PYTHON
from host import Host
from leftovers import LEASES

NO_RUN = "exec_none"
SANDBOX_UID = 2_000_004_096  # The first beyond those that Bailiff gives.


def connect(family: int, address: object) -> None:
    with socket.socket(family) as client:
        client.connect(address)


def send(host: Host) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", host.values["UDP"]))


REACHED: dict[str, Callable[[Host, Cli], object]] = {
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
    "a segment is written": lambda host, _: host.memory.__setattr__("value", b"other"),
    "a temporary file is made": lambda host, _: Path(f"/tmp/left-{host.token}").touch(),
    "a core file": lambda _, cli: (cli.home / "core").touch(),
}


@pytest.fixture
def cli(bench: Bench) -> Cli:
    made = bench.cli("privileged")
    made.workspace.mkdir()
    return made


@pytest.mark.parametrize("trace", REACHED)
def test_what_is_reached_is_seen(host: Host, cli: Cli, trace: str) -> None:
    host.check(cli, NO_RUN)
    REACHED[trace](host, cli)
    try:
        with pytest.raises(AssertionError, match="^(?!left on the host)"):
            host.check(cli, NO_RUN)
    finally:
        Path(f"/tmp/left-{host.token}").unlink(missing_ok=True)


# What stays of a run. Each is there while the block runs, and names what sees it.


@contextmanager
def process(
    command: list[str | Path], uid: int = 0, folder: Path = Path("/"), **variables: str
) -> Iterator[None]:
    """One that says a line when it is as it should be, and ends with its input."""
    who = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder,
                          env=variables, **who) as started:  # fmt: skip
        assert started.stdout.readline() == b"ready\n"
        yield
        started.stdin.close()


WAITING = ["/bin/sh", "-c", "echo ready; read x"]


def mounting(kind: str, target: Path | str) -> list[str | Path]:
    """Mounts something in a namespace of its own."""
    return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c",
            f"{kind} {str(target)!r} && echo ready && read x"]


@contextmanager
def mount(kind: str, target: Path) -> Iterator[None]:
    subprocess.run([*kind.split(), target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


@contextmanager
def bailiff(cli: Cli) -> Iterator[None]:
    """One that waits for its script, with another workspace."""
    other = Cli(cli.tier, cli.home / "other", cli.home / "other-state", cli.binary)
    other.ok(["init", other.workspace])
    with other.start(["exec", "--stdin", "--", "/bin/sh", "-c", WAITING[-1]], stdin=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"ready\n"
        yield
        run.stdin.close()


@contextmanager
def lease(on_its_way: bool = False) -> Iterator[None]:
    """A lock that this process holds, or that lies in a socket, so that nobody has it open."""
    path = Path(LEASES, str(SANDBOX_UID))
    path.parent.mkdir(0o711, parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs, path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if on_its_way:
                socket.send_fds(ours, [b"x"], [file.fileno()])
                file.close()
            yield
    finally:
        path.unlink()


@contextmanager
def cgroup() -> Iterator[None]:
    top = next(Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()
               if line.split()[2].startswith("cgroup"))  # fmt: skip
    folder = top / f"{NO_RUN}.1"
    folder.mkdir()
    try:
        yield
    finally:
        folder.rmdir()


def as_user(uid: int, code: str) -> bytes:
    return subprocess.check_output(
        [PYTHON, "-c", f"import ctypes; libc = ctypes.CDLL(None)\n{code}"], user=uid, group=uid, extra_groups=[])


@contextmanager
def segment(uid: int) -> Iterator[None]:
    number = as_user(uid, "print(libc.shmget(0, 4096, 0o1600))").decode().strip()
    try:
        yield
    finally:
        subprocess.run(["ipcrm", "-m", number], check=True)


# The process's own keyring goes with it; the user's would stay.
WITH_A_KEY = """
import ctypes
assert ctypes.CDLL(None).syscall(248, b'user', b'bailiff-test', b'x', 1, -2) > 0
print('ready', flush=True)
input()
"""

LEFT: dict[str, tuple[str, Callable[[Cli], AbstractContextManager[None]]]] = {
    "one that knows its execution": (
        "a process of the run", lambda _: process(WAITING, EXECUTION_ID=NO_RUN)),
    "one with an empty environment and a sandbox's uid": (
        "a process of a sandbox's uid", lambda _: process(WAITING, SANDBOX_UID)),
    "one with an empty environment and the user's uid": (
        "a process of the user", lambda _: process(WAITING, USER)),
    "one of Bailiff": ("a process of Bailiff", bailiff),
    "one that is in the workspace": (
        "an open file", lambda cli: process(WAITING, folder=cli.workspace)),
    "one that has the workspace open": (
        "an open file", lambda cli: process(["/bin/sh", "-c", f"exec 9<{cli.workspace}; {WAITING[-1]}"])),
    "a held lease": ("a lease of a uid", lambda _: lease()),
    "a held lease that nobody has open": ("a lease of a uid", lambda _: lease(on_its_way=True)),
    "a cgroup": ("a cgroup", lambda _: cgroup()),
    "a mount": ("a mount", lambda cli: mount("mount -t tmpfs x", cli.workspace)),
    "a mount of a sandbox, at another place": (
        "a mount", lambda cli: mount("mount -t tmpfs scratch", cli.home)),
    "a mount in another namespace": (
        "a mount", lambda cli: process(mounting("mount -t tmpfs x", cli.workspace), PATH=os.environ["PATH"])),
    "a mount of the run in another namespace": (
        "a mount", lambda _: process(mounting(f"mount -t tmpfs {NO_RUN}", "/mnt"), PATH=os.environ["PATH"])),
    "a segment of a sandbox": ("an object of the kernel", lambda _: segment(SANDBOX_UID)),
    "a segment of the user": ("an object of the kernel", lambda _: segment(USER)),
    "a key of a sandbox": ("an object of the kernel", lambda _: process([PYTHON, "-c", WITH_A_KEY], SANDBOX_UID)),
}  # fmt: skip


@pytest.mark.parametrize("trace", LEFT)
def test_what_stays_is_seen_and_named(host: Host, cli: Cli, trace: str) -> None:
    kind, plant = LEFT[trace]
    host.check(cli, NO_RUN)
    with plant(cli):
        found = host.leftovers.find(cli, [NO_RUN])
        assert kind in found, found
        with pytest.raises(AssertionError, match=f"^left on the host.*{kind}"):
            host.check(cli, NO_RUN, seconds=0)
    host.check(cli, NO_RUN)


def test_what_was_there_before_and_what_is_of_others_is_not_taken_for_left(
    host: Host, cli: Cli, bench: Bench
) -> None:
    """A run by another copy of the program that goes on meanwhile, and one of ours that was there."""
    elsewhere = bench.folder(0)
    others = Cli("privileged", elsewhere / "workspace", elsewhere / "state", elsewhere / "bailiff")
    shutil.copy2(bench.binary, others.binary)
    with bailiff(others):
        host.check(cli, NO_RUN, seconds=0)
    with bailiff(cli), Host(bench.folder(0)) as later:
        later.check(cli, NO_RUN, seconds=0)
