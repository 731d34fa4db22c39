"""What a run can leave on the host, and whose it is.

Others may use Bailiff on this host meanwhile. Theirs is what began before, and what cannot be of this
process's tests: those alone run this copy of the program, and have the user USER. The uid of a
sandbox is another's as long as a program of root that is not ours holds its lease.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bailiff_cli import USER, Cli
from e2e_tools import cgroups_named

SANDBOX_UIDS = range(2_000_000_000, 2_000_010_000)  # More than are ever given.
LEASES = "/run/bailiff/uid"
# How a sandbox's mounts look that came to be outside of it: their paths are of no host.
SANDBOX_MOUNTS = (" - overlay workspace ", " - tmpfs scratch ", " - tmpfs root ")


KEYRINGS_OF_A_USER = 2  # The kernel makes them at a user's first call, and keeps them.


class Process(NamedTuple):
    pid: int
    started: int  # Tells it from a later one of the same number.
    uids: frozenset[int]  # Real, effective, saved, and of the file system.
    program: str

    def runs(self, binary: Path) -> bool:
        return self.program.removesuffix(" (deleted)") == str(binary)

    def __str__(self) -> str:
        return f"{self.pid} {self.program} of {sorted(self.uids)}"


def identities() -> dict[int, int]:
    """When each process of the host began, by its number. One that is a zombie has ended."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if stat[0] not in "ZX":
                found[int(pid)] = int(stat[19])
    return found


def processes(known: dict[int, int] | None = None) -> Iterator[Process]:
    """Those of the host that are not known."""
    for pid, started in identities().items():
        if known is None or known.get(pid) != started:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                uids = status.partition("\nUid:")[2].partition("\n")[0].split()
                yield Process(pid, started, frozenset(map(int, uids)), _link(f"/proc/{pid}/exe"))


def _link(path: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""  # A thread of the kernel, or gone.


def opened(process: Process) -> list[str]:
    """The paths of a process's descriptors, of its folder and of its root."""
    paths = [_link(f"/proc/{process.pid}/{name}") for name in ("cwd", "root")]
    with contextlib.suppress(OSError):
        paths += [_link(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
    return paths


def has_in_environment(pid: int, text: str) -> bool:
    with contextlib.suppress(OSError):
        return text.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    return False


def in_environment(text: str) -> list[int]:
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and has_in_environment(int(pid), text)]


def locked_leases() -> set[int]:
    """The uids that are taken, by an open descriptor or one on its way through a socket."""
    inodes = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(LEASES) as files:
        inodes = {file.inode(): int(file.name) for file in files}
    places = [line.split()[-3] for line in Path("/proc/locks").read_text().splitlines() if "FLOCK" in line]
    return {inodes[inode] for inode in (int(place.split(":")[2]) for place in places) if inode in inodes}


def mount_namespaces() -> dict[str, str]:
    """What is mounted in each that a process of the host is in."""
    found: dict[str, str] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        namespace = _link(f"/proc/{pid}/ns/mnt")
        if namespace and namespace not in found:
            with contextlib.suppress(OSError):
                found[namespace] = Path(f"/proc/{pid}/mountinfo").read_text()
    return found


def of_the_kernel() -> dict[tuple[str, int], int]:
    """How many System V objects and keys there are, by kind and uid, of sandboxes and of the user."""
    found: dict[tuple[str, int], int] = {}
    for kind in ("shm", "sem", "msg"):
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
        creator = lines[0].split().index("cuid")
        for uid in (int(line.split()[creator]) for line in lines[1:]):
            found[kind, uid] = found.get((kind, uid), 0) + 1
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/key-users").read_text().splitlines():
            uid, counts = line.split(":")
            found["key", int(uid)] = int(counts.split()[1].partition("/")[0])
    found["key", USER] = max(found.get(("key", USER), 0) - KEYRINGS_OF_A_USER, 0)
    return {(kind, uid): count for (kind, uid), count in found.items()
            if uid == USER or uid in SANDBOX_UIDS}  # fmt: skip


def _but(uids: set[int], things: dict[int, list[str]]) -> list[str]:
    return [thing for uid, named in things.items() if uid not in uids for thing in named]


class Leftovers:
    """Knows what was there when it was made, and names what has come since."""

    def __init__(self) -> None:
        self._processes = identities()
        self._leases = locked_leases()
        self._mounts = set(self._strange_mounts(mount_namespaces()))
        self._kernel = of_the_kernel()

    def find(self, cli: Cli, executions: list[str]) -> dict[str, list[str]]:
        """What there is of these runs, by its kind; the kinds without any are left out."""
        fresh = [one for one in processes(self._processes) if one.pid != os.getpid()]
        folders = (f"{cli.workspace}/", f"{cli.state}/")
        leases = {uid: [f"{LEASES}/{uid}"] for uid in locked_leases() - self._leases}
        owned = {uid: [str(one) for one in fresh if uid in one.uids]
                 for uid in {uid for one in fresh for uid in one.uids if uid in SANDBOX_UIDS}}  # fmt: skip
        objects: dict[int, list[str]] = {}
        for (kind, uid), count in of_the_kernel().items():
            if count > self._kernel.get((kind, uid), 0):
                objects.setdefault(uid, []).append(f"{kind} of {uid}: {count}")
        foreign = self._foreign_uids(cli) if leases or owned or objects else set()
        found = {
            "a process of the run": [str(one) for one in fresh
                                     if any(has_in_environment(one.pid, text) for text in executions)],
            "a process of Bailiff": [str(one) for one in fresh if one.runs(cli.binary)],
            "a process of the user": [str(one) for one in fresh if USER in one.uids],
            "a process of a sandbox's uid": _but(foreign, owned),
            "an open file": [f"{path} of {one}" for one in fresh for path in opened(one)
                             if f"{path}/".startswith(folders)],
            "a lease of a uid": _but(foreign, leases),
            "a cgroup": [path for execution in executions for path in cgroups_named(execution)],
            "a mount": self._mounts_of(cli, executions),
            "an object of the kernel": _but(foreign, objects),
        }  # fmt: skip
        return {kind: things for kind, things in found.items() if things}

    @staticmethod
    def _foreign_uids(cli: Cli) -> set[int]:
        """The uids whose lease is held by a program of root that is not ours."""
        return {int(path.rpartition("/")[2]) for one in processes()
                if one.uids == {0} and not one.runs(cli.binary) and one.pid != os.getpid()
                for path in opened(one) if path.startswith(LEASES + "/")}  # fmt: skip

    @staticmethod
    def _strange_mounts(namespaces: dict[str, str]) -> list[str]:
        """Mounts of a sandbox in this namespace, or in that of the host's first process."""
        ours = {_link(f"/proc/{pid}/ns/mnt") for pid in ("self", "1")}
        return [line for namespace in ours for line in namespaces.get(namespace, "").splitlines()
                if any(mark in line for mark in SANDBOX_MOUNTS)]  # fmt: skip

    def _mounts_of(self, cli: Cli, executions: list[str]) -> list[str]:
        namespaces = mount_namespaces()
        marks = (*executions, str(cli.workspace), str(cli.state))
        named = [f"{namespace} {line}" for namespace, text in namespaces.items()
                 for line in text.splitlines() if any(mark in line for mark in marks)]  # fmt: skip
        return named + [line for line in self._strange_mounts(namespaces) if line not in self._mounts]
