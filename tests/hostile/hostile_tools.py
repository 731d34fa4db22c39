"""What the tests of hostile workspaces share: running, committing and undoing, without a trace."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bailiff_cli import Answer, Cli
from e2e_tools import python
from sample import FULL
from trees import Tree, differences, snapshot


def of(sample: int, full: int) -> int:
    """A size: a small one in `make test`, the whole one under BAILIFF_TESTS_FULL."""
    return full if FULL else sample


def path_of(change: dict[str, Any], key: str = "path") -> bytes:
    """The exact bytes of a path in one of Bailiff's documents."""
    exact = change.get(key + "_b64")
    return base64.b64decode(exact) if exact else os.fsencode(change[key])


def run_code(cli: Cli, code: str, *args: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """The document of a run of Python code whose working directory is the workspace."""
    return cli.json(["exec", *options, *python(code, *args)])


def changes_of(cli: Cli, execution: str) -> list[dict[str, Any]]:
    return cli.json(["changes", execution])["changes"]


def same_file_time(path: bytes, want: Any, have: Any) -> bool:
    return want.kind == "dir" or want.mtime_ns == have.mtime_ns


def assert_same(expected: Tree, found: Tree) -> None:
    lines = differences(expected, found, same_file_time)
    assert not lines, "\n".join(lines)


def commit_and_undo(
    cli: Cli, code: str, *args: str, options: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], Tree]:
    """Holds, approves and rolls back what the code does.

    The tree is as it was while the changes wait, and again in the end. Returns the changes, and the
    tree in between."""
    before = snapshot(cli.workspace)
    document = run_code(cli, code, *args, options=["--mode", "review", *options])
    assert document["changes"]["state"] == "held", document
    execution = document["execution_id"]
    assert_same(before, snapshot(cli.workspace))
    changes = changes_of(cli, execution)
    cli.ok(["diff", execution])
    assert cli.json(["approve", execution])["state"] == "committed"
    between = snapshot(cli.workspace)
    rolled = cli.json(["rollback", execution])
    if rolled["state"] == "held":
        rolled = cli.json(["approve", rolled["id"]])
    assert rolled["state"] == "committed", rolled
    assert_same(before, snapshot(cli.workspace))
    assert cli.json(["audit", "verify"])["ok"] is True
    return changes, between


@dataclass(frozen=True)
class Usage:
    """What one command and all processes that it started needed."""

    answer: Answer
    memory_bytes: int  # Peak of Bailiff's own processes together, the script's left out.
    cpu_seconds: float


class MemoryWatch:
    """Adds up what the processes of one program have of anonymous memory, shared parts once, every few
    milliseconds until it is closed."""

    INTERVAL_SECONDS = 0.02

    def __init__(self, program: Path) -> None:
        self.peak_bytes = 0
        self._program = str(program)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def close(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.peak_bytes

    def _watch(self) -> None:
        while not self._stop.wait(self.INTERVAL_SECONDS):
            now = sum(map(self._memory_of, filter(str.isdigit, os.listdir("/proc"))))
            self.peak_bytes = max(self.peak_bytes, now)

    def _memory_of(self, pid: str) -> int:
        with contextlib.suppress(OSError):  # It has ended.
            if os.readlink(f"/proc/{pid}/exe") == self._program:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss_Anon:"))
        return 0


def measure(cli: Cli, args: Sequence[str | bytes]) -> Usage:
    """Runs a command to its end. Every process of Bailiff is waited for by the one that started it,
    so that the kernel's account of processor time of the first one covers them all."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        watch = MemoryWatch(cli.binary)
        process = cli.start(args, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        memory_bytes = watch.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        streams = []
        for stream in (out, err):
            stream.seek(0)
            streams.append(stream.read())
    answer = Answer(process.returncode, *streams)
    return Usage(answer, memory_bytes, used.ru_utime + used.ru_stime)
