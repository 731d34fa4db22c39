"""What an attacker put into the workspace beforehand: attributes that overlayfs obeys, special files,
modes and attributes that hinder."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bailiff_cli import Cli, require_root
from hostile_tools import assert_same, changes_of, commit_and_undo, path_of, run_code
from trees import snapshot

# Overlayfs obeys those of its own namespace on lower files too: `trusted.` as root, `user.` else.
NAMESPACES = ("trusted", "user")
ORIGIN = b"\0\xfb\x1d\0\1" + b"\0" * 24
# What each of workspace, folder and file gets.
POISONS: dict[str, tuple[tuple[str, bytes] | None, ...]] = {
    "opaque": (("opaque", b"y"),) * 3,
    "redirect": (None, ("redirect", b"/elsewhere"), ("redirect", b"/elsewhere/file")),
    "redirect_up": (None, ("redirect", b"../../etc"), ("redirect", b"../../etc/passwd")),
    "metacopy": (None, None, ("metacopy", b"")),
    "whiteout": (None, None, ("whiteout", b"y")),
    "hidden": (("opaque", b"x"), ("opaque", b"x"), ("whiteout", b"y")),
    "hidden_below": (None, ("opaque", b"x"), ("whiteout", b"y")),
    "origin": (("origin", ORIGIN),) * 3,
    "impure": (("impure", b"y"),) * 3,
    "nlink": (None, None, ("nlink", b"U+1")),
    "protattr": (None, ("protattr", b"ai"), ("protattr", b"ai")),
    "uuid": (("uuid", b"\1" * 16),) * 3,
    "upper": (("upper", b"\2" * 29),) * 3,
}


def poison(name: str, namespace: str, *paths: Path) -> None:
    for path, attribute in zip(paths, POISONS[name], strict=True):
        if attribute is not None:
            os.setxattr(path, f"{namespace}.overlay.{attribute[0]}", attribute[1])


@pytest.fixture(params=NAMESPACES)
def namespace(request: pytest.FixtureRequest) -> str:
    if request.param == "trusted":
        require_root()
    return request.param


DELETE_ALL = """
import os
problems = []
def attempt(call, path):
    try:
        call(path)
    except OSError as error:
        problems.append(str(error))
for folder, folders, files in os.walk('/workspace/poisoned/folder', topdown=False):
    for name in files:
        attempt(os.remove, os.path.join(folder, name))
    attempt(os.rmdir, folder)
print(problems)
"""


@pytest.mark.parametrize("name", POISONS)
def test_what_a_poisoned_entry_hides_is_never_deleted(ws: Cli, namespace: str, name: str) -> None:
    """The script sees what the kernel makes of it. What it cannot have seen must not go."""
    # The kernel takes only an empty file for a whiteout.
    ws.write("poisoned/folder/victim", "" if name.startswith("hidden") else "precious\n")
    ws.write("poisoned/folder/inner/other", "precious too\n")
    ws.write("poisoned/kept", "kept\n")
    folder = ws.own(ws.workspace / "poisoned") / "folder"
    poison(name, namespace, ws.workspace, folder, folder / "victim")
    before = snapshot(ws.workspace)
    look = """
import os
found = []
for folder, folders, files in os.walk('/workspace/poisoned', onerror=lambda error: None):
    for name in folders + files:
        path = os.path.join(folder, name)
        try:
            os.lstat(path)
            found.append(os.path.relpath(path, '/workspace').encode())
        except OSError:
            pass
