"""What is different, and what must not be, in a workspace that lies on FUSE."""

from __future__ import annotations

import os
import subprocess

import pytest
from bailiff_cli import Cli
from e2e_tools import Held, commit_file, contents, hold_for_review, id_of, python, state_of, writing
from fuse_mounts import OWNER, FuseMount

READ_AGAIN = """
for mode in ('r', 'a'):
    try:
        with open('/Reports/a', mode) as file:
            print(file.read() if mode == 'r' else 'opened')
    except OSError as error:
        print(error.strerror)
"""


def test_the_mount_is_what_these_tests_are_about(fuse_ws: Cli) -> None:
    """No extended attributes, no flags of renameat2(2), and another owner than root."""
    fuse_ws.write("Reports/a", "a")
    with pytest.raises(OSError, match="not supported"):
        os.setxattr(fuse_ws.workspace / "Reports/a", "user.x", b"1")
    there = subprocess.run(
        ["stat", "-f", "-c", "%T", fuse_ws.workspace], capture_output=True, check=True)  # fmt: skip
    assert there.stdout == b"fuseblk\n"
    assert (fuse_ws.workspace / "Reports/a").stat().st_uid != 0


def test_an_overtaken_run_is_told_so(fuse_ws: Cli) -> None:
    fuse_ws.write("Reports/a", "old\n")
    with Held(fuse_ws, READ_AGAIN, first="open('/Reports/a').read()") as run:
        commit_file(fuse_ws, "Reports/a", "the new content\n")
        answer = run.let_go()
    document = fuse_ws.json(["show", id_of(answer)])
    # The file that the run had seen is gone from under it.
    assert b"Stale file handle" in answer.stdout, answer
    [warning] = document["warnings"]
    assert warning.startswith("workspace_changed: ") and "Stale file handle" in warning
    assert b"workspace_changed" in answer.stderr


def test_a_run_that_nothing_overtook_is_told_nothing(fuse_ws: Cli) -> None:
    fuse_ws.write("Reports/a", "old\n")
    document = fuse_ws.json(["exec", *python(READ_AGAIN)])
    assert document["warnings"] == [] and document["status"] == "succeeded"


def test_a_run_does_not_undo_what_another_committed_meanwhile(fuse_ws: Cli) -> None:
    """Even where its mtime is older than the run: a commit keeps the one that its script gave."""
    fuse_ws.write("Reports/a", "old\n")
    with Held(fuse_ws, "open('/Reports/a', 'w').write('of the slow run')") as run:
        commit = fuse_ws.json(["exec", *python(
            "import os; open('/Reports/a', 'w').write('of the quick run');"
            "os.utime('/Reports/a', (1e9, 1e9))")])  # fmt: skip
        assert commit["changes"]["state"] == "committed", commit
        answer = run.let_go()
    document = fuse_ws.json(["show", id_of(answer)])
    assert document["changes"]["state"] == "conflict", document
    assert [c["path"] for c in document["changes"]["conflicts"]] == ["Reports/a"]
    assert (fuse_ws.workspace / "Reports/a").read_text() == "of the quick run"


def test_held_bytes_are_in_the_state_until_they_are_approved(fuse_ws: Cli) -> None:
    execution = hold_for_review(fuse_ws, "Reports/a", "held\n")["execution_id"]
    assert not (fuse_ws.workspace / ".bailiff/stage" / execution).exists()
    held = fuse_ws.state / "held/stage" / execution
    assert [file.read_text() for file in held.iterdir()] == ["held\n"]
    assert b"+held" in fuse_ws.ok(["diff", execution]).stdout
    fuse_ws.ok(["approve", execution])
    assert (fuse_ws.workspace / "Reports/a").read_text() == "held\n"
    assert not held.exists()
    assert not (fuse_ws.workspace / ".bailiff/stage" / execution).exists()
    fuse_ws.ok(["reject", hold_for_review(fuse_ws, "Reports/b")["execution_id"]])
    assert os.listdir(fuse_ws.state / "held/stage") == []


