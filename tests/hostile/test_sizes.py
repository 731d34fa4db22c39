"""Workspaces and changes of a size that nobody expects: very many entries, holes, depth."""

from __future__ import annotations

import os
import stat

import pytest
from bailiff_cli import Cli
from hostile_tools import assert_same, changes_of, commit_and_undo, of, path_of, run_code
from trees import snapshot

ENTRIES = of(5_000, 1_000_000)
DELETED = of(2_000, 100_000)
GIB = 1 << 30
HOLE_BYTES = 10 * GIB
DEPTH = 100
NAME_BYTES = 201  # A hundred of them are five times PATH_MAX.
ALLOCATED_MAX = 1 << 20


def fill(cli: Cli, shape: str) -> None:
    top = cli.workspace / "many"
    top.mkdir()
    for number in range(ENTRIES):
        folder = top if shape == "flat" else top / f"{number // 1000:04}"
        if shape == "spread" and number % 1000 == 0:
            folder.mkdir()
        os.close(os.open(folder / f"{number:07}", os.O_CREAT | os.O_WRONLY, 0o644))
    cli.own(top)


@pytest.mark.parametrize("shape", ["flat", "spread"])
def test_a_change_among_very_many_entries_is_the_only_one(ws: Cli, shape: str) -> None:
    fill(ws, shape)
    code = f"""
import os
folder = '/workspace/many/' + ('' if {shape == "flat"} else '0000/')
open(folder + '0000001', 'w').write('new')
os.remove(folder + '0000002')
os.rename(folder + '0000003', folder + 'moved')
print(len(os.listdir('/workspace/many')))
"""
    document = run_code(ws, code)
    assert document["changes"]["state"] == "committed", document
    ops = sorted(change["op"] for change in changes_of(ws, document["execution_id"]))
    # Empty files are all equal, so that rootless a move of one is told by its time alone.
    assert ops == ["delete", "modify", "move"], ops
    top = ws.workspace / "many" / ("" if shape == "flat" else "0000")
    assert (top / "0000001").read_text() == "new" and (top / "moved").exists()
    assert ws.json(["rollback", document["execution_id"]])["state"] in ("committed", "held")


