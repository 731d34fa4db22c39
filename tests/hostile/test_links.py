"""Links that an attacker planted: none leads Bailiff anywhere, none keeps it from its work."""

from __future__ import annotations

import os
from pathlib import Path

from bailiff_cli import Cli
from hostile_tools import assert_same, changes_of, commit_and_undo, of, path_of, run_code
from trees import link_groups, snapshot

TARGET_BYTES = 4095  # The longest that Linux takes.
FARM_NAMES = of(2_000, 60_000)  # ext4 takes 65,000.


def plant(cli: Cli) -> Path:
    """A workspace full of links that lead out, in circles and nowhere. Returns what is outside."""
    outside = cli.home / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret\n")
    cli.own(outside)
    root = cli.workspace
    for name, target in {
        "loop_a": "loop_b", "loop_b": "loop_a", "self": "self", "up": "..", "root": "/",
        "out": str(outside), "out_file": str(outside / "secret"), "proc": "/proc/self/root",
        "fd": "/proc/self/fd/0", "private": ".bailiff", "dangling": "no/such/file",
        "long": "x" * TARGET_BYTES,
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    nested = root / "nested"
    nested.mkdir()
    (nested / "again").symlink_to("../nested")
    cli.own(root)
    return outside


def test_links_that_lead_out_are_listed_and_never_followed(ws: Cli) -> None:
    outside = plant(ws)
    before = snapshot(outside)
    code = f"""
import os, shutil
os.chdir('/workspace')
for name in ('loop_a', 'self', 'up', 'root', 'out', 'out_file', 'private', 'dangling', 'long'):
    os.rename(name, 'moved_' + name)
os.remove('loop_b')
os.remove('proc')
os.symlink({str(outside)!r}, 'loop_b')
os.mkdir('proc')
open('proc/file', 'w').write('in a directory that was a link')
shutil.rmtree('nested')
os.symlink('y' * {TARGET_BYTES}, 'long')
"""
    changes, tree = commit_and_undo(ws, code)
    assert_same(before, snapshot(outside))
    assert tree[b"long"].content == repr(b"y" * TARGET_BYTES)
    flags = {path_of(change): change["flags"] for change in changes}
    assert "escaping_symlink" in flags[b"loop_b"] and "escaping_symlink" in flags[b"moved_out"]


def test_a_script_that_writes_through_a_link_reaches_nothing_outside(ws: Cli) -> None:
    outside = plant(ws)
    before, inside = snapshot(outside), snapshot(ws.workspace)
    code = """
import os
for path in ('out/new', 'out_file', 'root/new', 'up/new', 'private/workspace.json', 'loop_a', 'self'):
    try:
        open('/workspace/' + path, 'a').write('x')
        print('wrote', path)
    except OSError as error:
        print(path, error.strerror)
"""
    document = run_code(ws, code)
    assert "wrote" not in document["stdout"], document
    assert document["changes"]["state"] == "none", document
    assert_same(before, snapshot(outside))
    assert_same(inside, snapshot(ws.workspace))


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(ws: Cli) -> None:
    outside = plant(ws)
    ws.write("folder/file", "old")
    document = run_code(ws, "open('/workspace/folder/file', 'w').write('new')",
                        options=["--mode", "review"])  # fmt: skip
    before = snapshot(outside)
    (ws.workspace / "folder").rename(ws.workspace / "elsewhere")
    (ws.workspace / "folder").symlink_to(outside)
    (outside / "file").write_text("old")
    before = snapshot(outside)
    assert ws.json(["approve", document["execution_id"]])["state"] == "conflict"
    assert_same(before, snapshot(outside))


def farm(cli: Cli) -> None:
    """One file with very many names, in many directories."""
    top = cli.workspace / "farm"
    first = cli.write("farm/first", "one file\n")
    for number in range(FARM_NAMES):
        folder = top / f"{number // 500:03}"
        if number % 500 == 0:
            folder.mkdir()
        os.link(first, folder / f"{number:05}")
    cli.own(top)


def test_a_farm_of_hard_links_is_moved_broken_and_deleted(ws: Cli) -> None:
    farm(ws)
    before = snapshot(ws.workspace)
    code = """
import os, shutil
os.chdir('/workspace/farm')
open('000/00000', 'w').write('on its own now')
os.link('000/00001', 'another')
shutil.rmtree('001')
"""
    document = run_code(ws, code, options=["--mode", "review"])
    execution = document["execution_id"]
    changes = {path_of(change): change for change in changes_of(ws, execution)}
    assert changes[b"farm/000/00000"]["op"] == "modify"
    assert "breaks_hard_link" in changes[b"farm/000/00000"]["flags"]
    assert sum(change["op"] == "delete" for change in changes.values()) == 501
    assert_same(before, snapshot(ws.workspace))
    assert ws.json(["approve", execution])["state"] == "committed"
    tree = snapshot(ws.workspace)
    groups = link_groups(tree)
    assert b"farm/000/00000" not in groups
    assert len(set(groups.values())) <= 2
    left = [path for path in tree if path.startswith(b"farm/") and tree[path].kind == "file"]
    assert len(left) == len([path for path in before if before[path].kind == "file"]) - 500 + 1
