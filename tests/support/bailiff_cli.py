"""Drives the real binary, in both tiers, from pytest.

    def test_a_run_is_recorded(ws):                       # once per tier
        document = ws.json(["exec", "--", "/bin/true"])
        assert document["status"] == "succeeded"

The tier "privileged" runs Bailiff as root; "rootless" as an ordinary user that owns everything it
touches. Both work in folders of their own below /tmp, which are removed afterwards. With
BAILIFF_TESTS_WORKSPACES=fuse the workspaces lie on FUSE, the states do not: see fuse_mounts.py.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fuse_mounts import OWNER, FuseMounts

REPOSITORY = Path(__file__).resolve().parents[2]
TIERS = ("privileged", "rootless")
ON_FUSE = os.environ.get("BAILIFF_TESTS_WORKSPACES") == "fuse"
# Of the rootless tier, and its group: no account of the host has it, and no other process that runs
# tests, so that what is left of a run can be told from what others do.
USER = 1_000_000_000 + os.getpid()
SECONDS_MAX = 120


class Answer(NamedTuple):
    """What one command gave."""

    exit: int
    stdout: bytes
    stderr: bytes


def cannot_run(reason: str) -> None:
    """Ends a test that cannot run here: a failure where all tests must run, else a skip."""
    if os.environ.get("BAILIFF_TESTS_MUST_RUN"):
        pytest.fail(f"{reason}, and BAILIFF_TESTS_MUST_RUN is set")
    pytest.skip(reason)


def require_root() -> None:
    if os.geteuid() != 0:
        cannot_run("needs root")


def find_binary() -> Path:
    named = os.environ.get("BAILIFF_BINARY")
    return Path(named).resolve() if named else REPOSITORY / "build" / "bailiff"


def require_plain_build(reason: str) -> None:
    """For what AddressSanitizer changes: the calls that a process makes, the address space it has."""
    if b"__asan_init" in find_binary().read_bytes():
        cannot_run(f"not with sanitizers: {reason}")


def remove_tree(path: Path) -> None:
    """Removes a tree whatever the modes in it are; paths in it may be longer than PATH_MAX."""

    def open_up(directory: int, name: str) -> None:
        os.chmod(name, 0o700, dir_fd=directory)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            for entry in os.listdir(inner):
                if stat.S_ISDIR(os.lstat(entry, dir_fd=inner).st_mode):
                    open_up(inner, entry)
        finally:
            os.close(inner)

    if not path.exists():
        return
    if os.geteuid() != 0:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            open_up(parent, path.name)
        finally:
            os.close(parent)
    shutil.rmtree(path)


class Cli:
    """`bailiff` for one workspace, as the user of one tier."""

    def __init__(self, tier: str, workspace: Path, state: Path, binary: Path) -> None:
        assert tier in TIERS, tier
        self.tier = tier
        self.workspace = workspace
        self.state = state
        self.binary = binary
        self.home = state.parent
        self.groups: list[int] = []  # Besides its own.

    @property
    def is_privileged(self) -> bool:
        return self.tier == "privileged"

    @property
    def uid(self) -> int:
        """The user that Bailiff runs as."""
        if self.is_privileged or os.geteuid() != 0:
            return os.geteuid()
        return USER

    @property
    def owner(self) -> int:
        """Whom the files of a workspace belong to that this user made."""
        return OWNER if ON_FUSE and self.uid == 0 else self.uid

    def environment(self) -> dict[str, str]:
        kept = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment["HOME"] = environment["XDG_STATE_HOME"] = str(self.home)
        environment["LC_ALL"] = "C.UTF-8"
        return environment

    def start(
        self, args: Sequence[str | bytes | Path], under: Sequence[str] = (), **options: Any
    ) -> subprocess.Popen[bytes]:
        """Starts a command; both output streams are pipes unless `options` say otherwise. `under`
        is a program that runs it, for example strace with its options."""
        options = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "env": self.environment(), "cwd": self.home, "start_new_session": True,
        } | options  # fmt: skip
        if self.uid != os.geteuid():
            options |= {"user": self.uid, "group": self.uid, "extra_groups": self.groups}
        elif self.groups:
            options |= {"extra_groups": self.groups}
        command = [str(self.binary), "--workspace", str(self.workspace), "--state", str(self.state)]
        return subprocess.Popen([*under, *command, *args], **options)

    def run(
        self,
        args: Sequence[str | bytes | Path],
        stdin: bytes | None = None,
        seconds: float = SECONDS_MAX,
        under: Sequence[str] = (),
    ) -> Answer:
        """Runs a command to its end. `stdin` is fed to it (`--stdin` passes it on to a script)."""
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        with self.start(args, under, stdin=source) as process:
            try:
                out, err = process.communicate(stdin, timeout=seconds)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return Answer(process.returncode, out, err)

    def json(self, args: Sequence[str | bytes | Path], stdin: bytes | None = None) -> Any:
        """The one document that a command prints with --json, whatever its exit status."""
        answer = self.run(["--json", *args], stdin)
        try:
            return json.loads(answer.stdout)
        except ValueError:
            words = " ".join(str(arg) for arg in args)
            raise AssertionError(f"no JSON document from bailiff {words}: {answer}") from None

    def ok(self, args: Sequence[str | bytes | Path], stdin: bytes | None = None) -> Answer:
        """Runs a command that has to exit 0."""
        answer = self.run(args, stdin)
        assert answer.exit == 0, f"bailiff {' '.join(map(str, args))}: {answer}"
        return answer

    def own(self, path: Path) -> Path:
        """Gives a tree that the test made to the user of this tier."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.uid, follow_symlinks=False)
            for folder, folders, files in os.walk(path):
                for name in folders + files:
                    os.chown(os.path.join(folder, name), self.uid, self.uid, follow_symlinks=False)
        return path

    def write(self, path: str, content: bytes | str = b"", mode: int = 0o644) -> Path:
        """Makes a file of the workspace, with the directories above it."""
        file = self.workspace / path
        missing = [folder for folder in file.parents if not folder.exists()]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        for made in (*missing, file):
            os.chown(made, self.uid, self.uid)
        return file