def test_a_directory_of_very_many_entries_is_deleted_and_comes_back(ws: Cli) -> None:
    top = ws.workspace / "many"
    top.mkdir()
    for number in range(DELETED):
        os.close(os.open(top / f"{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))
    ws.write("kept", "kept")
    ws.own(top)
    code = "import shutil; shutil.rmtree('/workspace/many')"
    changes, tree = commit_and_undo(ws, code, options=["--files", "200000"])
    assert len(changes) == DELETED + 1 and {change["op"] for change in changes} == {"delete"}
    assert set(tree) - {b"Database", b"Reports", b"Tools", b"projects"} == {b"kept"}


def test_more_changes_than_the_limit_are_told_and_dropped(ws: Cli) -> None:
    before = snapshot(ws.workspace)
    code = "for n in range(1001): open(f'/workspace/Reports/{n}', 'w')"
    document = run_code(ws, code, options=["--files", "1000"])
    assert document["status"] == "limit_exceeded" and "1000 changes" in document["error"], document
    assert_same(before, snapshot(ws.workspace))


def sparse(cli: Cli) -> None:
    path = cli.write("holes/file", b"begin")
    os.truncate(path, HOLE_BYTES)
    cli.own(cli.workspace / "holes")


def test_a_sparse_file_is_moved_and_given_a_mode_without_being_read_or_filled(
    privileged_ws: Cli,
) -> None:
    sparse(privileged_ws)
    holes = privileged_ws.workspace / "holes"
    code = "import os; os.rename('holes/file', 'holes/moved'); os.chmod('holes/moved', 0o600)"
    document = run_code(privileged_ws, "import os; os.chdir('/workspace'); " + code)
    assert document["changes"]["state"] == "committed", document
    assert document["usage"]["scratch_bytes"] < ALLOCATED_MAX, document["usage"]
    moved = (holes / "moved").stat()
    assert (moved.st_size, stat.S_IMODE(moved.st_mode)) == (HOLE_BYTES, 0o600)
    assert moved.st_blocks * 512 < ALLOCATED_MAX
    privileged_ws.ok(["rollback", document["execution_id"]])
    assert (holes / "file").stat().st_blocks * 512 < ALLOCATED_MAX


@pytest.mark.parametrize("what", ["modify", "create", "copy"])
def test_a_sparse_file_stays_sparse_or_is_refused(ws: Cli, what: str) -> None:
    """Of a copy-up the kernel fills no holes; what it cannot hold meets the limit of scratch."""
    sparse(ws)
    before = (ws.workspace / "holes/file").stat()
    code = {
        "modify": "file = open('holes/file', 'r+b'); file.seek(1 << 20); file.write(b'new')",
        "create": f"""
with open('holes/made', 'wb') as file:
    file.seek(1 << 20)
    file.write(b'new')
    file.truncate({of(GIB, HOLE_BYTES)})
""",
        "copy": f"""
with open('holes/file', 'rb') as source, open('holes/made', 'wb') as target:
    target.write(source.read(1 << 20))
    target.truncate({of(GIB, HOLE_BYTES)})
""",
    }[what]
    if what == "modify" and not of(0, 1):
        os.truncate(ws.workspace / "holes/file", GIB)
    document = run_code(ws, "import os; os.chdir('/workspace')\n" + code)
    state = document["changes"]["state"]
    if state == "discarded":
        assert document["status"] == "limit_exceeded", document
        after = (ws.workspace / "holes/file").stat()
        assert after.st_size in (before.st_size, GIB) and not (ws.workspace / "holes/made").exists()
        return
    if state == "held":
        ws.ok(["approve", document["execution_id"]])
    result = (ws.workspace / "holes" / ("file" if what == "modify" else "made")).stat()
    assert result.st_size >= of(GIB, HOLE_BYTES)
    assert result.st_blocks * 512 < 2 * ALLOCATED_MAX + (1 << 20), result
    ws.ok(["rollback", document["execution_id"]])
    stage = ws.workspace / ".bailiff" / "stage"
    assert list(stage.iterdir()) == []


def test_holes_beyond_all_bounds_are_left_out_at_once(ws: Cli) -> None:
    code = """
import os
for n in range(4):
    os.truncate(os.open(f'/workspace/Reports/{n}', os.O_CREAT | os.O_WRONLY), 1 << 42)
"""
    before = snapshot(ws.workspace)
    document = run_code(ws, code)
    assert document["changes"]["state"] == "none", document
    assert len([text for text in document["warnings"] if "of holes" in text]) == 4, document
    assert_same(before, snapshot(ws.workspace))


DEEP = f"""
import os
def down(letter, depth={DEPTH}):
    os.chdir('/workspace/deep')
    for level in range(depth):
        name = f'{{level:03}}' + letter * {NAME_BYTES - 3}
        if not os.path.isdir(name):
            os.mkdir(name)
        os.chdir(name)
"""
DEEP_WORK = {
    "create": DEEP + "down('b')\nopen('bottom', 'w').write('b')\n",
    "modify": DEEP + "down('a')\nopen('bottom', 'a').write(' and more')\nos.mkdir('beside')\n",
    "rename": f"""
import os
os.chdir('/workspace/deep')
name = '000' + 'a' * {NAME_BYTES - 3}
try:
    os.rename(name, 'moved')
except OSError as error:
    print(error.strerror)
    os.system('mv ' + name + ' moved')
""",
    "delete": "import os\nos.system('rm -rf /workspace/deep/0*')\n",
}


def make_deep(cli: Cli) -> None:
    top = cli.workspace / "deep"
    top.mkdir(exist_ok=True)
    cli.own(top)
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(DEPTH):
        name = f"{level:03}" + "a" * (NAME_BYTES - 3)
        os.mkdir(name, dir_fd=at)
        os.chown(name, cli.uid, cli.uid, dir_fd=at)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = inner
    file = os.open("bottom", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=at)
    os.write(file, b"bottom")
    os.fchown(file, cli.uid, cli.uid)
    os.close(file)
    os.close(at)


@pytest.mark.parametrize("what", DEEP_WORK)
def test_a_tree_deeper_than_a_path_may_be_long(ws: Cli, what: str) -> None:
    make_deep(ws)
    changes, tree = commit_and_undo(ws, DEEP_WORK[what])
    assert changes
    assert max(len(path_of(change)) for change in changes) >= (10 if what == "rename" else 4096)
    bottoms = [path for path in tree if path.endswith(b"/bottom")]
    longest = max((len(path) for path in tree), default=0)
    if what == "delete":
        assert not bottoms and longest < 100
    else:
        assert len(bottoms) == (2 if what == "create" else 1) and longest > 4 * 4096


def test_a_tree_that_is_too_deep_to_hold_is_refused_in_words(ws: Cli) -> None:
    """A thousand levels of the longest names are more path than content."""
    code = """
import os
for chain in range(2):
    os.chdir('/workspace/Reports')
    for level in range(990):
        os.mkdir('%03d' % chain + 'x' * 252)
        os.chdir('%03d' % chain + 'x' * 252)
"""
    document = run_code(ws, code)
    assert document["status"] == "limit_exceeded", document["status"]
    assert "paths" in document["error"] and document["changes"]["state"] == "discarded", document
    assert list((ws.workspace / "Reports").iterdir()) == []
