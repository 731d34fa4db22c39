"""What the end-to-end tests share: programs to run in a sandbox, and waiting for what they do."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bailiff_cli import Answer, Cli
from trees import Tree, snapshot

PYTHON = "/usr/bin/python3"
SECONDS_MAX = 30
ID = re.compile(r"exec_\d{8}_\d{6}_[0-9a-f]{8}")


def python(code: str, *args: str) -> list[str]:
    """The end of an `exec` command line that runs this code."""
    return ["--", PYTHON, "-c", code, *args]


def writing(path: str, text: str) -> list[str]:
    """The end of an `exec` command line that writes a file of the workspace."""
    return python(f"open({('/workspace/' + path)!r}, 'w').write({text!r})")


def wait_until(happened: Callable[[], Any], what: str, seconds: float = SECONDS_MAX) -> Any:
    """The first true value of `happened`, which is asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        select.select([], [], [], 0.01)
    return value


class Held:
    """A program in a sandbox that runs `first`, says "ready", waits until the test lets go, then
    runs `code`."""

    def __init__(
        self, cli: Cli, code: str, options: Sequence[str] = (), first: str = ""
    ) -> None:  # fmt: skip
        program = f"import os, sys\n{first}\nprint('ready', flush=True)\nsys.stdin.read()\n{code}"
        self.cli = cli
        self.process = cli.start(
            ["exec", *options, "--stdin", *python(program)], stdin=subprocess.PIPE)  # fmt: skip
        self.out = self.read_line()
        assert self.out == b"ready\n", (self.out, self.process.communicate())

    def read_line(self) -> bytes:
        line = b""
        deadline = time.monotonic() + SECONDS_MAX
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            assert select.select([self.process.stdout], [], [], max(left, 0))[0], "no output"
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                break
            line += byte
        return line

    def let_go(self) -> Answer:
        """Lets the program go on, and waits for the end of Bailiff."""
        out, err = self.process.communicate(b"", timeout=SECONDS_MAX)
        return Answer(self.process.returncode, self.out + out, err)

    def end(self) -> Answer:
        """Waits for the end of Bailiff, without letting the program go on."""
        held_open = os.dup(self.process.stdin.fileno())
        try:
            out, err = self.process.communicate(timeout=SECONDS_MAX)
        finally:
            os.close(held_open)
        return Answer(self.process.returncode, self.out + out, err)

    def kill(self) -> None:
        """Ends Bailiff with SIGKILL, which leaves it no time for anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=SECONDS_MAX)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate(timeout=SECONDS_MAX)


def id_of(answer: Answer) -> str:
    """The execution that Bailiff's own words after a run name."""
    found = ID.search(answer.stderr.decode(errors="replace"))
    assert found, answer
    return found.group()


def hold_for_review(cli: Cli, path: str = "note.txt", text: str = "held\n") -> dict[str, Any]:
    """The document of a run whose one change waits for review."""
    document = cli.json(["exec", "--mode", "review", *writing(path, text)])
    assert document["changes"]["state"] == "held", document
    return document


def commit_file(cli: Cli, path: str, text: str) -> dict[str, Any]:
    """The document of a run that wrote a file, which was committed."""
    document = cli.json(["exec", *writing(path, text)])
    assert document["changes"]["state"] == "committed", document
    return document


def running_ids(cli: Cli) -> list[str]:
    listed = cli.json(["list", "--status", "running"])["executions"]
    return [document["execution_id"] for document in listed]


def executions(cli: Cli) -> int:
    return len(cli.json(["list"])["executions"])


def state_of(cli: Cli, execution: str) -> str:
    return cli.json(["show", execution])["changes"]["state"]


def contents(cli: Cli) -> dict[bytes, tuple[str, int, str]]:
    """What the workspace holds, without times and inodes."""
    tree: Tree = snapshot(cli.workspace)
    return {path: (entry.kind, entry.mode, entry.content) for path, entry in tree.items()}


def processes_with(marker: str) -> list[int]:
    """The processes of this host whose command line has the marker in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in words and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def processes_of(binary: Path) -> list[int]:
    """The processes of this host that run the binary."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe") == str(binary):
                found.append(int(pid))
        except OSError:
            continue
    return found


def cgroups_named(part: str) -> list[str]:
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if part in os.path.basename(folder)]


def mounts_with(part: str) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if part in line]


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def staged(cli: Cli) -> list[str]:
    """The change sets whose bytes are kept: in the workspace, or in its state if it is on FUSE."""
    ids = set(os.listdir(cli.workspace / ".bailiff" / "stage"))
    if (cli.state / "held/stage").exists():
        ids |= set(os.listdir(cli.state / "held/stage"))
    return sorted(ids)


def assert_nothing_left(cli: Cli, execution: str, marker: str) -> None:
    """No process, mount, cgroup or staged byte of an execution stays. `marker`: in its programs."""
    wait_until(lambda: not processes_with(marker), "the end of its processes")
    wait_until(lambda: not cgroups_named(execution), "the end of its cgroups")
    assert not mounts_with(execution) and not mounts_with(str(cli.workspace))
    assert execution not in staged(cli)
    assert os.listdir(cli.state / "scratch") == []


def bare(
    cli: Cli, args: Sequence[str | Path], cwd: Path | None = None, **variables: str
) -> Answer:
    """Runs Bailiff as the user of `cli`, without naming its workspace and state."""
    who: dict[str, Any] = {}
    if cli.uid != os.geteuid():
        who = {"user": cli.uid, "group": cli.uid, "extra_groups": []}
    done = subprocess.run(
        [cli.binary, *args], env=cli.environment() | variables, cwd=cwd or cli.home,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, **who)  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)