def test_times_and_modes_survive_a_commit_and_its_rollback(fuse_ws: Cli) -> None:
    fuse_ws.write("Reports/a", "old\n", 0o640)
    os.utime(fuse_ws.workspace / "Reports/a", ns=(10**18, 10**18 + 7))
    before = contents(fuse_ws), (fuse_ws.workspace / "Reports/a").stat().st_mtime_ns
    document = fuse_ws.json(["exec", *python(
        "import os; f = '/Reports/a'; open(f, 'w').write('new'); os.chmod(f, 0o600);"
        "os.utime(f, ns=(5, 12 * 10**17 + 3))")])  # fmt: skip
    assert document["changes"]["state"] == "committed", document
    after = (fuse_ws.workspace / "Reports/a").stat()
    assert (after.st_mode & 0o777, after.st_mtime_ns) == (0o600, 12 * 10**17 + 3)
    fuse_ws.ok(["rollback", document["execution_id"]])
    assert before == (contents(fuse_ws), (fuse_ws.workspace / "Reports/a").stat().st_mtime_ns)


def test_gc_forgets_what_a_rollback_would_need(fuse_ws: Cli) -> None:
    fuse_ws.write("Reports/a", "old\n")
    execution = commit_file(fuse_ws, "Reports/a", "new\n")["execution_id"]
    assert (fuse_ws.workspace / ".bailiff/undo" / execution).exists()
    fuse_ws.ok(["gc", "--older-than", "0"])
    assert not (fuse_ws.workspace / ".bailiff/undo" / execution).exists()
    assert fuse_ws.run(["rollback", execution]).exit != 0


def test_a_workspace_is_known_after_its_mount_was_made_anew(fuse_ws: Cli) -> None:
    """With other inode numbers, as a bucket mount may give them."""
    held = hold_for_review(fuse_ws)["execution_id"]
    commit = commit_file(fuse_ws, "Reports/a", "a\n")["execution_id"]
    mount = fuse_ws.workspace.parent
    other = mount.parent / "other"
    inode = fuse_ws.workspace.stat().st_ino
    subprocess.run(["cp", "-a", mount.parent / "backing", other], check=True)
    options = ["--xattr-none"] + (["-u", "54322", "-g", "54322"] if fuse_ws.is_privileged else [])
    subprocess.run(["fusermount3", "-u", "-z", mount], check=True)
    subprocess.run(["bindfs", *options, "-o", "allow_other", other, mount], check=True)
    assert fuse_ws.workspace.stat().st_ino != inode
    fuse_ws.ok(["approve", held])
    fuse_ws.ok(["rollback", commit])
    assert not (fuse_ws.workspace / "Reports/a").exists()
    assert (fuse_ws.workspace / "note.txt").exists()


def test_a_copy_beside_the_original_is_refused(fuse_ws: Cli) -> None:
    copy = Cli(fuse_ws.tier, fuse_ws.workspace.parent / "copy", fuse_ws.state, fuse_ws.binary)
    subprocess.run(["cp", "-a", fuse_ws.workspace, copy.workspace], check=True)
    answer = copy.run(["list"])
    assert answer.exit == 125 and b"is a copy of the workspace" in answer.stderr


def test_the_sandbox_shares_the_uid_of_the_owner(fuse_ws: Cli) -> None:
    document = fuse_ws.json(["exec", "--", "/bin/true"])
    assert document["guarantees"]["uid"] == "shared"


def test_doctor_says_what_the_workspace_lacks_and_not_what_tmp_has(fuse_ws: Cli) -> None:
    document = fuse_ws.json(["doctor"])
    assert document["healthy"] is True and document["guarantees"]["uid"] == "shared"
    assert "own-uid" not in document["can_require"]
    (own,) = [layer for layer in document["layers"] if layer["name"] == "own-uid"]
    assert own["holds"] == "weaker" and own["advice"]
    if fuse_ws.is_privileged:
        assert own["why"] == "this workspace is on a file system that cannot map ids"


def test_an_own_uid_that_was_proved_and_is_lost_stops_the_run(mounting, privileged_ws: Cli) -> None:
    """The workspace is mounted over itself, by a file system that cannot map ids."""
    cli, owner = privileged_ws, f"--force-user={OWNER}"
    assert "own-uid" in cli.json(["doctor"])["can_require"]
    mount = ["bindfs", "--xattr-none", owner, f"--force-group={OWNER}", "-o", "allow_other"]
    subprocess.run([*mount, cli.workspace, cli.workspace], check=True)
    try:
        document = cli.json(["exec", "--", "/bin/true"])
        assert document["status"] == "error", document
        assert "own-uid: there is no uid of its own, which this run demands" in document["error"]
        found = cli.json(["doctor"])
        (own,) = [layer for layer in found["layers"] if layer["name"] == "own-uid"]
        assert own["holds"] is False and "more was proved here before" in own["why"]
    finally:
        subprocess.run(["fusermount3", "-u", "-z", cli.workspace], check=True)
    assert cli.json(["exec", "--", "/bin/true"])["guarantees"]["uid"] == "own"


