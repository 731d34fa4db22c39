"""Workspaces and states in the wrong place, copied, moved, nested, damaged or full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bailiff_cli import Bench, Cli, require_root
from e2e_tools import (
    bare, commit_file, contents, hold_for_review, id_of, python, staged, state_of,
    writing)  # fmt: skip


def at(cli: Cli, workspace: Path, state: Path | None = None) -> Cli:
    """The same user, for another workspace or state."""
    return Cli(cli.tier, workspace, state or cli.state, cli.binary)


@pytest.mark.parametrize("path", ["/", "/tmp", "/root", "/var/lib", "/etc", "/usr/share/bailiff-workspace"])
def test_a_system_directory_is_no_workspace(bench: Bench, tier: str, path: str) -> None:
    cli = bench.cli(tier)
    before = sorted(os.listdir("/"))
    answer = cli.run(["init", path])
    assert answer.exit == 125
    assert f"workspace '{path}'" in answer.stderr.decode()
    assert b"choose a directory of" in answer.stderr
    assert sorted(os.listdir("/")) == before and not os.path.exists(path + "/.bailiff")
    assert not cli.state.exists()


def test_the_state_may_not_lie_in_the_workspace(bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    answer = bare(cli, ["--state", cli.workspace / "state", "init", cli.workspace])
    assert answer.exit == 125
    assert b"holds the state directory" in answer.stderr and b"--state" in answer.stderr
    assert not cli.workspace.exists()


def test_the_workspace_may_not_lie_in_the_state(bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    answer = cli.run(["init", cli.state / "workspace"])
    assert answer.exit == 125 and b"lies in the state directory" in answer.stderr
    assert not cli.state.exists()


def test_a_state_in_the_workspace_is_refused_when_it_is_named_later(ws: Cli) -> None:
    inside = ws.workspace / "Reports/state"
    inside.mkdir(0o700)
    ws.own(inside)
    answer = at(ws, ws.workspace, inside).run(["exec", "--", "/bin/true"])
    assert answer.exit == 125
    assert f"keeps its state in {ws.state}, not in {inside}" in answer.stderr.decode(), answer
    assert os.listdir(inside) == []


def test_without_a_workspace_the_way_to_one_is_named(bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    answer = bare(cli, ["list"])
    assert answer.exit == 125
    for word in (b"--workspace DIR", b"BAILIFF_WORKSPACE", b"bailiff init DIR"):
        assert word in answer.stderr


def test_a_folder_that_is_no_workspace_is_left_alone(bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    cli.workspace.mkdir()
    cli.own(cli.workspace)
    answer = cli.run(["exec", "--", "/bin/true"])
    assert answer.exit == 125
    assert f"is not a workspace; run 'bailiff init {cli.workspace}'" in answer.stderr.decode()
    assert os.listdir(cli.workspace) == [] and not cli.state.exists()


def test_a_state_that_is_not_there_is_not_made_by_a_run(ws: Cli) -> None:
    other = ws.home / "elsewhere"
    answer = at(ws, ws.workspace, other).run(["list"])
    assert answer.exit == 125
    assert f"state directory {other}: does not exist" in answer.stderr.decode()
    assert not other.exists()


def test_a_state_that_cannot_be_written_is_named(bench: Bench) -> None:
    cli = bench.workspace("rootless")
    commit_file(cli, "Reports/a", "a")
    cli.state.chmod(0o500)
    try:
        answer = cli.run(["exec", *writing("Reports/b", "b")])
    finally:
        cli.state.chmod(0o700)
    assert answer.exit == 125
    assert f"state directory {cli.state} cannot be written" in answer.stderr.decode()
    assert not (cli.workspace / "Reports/b").exists()


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_the_state_of_another_user_is_refused(bench: Bench, mode: int) -> None:
    require_root()
    cli = bench.workspace("rootless")
    os.chown(cli.state, 0, 0)
    cli.state.chmod(mode)
    answer = cli.run(["exec", *writing("Reports/b", "b")])
    assert answer.exit == 125
    message = answer.stderr.decode()
    assert str(cli.state) in message and "run as that user, or ask its server" in message
    assert not (cli.workspace / "Reports/b").exists()


def test_a_damaged_database_is_named_and_left_alone(ws: Cli) -> None:
    commit_file(ws, "Reports/a", "a")
    for name in ("bailiff.db-wal", "bailiff.db-shm"):
        (ws.state / name).unlink(missing_ok=True)
    database = ws.state / "bailiff.db"
    damaged = b"this is no database " * 400
    database.write_bytes(damaged)
    before = contents(ws)
    answer = ws.run(["exec", *writing("Reports/b", "b")])
    assert answer.exit == 125
    assert b"open database" in answer.stderr and b"not a database" in answer.stderr
    assert database.read_bytes() == damaged
    assert contents(ws) == before


def test_the_ledger_can_be_checked_without_the_database(ws: Cli) -> None:
    commit_file(ws, "Reports/a", "a")
    (ws.state / "bailiff.db").write_bytes(b"this is no database " * 400)
    answer = bare(ws, ["audit", "verify", "--ledger", ws.state / "ledger"])
    assert answer.exit == 0, answer


# Copies, moves, nests


def copy(cli: Cli) -> Cli:
    """A workspace that was copied with everything in it."""
    target = cli.workspace.parent / "copy"
    subprocess.run(["cp", "-a", cli.workspace, target], check=True)
    return at(cli, target, cli.home / "state-of-copy")


def test_a_copied_workspace_is_refused_with_the_ways_to_mend_it(ws: Cli) -> None:
    hold_for_review(ws)
    copied = copy(ws)
    for cli in (copied, at(ws, copied.workspace)):
        answer = cli.run(["exec", *writing("Reports/b", "b")])
        assert answer.exit == 125
        message = answer.stderr.decode()
        assert f"is a copy of the workspace {ws.workspace}" in message
        assert f"bailiff init --new-id {copied.workspace}" in message
        assert f"bailiff init --adopt {copied.workspace}" in message
        assert cli.run(["init", copied.workspace]).exit == 125
    assert not (copied.workspace / "Reports/b").exists()


def test_a_copy_becomes_a_workspace_of_its_own(ws: Cli) -> None:
    held = hold_for_review(ws)
    copied = copy(ws)
    made = copied.json(["init", "--new-id", str(copied.workspace)])
    original = json.loads((ws.workspace / ".bailiff/workspace.json").read_text())
    assert made["created"] is True and made["id"] != original["id"]
    assert staged(copied) == []  # What is held belongs to the original.
    assert copied.json(["list"])["executions"] == []
    commit_file(copied, "Reports/b", "b")
    assert not (ws.workspace / "Reports/b").exists()
    ws.ok(["approve", held["execution_id"]])
    assert (ws.workspace / "note.txt").exists() and not (copied.workspace / "note.txt").exists()


def test_a_copy_takes_over_when_the_original_is_gone(ws: Cli) -> None:
    held = hold_for_review(ws)
    target = copy(ws).workspace
    shutil.rmtree(ws.workspace)
    adopted = at(ws, target)
    assert adopted.run(["list"]).exit == 125
    made = adopted.json(["init", "--adopt", str(target)])
    assert made["created"] is False and made["state"] == str(ws.state)
    assert state_of(adopted, held["execution_id"]) == "held"
    commit_file(adopted, "Reports/b", "b")


def test_a_workspace_that_was_renamed_still_works(ws: Cli) -> None:
    held = hold_for_review(ws)
    moved = at(ws, ws.workspace.parent / "renamed")
    ws.workspace.rename(moved.workspace)
    moved.ok(["approve", held["execution_id"]])
    assert (moved.workspace / "note.txt").read_text() == "held\n"


def test_workspaces_do_not_nest(ws: Cli) -> None:
    inner = ws.workspace / "projects/inner"
    answer = at(ws, inner, ws.home / "inner-state").run(["init", inner])
    assert answer.exit == 125
    assert f"lies inside the workspace {ws.workspace}" in answer.stderr.decode()
    assert not inner.exists() and not (ws.home / "inner-state").exists()


def test_a_workspace_that_was_moved_into_another_is_refused(ws: Cli) -> None:
    inner = at(ws, ws.workspace.parent / "inner", ws.home / "inner-state")
    inner.ok(["init", inner.workspace])
    nested = at(inner, ws.workspace / "projects/inner", inner.state)
    inner.workspace.rename(nested.workspace)
    answer = nested.run(["exec", *writing("b", "b")])
    assert answer.exit == 125 and b"workspaces do not nest" in answer.stderr
    assert not (nested.workspace / "b").exists()


def test_the_state_of_another_workspace_is_refused(ws: Cli) -> None:
    other = at(ws, ws.workspace.parent / "other", ws.home / "other-state")
    other.ok(["init", other.workspace])
    commit_file(other, "Reports/a", "a")
    answer = at(ws, ws.workspace, other.state).run(["exec", *writing("Reports/b", "b")])
    assert answer.exit == 125 and str(other.state) in answer.stderr.decode(), answer
    assert not (ws.workspace / "Reports/b").exists()


# A full disk


@pytest.fixture
def tiny(bench: Bench, tier: str) -> Iterator[Cli]:
    """A workspace on a file system of 4 MiB."""
    require_root()
    cli = bench.cli(tier)
    cli.workspace.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,mode=0755,uid={cli.uid},gid={cli.uid}",
                    "bailiff-test", cli.workspace], check=True)  # fmt: skip
    try:
        cli.ok(["init", cli.workspace])
        yield cli
    finally:
        subprocess.run(["umount", "--lazy", cli.workspace], check=True)


def test_a_full_disk_while_staging_is_explained(tiny: Cli) -> None:
    tiny.write("Reports/small", "kept\n")
    before = contents(tiny)
    code = "open('/Reports/small', 'w').write('new'); open('/Reports/big', 'wb').write(b'x' * (8 << 20))"
    answer = tiny.run(["exec", *python(code)])
    assert answer.exit == 125, answer
    assert b"No space left on device" in answer.stderr
    document = tiny.json(["show", id_of(answer)])
    assert document["status"] == "limit_exceeded" and document["success"] is False
    assert document["changes"]["state"] == "discarded"
    assert "changes were discarded" in document["error"]
    assert contents(tiny) == before and staged(tiny) == []
    commit_file(tiny, "Reports/after", "there is room again")


def test_a_record_that_finds_no_room_is_a_warning(tiny: Cli) -> None:
    with (tiny.workspace / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65536):
                pass
        except OSError:
            pass
    document = tiny.json(["exec", "--", "/bin/true"])
    assert document["status"] == "succeeded"
    assert "the execution record was not written" in " ".join(document["warnings"]), document
    assert document["log_file"] is None