print(repr(found))
"""
    seen_document = run_code(ws, look)
    if seen_document["status"] != "succeeded":  # A clear refusal is right, too.
        assert "overlay" in seen_document["error"], seen_document
        return
    seen = set(eval(seen_document["stdout"]))  # noqa: S307 - the test's own code wrote it.
    document = run_code(ws, DELETE_ALL, options=["--mode", "review"])
    assert_same(before, snapshot(ws.workspace))
    if document["changes"]["state"] == "held":
        deleted = {path_of(change) for change in changes_of(ws, document["execution_id"])
                   if change["op"] == "delete"}  # fmt: skip
        assert deleted <= seen, f"deleted unseen: {sorted(deleted - seen)}"
        answer = ws.json(["approve", document["execution_id"]])
        assert answer["state"] == "committed", answer
    after = snapshot(ws.workspace)
    for path in before:
        assert path in after or path in seen, f"{path!r} is gone, and no script saw it"


@pytest.mark.parametrize("name", POISONS)
def test_poison_stays_where_it_is(ws: Cli, namespace: str, name: str) -> None:
    """A file beside the poison changes as any other does; what is committed has no such attribute."""
    ws.write("poisoned/folder/file", "old\n")
    ws.write("poisoned/plain", "old\n")
    folder = ws.own(ws.workspace / "poisoned") / "folder"
    poison(name, namespace, ws.workspace, folder, folder / "file")
    document = run_code(ws, """
open('/workspace/poisoned/plain', 'w').write('new')
try:
    open('/workspace/poisoned/folder/new', 'w').write('new')
except OSError as error:
    print(error)
""")  # fmt: skip
    if document["changes"]["state"] == "held":
        assert ws.json(["approve", document["execution_id"]])["state"] == "committed"
    assert (ws.workspace / "poisoned/plain").read_text() == "new", document
    new = folder / "new"
    if new.exists():
        assert [item for item in os.listxattr(new) if "overlay" in item] == []
    assert (folder / "file").read_text() == "old\n"


def test_a_workspace_whose_names_are_whiteouts_keeps_them(privileged_ws: Cli) -> None:
    """A device 0:0 on the host hides a name from scripts; deleting around it leaves it there."""
    ws = privileged_ws
    ws.write("folder/seen", "seen\n")
    os.mknod(ws.workspace / "folder/hidden", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    before = snapshot(ws.workspace)
    document = run_code(ws, """
import os
assert not os.path.lexists('/workspace/folder/hidden')
os.remove('/workspace/folder/seen')
os.rmdir('/workspace/folder')
""", options=["--mode", "review"])  # fmt: skip
    assert document["status"] == "succeeded", document
    assert_same(before, snapshot(ws.workspace))
    if document["changes"]["state"] == "held":
        ws.json(["approve", document["execution_id"]])
    assert (ws.workspace / "folder/hidden").lstat().st_rdev == 0
    assert "folder/hidden" in str(document["warnings"]), document


def special_files(cli: Cli) -> None:
    folder = cli.workspace / "special"
    cli.write("special/file", "file\n")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(folder)  # A socket's path must be short.
        bound.bind("socket")
        os.chdir(here)
    cli.own(folder)
    if os.geteuid() == 0:
        os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(folder / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 255))


@pytest.mark.parametrize("what", ["read", "delete", "move", "rename"])
def test_special_files_of_a_workspace_stay_and_hold_nobody_up(ws: Cli, what: str) -> None:
    special_files(ws)
    before = snapshot(ws.workspace)
    code = {
        "read": """
for name in ('null', 'disk', 'socket'):
    try:
        print(open('/workspace/special/' + name, 'rb').read(1))
    except OSError as error:
        print(error.strerror)
fifo = os.open('/workspace/special/fifo', os.O_RDONLY | os.O_NONBLOCK)
open('/workspace/special/file', 'w').write('new')
""",
        "delete": "import shutil; shutil.rmtree('/workspace/special')",
        "move": """
for name in os.listdir('/workspace/special'):
    try:
        os.rename('/workspace/special/' + name, '/workspace/' + name)
    except OSError as error:
        print(error)
""",
        "rename": """
try:
    os.rename('/workspace/special', '/workspace/renamed')
except OSError as error:
    print(error)