class Bench:
    """Makes workspaces in a folder of its own that every user can reach."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="bailiff-test-", dir="/tmp"))
        self.root.chmod(0o755)
        self._numbers = itertools.count()
        binary = find_binary()
        if not binary.exists():
            pytest.fail(f"no {binary}: build it, or name another with BAILIFF_BINARY")
        self.binary = self.root / "bailiff"  # The repository may lie where another user cannot go.
        shutil.copy2(binary, self.binary)
        self.binary.chmod(0o755)
        self._fuse = FuseMounts(self.root, USER) if ON_FUSE else None

    def folder(self, cli_uid: int) -> Path:
        """A fresh folder that belongs to that user."""
        path = self.root / f"{next(self._numbers):04}"
        path.mkdir(mode=0o755)
        os.chown(path, cli_uid, cli_uid)
        return path

    def cli(self, tier: str, workspace: Path | None = None) -> Cli:
        """A Cli for a workspace that has not been made yet."""
        if tier == "privileged":
            require_root()
        uid = USER if tier == "rootless" and os.geteuid() == 0 else os.geteuid()
        home = self.folder(uid)
        place = home if self._fuse is None else self._fuse.folder(uid, home.name)
        return Cli(tier, workspace or place / "workspace", home / "state", self.binary)

    def workspace(self, tier: str) -> Cli:
        """A Cli for a fresh workspace."""
        cli = self.cli(tier)
        cli.ok(["init", cli.workspace])
        return cli

    def close(self) -> None:
        if self._fuse is not None:
            self._fuse.close()
        remove_tree(self.root)


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ws(bench: Bench, tier: str) -> Iterator[Cli]:
    """A fresh workspace, once in each tier."""
    cli = bench.workspace(tier)
    yield cli
    remove_tree(cli.home)


@pytest.fixture
def privileged_ws(bench: Bench) -> Iterator[Cli]:
    """A fresh workspace in the privileged tier."""
    cli = bench.workspace("privileged")
    yield cli
    remove_tree(cli.home)
