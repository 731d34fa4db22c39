"""Whole commands, with one system call of one process killed, of all killed, or failing.

A point is a number N: the N-th call, of those that change a disk or close, of whichever process of
the command gets that far. After each the next commands recover, and then workspace, database,
ledger and what lies in .bailiff agree: all of the change set or none of it, all of it if the
command said so, and nothing left over. BAILIFF_TESTS_SEED chooses the points.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from bailiff_cli import SECONDS_MAX, Bench, Cli, cannot_run, remove_tree
from sample import FULL, SEED
from trees import snapshot

CALLS = ("write,pwrite64,ftruncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
         "unlink,unlinkat,mkdir,mkdirat,rmdir,fchmod,chmod,fchmodat,fchown,fchownat,utimensat,"
         "fsetxattr,fsync,fdatasync,syncfs")  # fmt: skip
TROUBLES = ("killed", "all killed", "EIO", "ENOSPC", "EDQUOT", "EINTR")
FULL_DISK = ("ENOSPC", "EDQUOT")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
POINTS = 12 if FULL else 1  # For each action and trouble.

CHANGES = """
import os
os.chdir('/workspace/Reports')
open('new', 'w').write('new')
open('changed', 'w').write('after')
open('appended', 'a').write('more')
os.remove('gone')
os.remove('gone_link')
os.rename('name', 'other')
os.rename('one', 'third'); os.rename('two', 'one'); os.rename('third', 'two')
os.rename('source', 'target'); open('source', 'w').write('new at the source')
os.rename('folder', 'moved'); os.rename('moved/inner', 'inner'); os.remove('moved/old')
os.chmod('mode', 0o600); os.chmod('moved/below', 0o700)
os.remove('link'); os.symlink('other', 'link')
os.remove('becomes_folder'); os.mkdir('becomes_folder'); open('becomes_folder/x', 'w').write('x')
os.remove('tree/a'); os.rmdir('tree')
os.makedirs('made/below'); open('made/below/file', 'w').write('x')
os.link('made/below/file', 'made/name')
"""


# What policy commits at once.
HARMLESS = """
import os
os.chdir('/workspace/Reports')
open('new', 'w').write('new')
open('changed', 'w').write('after')
os.remove('gone_link')
os.rename('one', 'third'); os.rename('two', 'one'); os.rename('third', 'two')
"""


def fill(cli: Cli) -> None:
    for name in ("changed", "appended", "gone", "name", "one", "two", "source", "mode", "becomes_folder",
                 "folder/inner", "folder/old", "folder/below/file", "tree/a", "untouched"):  # fmt: skip
        cli.write(f"Reports/{name}", f"content of {name}")
    os.symlink("name", cli.workspace / "Reports/link")
    os.symlink("gone", cli.workspace / "Reports/gone_link")


def contents(cli: Cli) -> dict[bytes, tuple[str, int, str]]:
    tree = snapshot(cli.workspace)
    return {path: (entry.kind, entry.mode, entry.content) for path, entry in tree.items()
            if path.startswith(b"Reports")}  # fmt: skip


def hold(cli: Cli) -> str:
    document = cli.json(["exec", "--mode", "review", "--", "/usr/bin/python3", "-c", CHANGES])
    assert document["changes"]["state"] == "held", document
    return document["execution_id"]


def state_of(cli: Cli, execution: str) -> str:
    return cli.json(["show", execution])["changes"]["state"]


def processes_of(binary: Path) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe") == str(binary):
                found.append(int(pid))
    return found


def wait_until(happened, what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not happened():
        assert time.monotonic() < deadline, f"not within {SECONDS_MAX} s: {what}"
        select.select([], [], [], 0.002)


def calls_for(trouble: str) -> str:
    """With close(2) where processes are killed. strace fails a call by not making it, and a close that
    fails and leaves its descriptor open is what no kernel does."""
    return CALLS + ",close" if "killed" in trouble else CALLS


def under_strace(
    cli: Cli, options: list[str], args: list[str], stops: bool = False, calls: str = CALLS
) -> int:
    """The exit status of a command, traced into `trace`. `stops`: the first that stops ends all."""
    if not Path("/usr/bin/strace").exists():
        cannot_run("needs strace")
    trace = cli.home / "trace"
    trace.unlink(missing_ok=True)
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}", *options,
               str(cli.binary), "--workspace", str(cli.workspace), "--state", str(cli.state),
               *args]  # fmt: skip
    process = subprocess.Popen(
        command, env=cli.environment(), cwd=cli.home, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    if stops:
        def stopped() -> bool:
            return trace.exists() and b"stopped by SIGSTOP" in trace.read_bytes()

        wait_until(lambda: stopped() or process.poll() is not None, "a stop")
        for pid in processes_of(cli.binary):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    status = process.wait(timeout=SECONDS_MAX)
    wait_until(lambda: not processes_of(cli.binary), "the end of all of Bailiff")
    return status


def calls_of(trace: Path) -> int:
    """How many of the calls the process with most of them made."""
    counts: dict[str, int] = {}
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +\w+\(", line)
        if found:
            counts[found.group(1)] = counts.get(found.group(1), 0) + 1
    return max(counts.values())


def strike(cli: Cli, trouble: str, point: int, args: list[str]) -> int:
    deed = {"killed": "signal=KILL", "all killed": "signal=STOP"}.get(trouble, f"error={trouble}")
    calls = calls_for(trouble)
    inject = ["-e", f"inject={calls}:{deed}:when={point}"]
    return under_strace(cli, inject, args, stops=trouble == "all killed", calls=calls)


def restart(cli: Cli) -> None:
    """What a restart of the machine does to a quarantine, which stops everything until then."""
    mark = cli.state / "journal" / "quarantine"
    if not os.path.lexists(mark):  # It may be a link to a boot id.
        return
    text = os.readlink(mark) if mark.is_symlink() else mark.read_text()
    assert text.splitlines()[0] == BOOT_ID, text
    before = contents(cli)
    assert cli.run(["gc"]).exit != 0
    assert contents(cli) == before
    mark.unlink()
    mark.write_text("another boot\nreason")


def check_ledger(cli: Cli) -> None:
    """What it tells as committed is what the database has as committed, no more and no less."""
    assert cli.run(["audit", "verify"]).exit == 0
    told, discarded = set(), set()
    for record in cli.json(["audit", "show"])["records"]:
        data = record["data"]
        committed = record["type"] == "recovered" and data["state"] == "committed"
        if committed or record["type"] in ("committed", "rolled_back"):
            told.add(data["id"])
        if record["type"] == "finished" and data["changes"] == "discarded":
            discarded.add(data["id"])
    with contextlib.closing(sqlite3.connect(f"file:{cli.state}/bailiff.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id FROM proposals WHERE state IN ('committed', 'rolled_back')")
        assert told == {row[0] for row in rows}
    assert not told & discarded, "told as discarded, and committed"


def settle(cli: Cli) -> None:
    """Recovers, twice, and finds nothing left over and all records in agreement."""
    restart(cli)
    cli.ok(["exec", "--", "/bin/true"])
    cli.ok(["gc"])
    once = contents(cli)
    cli.ok(["gc"])
    assert contents(cli) == once
    check_ledger(cli)
    private = cli.workspace / ".bailiff"
    held = {row["id"] for row in cli.json(["list", "--held"])["proposals"]}
    # What a rollback brings is what its commit put aside: of one that a full disk undid, and that waits to
    # be decided again, there is a directory with nothing in it.
    staged = {path.name for path in (private / "stage").iterdir()
              if path.name not in held or any(path.iterdir())}  # fmt: skip
    assert staged == {name for name in held if name.startswith("exec")}
    assert not [path.name for path in (private / "undo").iterdir() if path.name.endswith(".new")]
    assert not list(private.glob("record-*"))
    logs = cli.workspace / "Database" / "script_execution_logs"
    assert not [path for path in logs.glob(".*")]
    for document in cli.json(["list"])["executions"]:
        assert document["status"] != "running", document
        assert document["changes"]["state"] not in ("committing", "approved"), document


class Scene:
    """One command, and what may come of it."""

    trouble = ""  # Of TROUBLES.

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        fill(cli)
        self.before = contents(cli)
        self.args = ["gc", "--older-than", "0"]

    def check(self, status: int) -> None:
        raise NotImplementedError

    def approve(self, execution: str) -> bool:
        """Whether what is held could be committed: nothing of it was lost. A full disk may have had files
        put aside and back: their ctime is another then, and without their content that is a conflict."""
        answer = self.cli.run(["approve", execution])
        if answer.exit == 3 and self.trouble in FULL_DISK:
            assert contents(self.cli) == self.before
            return False
        assert answer.exit == 0, answer
        return True

    def all_or_nothing(self, execution: str, state: str, none: str, all_: str, acked: bool) -> bool:
        assert state in (none, all_), state
        assert state == all_ or not acked, "told as done, and lost"
        return state == all_


class Approve(Scene):
    def __init__(self, cli: Cli) -> None:
        super().__init__(cli)
        self.id = hold(cli)
        self.args = ["approve", self.id]

    def check(self, status: int) -> None:
        state = state_of(self.cli, self.id)
        if not self.all_or_nothing(self.id, state, "held", "committed", status == 0):
            assert contents(self.cli) == self.before
            if not self.approve(self.id):
                return
        assert contents(self.cli) != self.before
        self.cli.ok(["rollback", self.id])
        assert contents(self.cli) == self.before


class Run(Scene):
    """A run whose changes are committed at once."""

    def __init__(self, cli: Cli) -> None:
        super().__init__(cli)
        self.args = ["exec", "--", "/usr/bin/python3", "-c", HARMLESS]

    def check(self, status: int) -> None:
        states = {row["execution_id"]: row["changes"]["state"] for row in self.cli.json(["list"])["executions"]}
        committed = [name for name, state in states.items() if state == "committed"]
        assert committed or status != 0, "told as done, and lost"
        held = [name for name, state in states.items() if state == "held"]
        for execution in held:  # It could not be committed, and nothing of it was lost.
            assert contents(self.cli) == self.before
            if self.approve(execution):
                committed.append(execution)
        for execution in committed:
            assert contents(self.cli) != self.before
            self.cli.ok(["rollback", execution])
        assert contents(self.cli) == self.before


class Recover(Approve):
    """The command that finds a commit cut short."""

    def __init__(self, cli: Cli) -> None:
        super().__init__(cli)
        under_strace(cli, ["-e", "inject=renameat2:signal=KILL:when=9"], self.args)
        self.args = ["gc"]

    def check(self, status: int) -> None:
        # It was decided, so that only a full disk keeps it from being done.
        super().check(1 if self.trouble in FULL_DISK else 0)


class Rollback(Scene):
    def __init__(self, cli: Cli) -> None:
        super().__init__(cli)
        self.id = hold(cli)
        cli.ok(["approve", self.id])
        self.after = contents(cli)
        self.args = ["rollback", self.id]

    def check(self, status: int) -> None:
        state = state_of(self.cli, self.id)
        if not self.all_or_nothing(self.id, state, "committed", "rolled_back", status == 0):
            assert contents(self.cli) == self.after
            for proposal in self.cli.json(["list", "--held"])["proposals"]:
                self.cli.ok(["reject", proposal["id"]])
            self.cli.ok(["rollback", self.id])
        assert contents(self.cli) == self.before


class Hold(Scene):
    def __init__(self, cli: Cli) -> None:
        super().__init__(cli)
        self.args = ["exec", "--mode", "review", "--", "/usr/bin/python3", "-c", CHANGES]

    def check(self, status: int) -> None:
        assert contents(self.cli) == self.before
        held = [row["id"] for row in self.cli.json(["list", "--held"])["proposals"]]
        assert held or status != 0, "told as held, and lost"
        for execution in held:
            self.cli.ok(["approve", execution])
            assert contents(self.cli) != self.before
            self.cli.ok(["rollback", execution])
        assert contents(self.cli) == self.before


class Collect(Rollback):
    def __init__(self, cli: Cli) -> None:
        super().__init__(cli)
        self.args = ["gc", "--older-than", "0"]

    def check(self, status: int) -> None:
        assert contents(self.cli) == self.after
        assert state_of(self.cli, self.id) == "committed"
        self.cli.ok(["gc", "--older-than", "0"])
        assert contents(self.cli) == self.after
        assert not list((self.cli.workspace / ".bailiff/undo").iterdir())
        assert not list((self.cli.state / "journal").rglob("*.journal"))


@pytest.fixture(scope="module")
def lengths() -> dict[str, int]:
    """How many points an action has, by its name and the calls."""
    return {}


def test_a_quarantine_ends_with_the_boot(bench: Bench, tier: str) -> None:
    cli = bench.workspace(tier)
    cli.ok(["exec", "--", "/bin/true"])
    mark = cli.state / "journal" / "quarantine"
    mark.write_text(f"{BOOT_ID}\nthe reason")
    os.chown(mark, cli.uid, cli.uid)
    answer = cli.run(["gc"])
    assert answer.exit == 125 and b"quarantined since the disk failed (the reason)" in answer.stderr
    mark.write_text("another boot\nthe reason")
    cli.ok(["gc"])
    assert not mark.exists()
    remove_tree(cli.home)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("scene", [Approve, Rollback, Run, Hold, Collect, Recover])
def test_a_command_that_is_struck_does_all_or_nothing(
    bench: Bench, lengths: dict[str, int], scene: type[Scene], trouble: str
) -> None:
    name = scene.__name__
    calls = calls_for(trouble)
    if name + calls not in lengths:
        cli = bench.workspace("privileged")
        assert under_strace(cli, [], scene(cli).args, calls=calls) == 0
        lengths[name + calls] = calls_of(cli.home / "trace")
        remove_tree(cli.home)
    length = lengths[name + calls]
    chosen = random.Random(f"{SEED} {name} {trouble}").sample(
        range(1, length + 1), min(POINTS, length))  # fmt: skip
    for point in chosen:
        print(f"{name}, {trouble}, at call {point} of {length} (seed {SEED})")
        cli = bench.workspace("privileged")
        try:
            struck = scene(cli)
            struck.trouble = trouble
            status = strike(cli, trouble, point, struck.args)
            settle(cli)
            struck.check(status)
            settle(cli)
        finally:
            remove_tree(cli.home)
