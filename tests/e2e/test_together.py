"""Several processes of Bailiff at once, and those that are killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from bailiff_cli import ON_FUSE, SECONDS_MAX, Cli, cannot_run
from e2e_tools import (
    Held, assert_nothing_left, cgroups_named, commit_file, contents, hold_for_review, id_of,
    is_locked, mounts_with, processes_of, processes_with, python, running_ids, staged, state_of, wait_until,
    writing)  # fmt: skip


def write(path: str, text: str) -> str:
    return f"open('/workspace/{path}', 'w').write('{text}')"


# At once


def test_two_runs_on_different_paths_both_commit(ws: Cli) -> None:
    with Held(ws, write("Reports/a", "a")) as one, Held(ws, write("Reports/b", "b")) as two:
        assert len(running_ids(ws)) == 2
        answers = [one.let_go(), two.let_go()]
    assert [answer.exit for answer in answers] == [0, 0], answers
    assert (ws.workspace / "Reports/a").read_text() == "a"
    assert (ws.workspace / "Reports/b").read_text() == "b"


@pytest.mark.parametrize("exists", [True, False])
def test_an_overtaken_run_is_a_conflict_and_applies_nothing(ws: Cli, exists: bool) -> None:
    if exists:
        ws.write("Reports/a", "base")
    code = f"{write('Reports/a', 'slow')}; {write('Reports/other', 'slow')}"
    with Held(ws, code) as slow:
        fast = ws.run(["exec", *writing("Reports/a", "fast")])
        assert fast.exit == 0, fast
        answer = slow.let_go()
    assert answer.exit == 125, answer
    assert b"conflict" in answer.stderr and b"Reports/a" in answer.stderr
    document = ws.json(["show", id_of(answer)])
    assert (document["changes"]["state"], document["success"]) == ("conflict", False)
    assert document["status"] == "succeeded"  # The script itself did.
    assert [c["path"] for c in document["changes"]["conflicts"]] == ["Reports/a"]
    assert (ws.workspace / "Reports/a").read_text() == "fast"
    assert not (ws.workspace / "Reports/other").exists()
    assert staged(ws) == []


def test_a_run_is_overtaken_by_what_a_person_writes_too(ws: Cli) -> None:
    ws.write("Reports/a", "base")
    with Held(ws, write("Reports/a", "slow")) as slow:
        ws.write("Reports/a", "person")
        answer = slow.let_go()
    assert answer.exit == 125 and b"Reports/a" in answer.stderr
    assert (ws.workspace / "Reports/a").read_text() == "person"


def test_a_script_that_is_swapped_while_it_runs_is_told(ws: Cli) -> None:
    ws.write("Reports/s.py", "import sys\nprint('ready', flush=True)\nsys.stdin.read()\n")
    process = ws.start(["run", "--stdin", "Reports/s.py"], stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    ws.write("Reports/s.py", "print('another')\n")
    _, err = process.communicate(b"", timeout=SECONDS_MAX)
    assert process.returncode == 0
    assert b"file changed while it ran" in err


def test_of_ten_approvals_at_once_one_commits(ws: Cli) -> None:
    document = hold_for_review(ws, "Reports/a", "once\n")
    started = [ws.start(["approve", document["execution_id"]]) for _ in range(10)]
    ends = []
    for process in started:
        process.communicate(timeout=SECONDS_MAX)
        ends.append(process.returncode)
    assert sorted(ends) == [0] + [4] * 9
    assert (ws.workspace / "Reports/a").read_text() == "once\n"
    commits = [r for r in ws.json(["audit", "show"])["records"] if r["type"] == "committed"]
    assert len(commits) == 1
    assert ws.run(["audit", "verify"]).exit == 0


def test_many_runs_at_once_leave_a_whole_ledger(ws: Cli) -> None:
    started = [ws.start(["-q", "exec", *writing(f"Reports/{n}", str(n))]) for n in range(6)]
    for process in started:
        _, err = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 0, err
    assert sorted(os.listdir(ws.workspace / "Reports")) == list("012345")
    assert ws.run(["audit", "verify"]).exit == 0
    epochs = [event["epoch"] for event in ws.json(["history"])["events"]]
    assert len(set(epochs)) == 6


def test_a_commit_that_cannot_have_the_lock_is_held_for_later(ws: Cli) -> None:
    ws.ok(["exec", "--", "/bin/true"])
    lock = ws.workspace / ".bailiff/lock"
    with lock.open("w") if not lock.exists() else lock.open("r+") as file:
        ws.own(lock)
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = ws.run(["exec", "--wait-lock", "50ms", *writing("Reports/a", "later\n")])
        assert answer.exit == 125
        assert b"another commit is still running" in answer.stderr
        assert b"held for review" in answer.stderr
        late = ws.run(["approve", "--wait-lock", "50ms", id_of(answer)])
        assert late.exit == 125 and b"--wait-lock waits longer" in late.stderr
    assert not (ws.workspace / "Reports/a").exists()
    ws.ok(["approve", id_of(answer)])
    assert (ws.workspace / "Reports/a").read_text() == "later\n"


def test_a_reader_that_goes_away_does_not_end_the_script(ws: Cli) -> None:
    code = f"print('x' * 1_000_000, flush=True)\n{write('Reports/a', 'to the end')}"
    with Held(ws, code) as held:
        held.process.stdout.close()
        held.process.stdin.close()
        assert held.process.wait(SECONDS_MAX) == 0
    assert (ws.workspace / "Reports/a").read_text() == "to the end"


# Killed while a script runs


def host_uid(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE).group(1))


def test_nothing_stays_of_a_run_whose_bailiff_was_killed(ws: Cli) -> None:
    marker = "killed-marker-1"
    before = contents(ws)
    code = f"'{marker}'"
    with Held(ws, code) as held:
        [running] = running_ids(ws)
        script = [pid for pid in processes_with(marker) if pid not in processes_of(ws.binary)]
        uid = host_uid(script[-1])
        held.kill()
    wait_until(lambda: not processes_with(marker), "the end of the script")
    following = ws.run(["exec", "--", "/bin/true"])
    assert following.exit == 0
    assert f"{running} was interrupted earlier" in following.stderr.decode()
    assert_nothing_left(ws, running, marker)
    lease = Path(f"/run/bailiff/uid/{uid}")
    if ON_FUSE:
        assert uid == ws.owner  # Whom every sandbox there has to be: nothing is leased.
    elif ws.is_privileged:
        wait_until(lambda: not is_locked(lease), "the release of the uid")
    document = ws.json(["show", running])
    assert (document["status"], document["success"]) == ("interrupted", False)
    assert "the process that ran it ended" in document["error"]
    assert contents(ws) == before
    assert sorted(os.listdir(ws.state / "run")) == []


def test_a_run_whose_launcher_was_killed_is_an_error(ws: Cli) -> None:
    marker = "orphaned-marker-1"
    with Held(ws, f"'{marker}'; {write('Reports/a', 'never')}") as held:
        [running] = running_ids(ws)
        children = Path(f"/proc/{held.process.pid}/task/{held.process.pid}/children").read_text()
        for pid in map(int, children.split()):
            os.kill(pid, signal.SIGKILL)
        answer = held.end()
    assert answer.exit == 125, answer
    wait_until(lambda: not processes_with(marker), "the end of the script")
    # What it owned is taken from it once the host has buried it.
    wait_until(lambda: ws.run(["exec", "--", "/bin/true"]).exit == 0 and not cgroups_named(running),
               "a command that cleans up")  # fmt: skip
    assert ws.json(["show", running])["status"] in ("error", "interrupted")
    assert_nothing_left(ws, running, marker)
    assert not (ws.workspace / "Reports/a").exists()


def test_a_command_that_only_reads_leaves_the_dead_alone(ws: Cli) -> None:
    with Held(ws, "") as held:
        [running] = running_ids(ws)
        held.kill()
    assert ws.json(["show", running])["status"] == "running"
    ws.ok(["exec", "--", "/bin/true"])
    assert ws.json(["show", running])["status"] == "interrupted"


def test_a_run_that_lives_is_not_taken_for_dead(ws: Cli) -> None:
    with Held(ws, write("Reports/a", "alive")) as held:
        [running] = running_ids(ws)
        ws.ok(["gc", "--older-than", "0"])
        ws.ok(["exec", "--", "/bin/true"])
        assert ws.json(["show", running])["status"] == "running"
        assert held.let_go().exit == 0
    assert (ws.workspace / "Reports/a").read_text() == "alive"


# Killed while a change set is committed

CHANGES = """
import os
os.chdir('/workspace/Reports')
open('new', 'w').write('new')
open('changed', 'w').write('after')
os.remove('gone')
os.rename('name', 'other')
os.makedirs('folder/below')
open('folder/below/file', 'w').write('x')
"""


def prepare(cli: Cli) -> str:
    """A held change set of every kind; its id."""
    for name in ("changed", "gone", "name"):
        cli.write(f"Reports/{name}", "before")
    document = cli.json(["exec", "--mode", "review", *python(CHANGES)])
    assert document["changes"]["state"] == "held", document
    return document["execution_id"]


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def under_strace(cli: Cli, options: list[str], args: list[str]) -> subprocess.Popen[bytes]:
    if not Path("/usr/bin/strace").exists():
        cannot_run("needs strace")
    trace = cli.home / "trace"
    trace.unlink(missing_ok=True)
    command = ["strace", "-qq", "-o", str(trace), *options, str(cli.binary),
               "--workspace", str(cli.workspace), "--state", str(cli.state), *args]  # fmt: skip
    return subprocess.Popen(
        command, env=cli.environment(), cwd=cli.home, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


STEPS = "renameat2,renameat,unlinkat,linkat,mkdirat,fsync,fdatasync"
POINTS = 6


def sample_points(cli: Cli) -> list[tuple[str, int]]:
    """Steps of a commit, from its first to its last: (system call, the how manieth of its process)."""
    execution = prepare(cli)
    process = under_strace(cli, ["-f", "-e", f"trace={STEPS}"], ["approve", execution])
    _, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, err
    cli.ok(["rollback", execution])
    calls: dict[str, list[str]] = {}
    for line in read(cli.home / "trace").splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        if found and found.group(2) in STEPS.split(","):
            calls.setdefault(found.group(1), []).append(found.group(2))
    clerk = max(calls.values(), key=len)  # Who does the work of the commit.
    steps = [(name, clerk[: n + 1].count(name)) for n, name in enumerate(clerk)]
    renames = [step for step in steps if step[0].startswith("renameat")][:5]
    assert len(steps) > 3 * POINTS and len(renames) >= 4, steps
    return [steps[n * (len(steps) - 1) // (POINTS - 1)] for n in range(POINTS)] + renames[-1:]


def assert_all_or_nothing(cli: Cli, execution: str, before: dict, after: dict) -> str:
    """The next command has finished or undone the commit; says which."""
    cli.ok(["exec", "--", "/bin/true"])
    state = state_of(cli, execution)
    found = contents(cli)
    assert state in ("held", "committed"), state
    assert found == (after if state == "committed" else before)
    if state == "held":
        cli.ok(["approve", execution])
        assert contents(cli) == after
    assert cli.run(["audit", "verify"]).exit == 0
    cli.ok(["rollback", execution])
    assert contents(cli) == before
    assert state_of(cli, execution) == "rolled_back"
    return state


@pytest.mark.parametrize("who", ["one process", "all processes"])
def test_a_commit_that_was_killed_is_all_or_nothing(privileged_ws: Cli, who: str) -> None:
    cli = privileged_ws
    execution = prepare(cli)
    before = contents(cli)
    cli.ok(["approve", execution])
    after = contents(cli)
    cli.ok(["rollback", execution])
    assert contents(cli) == before != after
    deed = "KILL" if who == "one process" else "STOP"
    ends = set()
    for name, number in sample_points(cli):
        execution = prepare(cli)
        inject = f"inject={name}:signal={deed}:when={number}"
        process = under_strace(
            cli, ["-f", "-e", f"trace={STEPS}", "-e", inject], ["approve", execution])
        if deed == "STOP":
            wait_until(lambda: "stopped by SIGSTOP" in read(cli.home / "trace"), f"{name} {number}")
            for pid in processes_of(cli.binary):
                with contextlib.suppress(ProcessLookupError):  # Some end with those before them.
                    os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=SECONDS_MAX)
        assert "SIGKILL" in read(cli.home / "trace"), f"nothing was killed at {name} {number}"
        wait_until(lambda: not processes_of(cli.binary), "the end of all of Bailiff")
        ends.add(assert_all_or_nothing(cli, execution, before, after))
    assert ends == {"held", "committed"}  # The points lie on both sides of the decision.
    assert not mounts_with(str(cli.workspace)) and not cgroups_named(execution)


def test_a_commit_whose_process_died_at_its_end_is_made_and_tells_so(privileged_ws: Cli) -> None:
    cli = privileged_ws
    execution = hold_for_review(cli, "Reports/a", "x")["execution_id"]
    # The first removes what an earlier attempt may have left, the second what was staged.
    inject = "inject=unlinkat:signal=KILL:when=2"
    process = under_strace(cli, ["-f", "-e", "trace=unlinkat", "-e", inject], ["--json", "approve", execution])
    out, err = process.communicate(timeout=SECONDS_MAX)
    assert "SIGKILL" in read(cli.home / "trace")
    document = json.loads(out)
    assert (process.returncode, document["state"]) == (0, "committed")
    [warning] = document["warnings"]
    assert "ended without an answer" in warning and warning in err.decode()
    assert (cli.workspace / "Reports/a").read_text() == "x"
    cli.ok(["rollback", execution])
    assert not (cli.workspace / "Reports/a").exists()


# Killed between what the database, the ledger and the workspace are told


def act(cli: Cli, action: str, path: str) -> list[str]:
    """The command line of an action that concerns a file which no other one does."""
    if action == "exec":
        return ["exec", *writing(path, "x")]
    if action == "rollback":
        return ["rollback", commit_file(cli, path, "x")["execution_id"]]
    return [action, hold_for_review(cli, path, "x")["execution_id"]]


def assert_consistent(cli: Cli, path: str) -> None:
    """What the workspace holds, what history tells and what is recorded are the same."""
    assert cli.run(["exec", "--", "/bin/true"]).exit == 0
    assert running_ids(cli) == []
    events = cli.json(["history", path])["events"]
    is_there = (cli.workspace / path).exists()
    assert is_there == (bool(events) and events[0]["op"] == "create"), (is_there, events)
    cli.ok(["gc"])
    held = sorted(proposal["id"] for proposal in cli.json(["list", "--held"])["proposals"])
    # The content of a rollback is what its commit put aside.
    assert staged(cli) == [proposal for proposal in held if proposal.startswith("exec")]
    for document in cli.json(["list"])["executions"]:
        assert document["changes"]["state"] not in ("committing", "approved"), document
    assert cli.run(["audit", "verify"]).exit == 0
    for proposal in held:
        cli.ok(["approve", proposal])  # Nothing of it was lost.


@pytest.mark.parametrize("action", ["exec", "approve", "reject", "rollback"])
def test_a_killed_command_leaves_records_that_agree(privileged_ws: Cli, action: str) -> None:
    cli = privileged_ws
    commit_file(cli, "Reports/first", "The first commit of a ledger takes more steps.")
    steps = ["-e", "trace=fsync,fdatasync"]
    process = under_strace(cli, steps, act(cli, action, "Reports/second"))
    _, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, err
    calls = re.findall(r"^(\w+)\(", read(cli.home / "trace"), re.MULTILINE)
    killed = 0
    for n, name in enumerate(calls):
        inject = f"inject={name}:signal=KILL:when={calls[: n + 1].count(name)}"
        command = act(cli, action, f"Reports/{n}")
        process = under_strace(cli, [*steps, "-e", inject], command)
        process.communicate(timeout=SECONDS_MAX)
        wait_until(lambda: not processes_of(cli.binary), "the end of all of Bailiff")
        killed += "SIGKILL" in read(cli.home / "trace")  # Some steps are not taken every time.
        assert_consistent(cli, f"Reports/{n}")
    assert killed >= 4