""",
    }[what]
    document = run_code(ws, "import os\n" + code, options=["--mode", "review"])
    assert document["status"] == "succeeded", document
    assert_same(before, snapshot(ws.workspace))
    execution = document["execution_id"]
    if document["changes"]["state"] == "held":
        ws.ok(["diff", execution])
        answer = ws.json(["approve", execution])
        assert answer["state"] == "committed", answer
    after = snapshot(ws.workspace)
    special = {path for path, entry in before.items() if entry.kind in ("fifo", "socket", "other")}
    assert special and special <= after.keys(), (special - after.keys(), document)


HINDERED = """
import os, shutil
os.chdir('/workspace/modes')
def attempt(call, *args):
    try:
        call(*args)
    except OSError as error:
        print(call.__name__, args, error.strerror)
attempt(os.rename, 'none', 'moved')
attempt(os.remove, 'read_only')
attempt(os.chmod, 'write_only', 0o600)
attempt(open, 'dir_none/file', 'w')
attempt(os.rename, 'dir_none', 'dir_moved')
attempt(shutil.rmtree, 'dir_read_only')
attempt(os.rename, 'setuid', 'setuid_moved')
with open('setgid', 'a') as file:
    file.write('new')
"""


def test_modes_that_hinder_are_carried_over_and_given_back(ws: Cli) -> None:
    for name, mode in {"none": 0, "read_only": 0o400, "write_only": 0o200, "setuid": 0o4755,
                       "setgid": 0o2755, "sticky": 0o1644}.items():  # fmt: skip
        ws.write(f"modes/{name}", name + "\n")
    for name in ("dir_none", "dir_read_only"):
        ws.write(f"modes/{name}/file", name + "\n")
    top = ws.own(ws.workspace / "modes")
    for name, mode in {"none": 0, "read_only": 0o400, "write_only": 0o200, "setuid": 0o4755,
                       "setgid": 0o2755, "sticky": 0o1644, "dir_none": 0, "dir_read_only": 0o500}.items():  # fmt: skip
        (top / name).chmod(mode)
    changes, tree = commit_and_undo(ws, HINDERED)
    assert changes
    by_path = {path_of(change): change for change in changes}
    assert tree[b"modes/setgid"].mode & 0o6000 == 0
    if b"modes/setuid_moved" in tree:
        moved = by_path[b"modes/setuid_moved"]
        assert moved["op"] == "move" or tree[b"modes/setuid_moved"].mode & 0o6000 == 0, moved


@contextmanager
def attribute(flag: str, *paths: Path) -> Iterator[None]:
    subprocess.run(["chattr", f"+{flag}", *paths], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{flag}", *paths], check=False)


@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize("where", ["file", "folder"])
def test_what_cannot_be_replaced_undoes_the_commit(ws: Cli, flag: str, where: str) -> None:
    """chattr +i and +a stop even root; a commit that meets them gives everything back, and says why.
    In a directory it may be tried again once the attribute is gone."""
    require_root()
    for name in ("a", "m/locked", "m/other", "z"):
        ws.write(f"files/{name}", "old\n")
    ws.own(ws.workspace / "files")
    code = """
import os
os.chdir('/workspace/files')
for name in ('a', 'm/locked', 'z'):
    os.remove(name)
    open(name, 'w').write('new')
os.remove('m/other')
"""
    document = run_code(ws, code, options=["--mode", "review"])
    assert document["changes"]["state"] == "held", document
    before = snapshot(ws.workspace)
    locked = ws.workspace / "files/m" / ("locked" if where == "file" else "")
    with attribute(flag, locked):
        answer = ws.run(["--json", "approve", document["execution_id"]])
        assert answer.exit != 0, answer
        if where == "folder":
            assert b"not permitted" in answer.stdout, answer
        else:  # Of a file it also changes the ctime: a conflict before that.
            assert b"files/m" in answer.stdout, answer
            assert json.loads(answer.stdout)["state"] == "conflict", answer
        assert_same(before, snapshot(ws.workspace))
    if where == "folder":
        ws.ok(["approve", document["execution_id"]])
    else:
        assert run_code(ws, code)["changes"]["state"] == "committed"
    assert (ws.workspace / "files/m/locked").read_text() == "new"
    assert not (ws.workspace / "files/m/other").exists()