def test_a_mount_that_belongs_to_root_is_refused(mounting, privileged_ws: Cli) -> None:
    mount = FuseMount(privileged_ws.home / "fuse", 0)
    cli = Cli("privileged", mount.point / "workspace", privileged_ws.home / "other", privileged_ws.binary)
    try:
        cli.ok(["init", cli.workspace])
        answer = cli.run(["exec", *writing("Reports/a", "a")])
        assert answer.exit == 125, answer
        assert b"belongs to root on a file system that cannot map ids" in answer.stderr
        document = cli.json(["doctor"])
        assert (document["healthy"], document["guarantees"]) == (False, None)
        assert "belongs to root on a file system that cannot map ids" in document["failure"]
        missing = [layer["name"] for layer in document["layers"] if layer["holds"] is False]
        assert missing == ["own-uid"]
        assert not (cli.workspace / "Reports/a").exists()
    finally:
        mount.close()


# A mount that lets nobody in but the user who made it.


def test_an_own_mount_needs_no_allow_other(own_mount: tuple[Cli, FuseMount]) -> None:
    cli, mount = own_mount
    if os.geteuid() == 0:
        with pytest.raises(PermissionError):
            os.listdir(mount.point)
    backing = mount.backing / "workspace"
    document = cli.json(["exec", *writing("Reports/a", "a")])
    assert document["changes"]["state"] == "committed", document
    assert (backing / "Reports/a").read_text() == "a"
    held = hold_for_review(cli, "Reports/b", "b")["execution_id"]
    cli.ok(["approve", held])
    assert (backing / "Reports/b").read_text() == "b"
    cli.ok(["rollback", document["execution_id"]])
    assert not (backing / "Reports/a").exists()
    assert state_of(cli, document["execution_id"]) == "rolled_back"
    assert cli.run(["audit", "verify"]).exit == 0


def test_root_is_told_why_it_cannot_use_anothers_mount(
    own_mount: tuple[Cli, FuseMount], privileged_ws: Cli
) -> None:
    cli, _ = own_mount
    root = Cli("privileged", cli.workspace, privileged_ws.state, cli.binary)
    answer = root.run(["exec", "--", "/bin/true"])
    assert answer.exit == 125 and b"Permission denied" in answer.stderr, answer
    assert b"run Bailiff as that user, or mount it with -o allow_other" in answer.stderr


# A mount that runs full while a commit is brought in.


def test_a_full_mount_leaves_the_change_set_held(mounting, privileged_ws: Cli) -> None:
    root = privileged_ws.home / "fuse"
    mount = FuseMount(root, 0, owner=54322)
    mount.close()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "bailiff-test", mount.backing], check=True)
    subprocess.run(["bindfs", "--xattr-none", "-u", "54322", "-g", "54322", mount.backing, mount.point],
                   check=True)  # fmt: skip
    cli = Cli("privileged", mount.point / "workspace", privileged_ws.home / "other", privileged_ws.binary)
    try:
        cli.ok(["init", cli.workspace])
        cli.write("Reports/small", "kept\n")
        before = contents(cli)
        code = "open('/Reports/small', 'w').write('new'); open('/Reports/big', 'wb').write(b'x' * (8 << 20))"
        document = cli.json(["exec", "--mode", "review", *python(code)])
        assert document["changes"]["state"] == "held", document
        answer = cli.run(["approve", document["execution_id"]])
        assert answer.exit == 125 and b"No space left on device" in answer.stderr, answer
        assert contents(cli) == before
        assert state_of(cli, document["execution_id"]) == "held"
        subprocess.run(["mount", "-o", "remount,size=64m", mount.backing], check=True)
        cli.ok(["approve", document["execution_id"]])
        assert (cli.workspace / "Reports/big").stat().st_size == 8 << 20
        assert (cli.workspace / "Reports/small").read_text() == "new"
    finally:
        mount.close()
        subprocess.run(["umount", "--lazy", mount.backing], check=True)
