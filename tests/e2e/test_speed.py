"""What makes runs fast, in numbers that do not depend on the machine: syncs, copies, system calls."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from bailiff_cli import ON_FUSE, TIERS, Bench, Cli, cannot_run
from e2e_tools import python

SYNC = re.compile(r"(?:fsync|fdatasync|syncfs)\(\d+<([^>]*)>")
# By the last part of the path of what is synced, without the ids in it.
DISCARD_SYNCS = ["00000001.jsonl", "00000001.jsonl", "record-", "script_execution_logs",
                 "bailiff.db-wal", "state"]  # fmt: skip
# On FUSE content is copied into .bailiff first, and what is replaced as well.
COMMIT_SYNCS_MAX = 27 if ON_FUSE else 25
MIB = 1 << 20


def traced(cli: Cli, calls: str, args: list[str]) -> list[str]:
    """The lines of strace about these calls, of one command and all its processes."""
    if not Path("/usr/bin/strace").exists():
        cannot_run("needs strace")
    trace = cli.own(cli.home) / "trace"
    command = ["strace", "-f", "-y", "-qq", "-s", "300", "-e", f"trace={calls}", "-o", str(trace),
               str(cli.binary), "--workspace", str(cli.workspace), "--state", str(cli.state),
               *args]  # fmt: skip
    user = {} if cli.uid == 0 else {"user": cli.uid, "group": cli.uid, "extra_groups": []}
    subprocess.run(command, check=True, capture_output=True, env=cli.environment(), cwd=cli.home,
                   **user)  # fmt: skip
    return trace.read_text().splitlines()


def synced(cli: Cli, mode: str) -> list[str]:
    write = python("open('/workspace/Reports/new', 'a').write('more')")
    lines = traced(cli, "fsync,fdatasync,syncfs", ["exec", "--mode", mode, *write])
    names = [Path(match[1]).name for match in map(SYNC.search, lines) if match]
    names = [re.sub(r"exec_\d{8}_\d{6}_[0-9a-f]{8}", "ID", name) for name in names]
    return sorted(re.sub(r"[0-9a-f]{12}$", "", name) for name in names)


@pytest.fixture(params=TIERS)
def cli(request: pytest.FixtureRequest, bench: Bench) -> Cli:
    """A workspace in use: the first run makes its database, ledger and folders."""
    cli = bench.workspace(request.param)
    cli.ok(["exec", *python("open('/workspace/Reports/first', 'w')")])
    return cli


def test_a_discarded_run_syncs_its_records_and_nothing_else(cli: Cli) -> None:
    state = cli.state.name
    expected = [state if name == "state" else name for name in DISCARD_SYNCS]
    assert synced(cli, "discard") == sorted(expected)


def test_a_commit_syncs_no_more_than_is_justified(cli: Cli) -> None:
    names = synced(cli, "commit")
    assert "ID.journal" in names, names
    assert len(names) <= COMMIT_SYNCS_MAX, names


def test_no_process_is_moved_into_its_cgroup_by_another(bench: Bench) -> None:
    """That takes a grace period of the kernel, of milliseconds; a process's own move does not."""
    cli = bench.workspace("privileged")
    lines = traced(cli, "openat,write", ["exec", "--mode", "discard", "--", "/bin/true"])
    assert not [line for line in lines if "cgroup.procs" in line and "O_WRONLY" in line]
    moved = [line for line in lines if re.search(r"write\(\d+<[^>]*/tasks>", line)]
    assert all('>, "0", 1' in line for line in moved), moved  # strace may cut a line after that.


def test_moves_copy_nothing(bench: Bench) -> None:
    cli = bench.workspace("privileged")
    big = cli.write("projects/a/big")
    with big.open("r+b") as file:
        file.truncate(64 * MIB)
        file.write(b"x" * 4 * MIB)
    for number in range(200):
        cli.write(f"projects/a/dir/{number}", b"x" * 10_000)
    moves = "import os; os.chdir('/workspace/projects/a')\n"
    moves += "os.rename('big', 'large'); os.rename('dir', 'folder')"
    document = cli.json(["exec", *python(moves)])
    assert document["changes"]["state"] == "committed", document
    assert document["changes"]["moved"] == 2, document["changes"]
    assert document["usage"]["scratch_bytes"] < MIB, document["usage"]
    assert (cli.workspace / "projects/a/large").stat().st_size == 64 * MIB


def test_a_commit_looks_only_at_what_changed(bench: Bench) -> None:
    calls = {}
    for files in (20, 1_000):
        cli = bench.workspace("privileged")
        for number in range(files):
            cli.write(f"projects/case{number % 10}/{number}", b"x")
        change = python("for i in range(10):\n"
                        "    open(f'/workspace/projects/case{i}/{i}', 'a').write('y')")  # fmt: skip
        calls[files] = len(traced(cli, "%file,%desc", ["exec", *change]))
        assert cli.json(["list"])["executions"][0]["changes"]["modified"] == 10
    # A look at each file would be 980 more; how often the monitor looks at its cgroup varies.
    assert calls[1_000] < calls[20] + 500, calls
