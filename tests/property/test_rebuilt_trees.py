"""A directory that pid 1 of a rootless sandbox rebuilds for a rename is whole afterwards, or as it
was."""

from __future__ import annotations

import json
import os
import shutil
import struct
from typing import Any

import pytest
from bailiff_cli import USER, Cli, cannot_run
from oracle import exactly
from trees import differences, snapshot

PYTHON = "/usr/bin/python3"
GROUP = 54322  # Without a name, as the user is.

pytestmark = pytest.mark.parametrize("tier", ["rootless"], indirect=True)

# Prints what a rename said, and compares everything below `T` with what was there before.
LOOK = """
import errno, os
def look(top='T'):
    found = []
    for folder, folders, files in os.walk(top):
        for path in [folder] + [os.path.join(folder, name) for name in files]:
            s = os.lstat(path)
            attributes = tuple((n, os.getxattr(path, n)) for n in sorted(os.listxattr(path)))
            content = open(path).read() if path != folder else ''
            of_owner = (s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns)
            found.append((path[len(top):], of_owner, attributes, content))
    return sorted(found)
def error_of(call, *args):
    try: call(*args)
    except OSError as error: return errno.errorcode[error.errno]
    return ''
before, names = look(), sorted(os.listdir('.'))
"""

STAYS = """
said = error_of(os.rename, 'T', 'U')
assert said == 'EXDEV', said
assert look() == before, set(look()) ^ set(before)
assert sorted(os.listdir('.')) == names
"""


def run(ws: Cli, code: str, *options: str) -> dict[str, Any]:
    document = ws.json(["exec", *options, "--", PYTHON, "-I", "-c", LOOK + code])
    assert document["status"] == "succeeded", document["stderr"]
    return document


@pytest.fixture
def tree(ws: Cli) -> Cli:
    """T, of the user: two directories with a file each, a file, and an empty directory in another."""
    if os.geteuid() != 0:
        cannot_run("needs root, for files of another owner")
    for name in ("T/a/f", "T/z/f", "T/top"):
        ws.write(name, f"content of {name}")
    (ws.workspace / "T/S/E").mkdir(parents=True)
    ws.own(ws.workspace / "T")
    ws.groups = [GROUP]
    return ws


@pytest.mark.parametrize(("uid", "gid"), [(USER, GROUP), (0, 0), (0, USER)],
                         ids=["other-group", "root", "user-group"])  # fmt: skip
@pytest.mark.parametrize("emptied", [False, True], ids=["filled", "empty"])
def test_what_cannot_be_given_its_owner_again_stays_where_it_is(
    tree: Cli, uid: int, gid: int, emptied: bool
) -> None:
    if emptied:
        (tree.workspace / "T/S/E").rmdir()
    os.chown(tree.workspace / "T/S", uid, gid)
    document = run(tree, STAYS)
    assert tree.json(["changes", document["execution_id"]])["changes"] == []


def acl(user: int) -> bytes:
    """That of mode 0775, and rwx for one more user."""
    none = 0xFFFFFFFF
    entries = [(1, 7, none), (2, 7, user), (4, 7, none), (0x10, 7, none), (0x20, 5, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_a_directory_that_moves_takes_no_access_list_from_where_it_stands(tree: Cli) -> None:
    top = tree.own(tree.workspace / "T")
    for name in ("", "a"):
        os.setxattr(top / name, "system.posix_acl_default", acl(USER))
    os.setxattr(top / "a", "system.posix_acl_access", acl(USER))
    (top / "S/E/inner").mkdir()
    tree.own(top)
    document = run(tree, """
for name in 'S', 'a':
    before = look('T/' + name)
    os.rename('T/' + name, 'T/new')
    assert look('T/new') == before, set(look('T/new')) ^ set(before)
    os.rename('T/new', 'T/' + name)
    assert look('T/' + name) == before, set(look('T/' + name)) ^ set(before)
""")
    assert tree.json(["changes", document["execution_id"]])["changes"] == []


@pytest.mark.parametrize("name", ["T/S", "T/S/E", "T/top"])
def test_what_names_a_user_who_is_not_in_the_sandbox_stays_where_it_is(
    tree: Cli, name: str
) -> None:
    os.setxattr(tree.workspace / name, "system.posix_acl_access", acl(GROUP))
    document = run(tree, STAYS)
    assert tree.json(["changes", document["execution_id"]])["changes"] == []


@pytest.mark.parametrize("kilobytes", [200_000, 100_000, 60_000])
def test_a_limit_of_address_space_does_not_prevent_a_rename(tree: Cli, kilobytes: int) -> None:
    command = ["--json", "exec", "--", PYTHON, "-I", "-c", LOOK + """
os.rename('T', 'U')
assert look('U') == before
"""]
    limited = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh"]
    with tree.start(command, under=limited) as process:
        out, err = process.communicate(timeout=120)
    assert json.loads(out)["status"] == "succeeded", (out, err)


FILES = 100
AT = 50  # No other process removes so many entries.


def under_strace(ws: Cli, inject: str, code: str, *options: str) -> dict[str, Any]:
    """Runs a script; something happens to the removal of the old tree."""
    if shutil.which("strace") is None:
        cannot_run("needs strace")
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat",
              "-e", f"inject=unlinkat:{inject}"]  # fmt: skip
    command = ["--json", "exec", *options, "--", PYTHON, "-I", "-c", LOOK + code]
    with ws.start(command, under=strace) as process:
        out, err = process.communicate(timeout=120)
    assert out, err
    return json.loads(out)


@pytest.fixture
def full_tree(ws: Cli) -> Cli:
    for i in range(FILES):
        ws.write(f"T/{i % 10}/f{i}", f"content of {i}")
    return ws


def test_a_rename_that_is_cut_short_is_held_and_loses_nothing(full_tree: Cli) -> None:
    before = snapshot(full_tree.workspace / "T")
    code = "open('made', 'w').close(); os.rename('T', 'U')"
    document = under_strace(full_tree, f"delay_enter=6000000:when={AT}", code,
                            "--timeout", "3", "--on-failure", "review")  # fmt: skip
    assert document["status"] == "timed_out", document
    assert document["changes"]["state"] == "held", str(document)
    reasons = {one["path"]: one["reason"] for one in document["changes"]["refused"]}
    assert reasons[".bailiff-moving-0000"] == "is a tree that a rename left unfinished"
    full_tree.ok(["approve", document["execution_id"]])
    assert differences(before, snapshot(full_tree.workspace / "T"), exactly) == []
    assert (full_tree.workspace / "made").exists()


@pytest.mark.parametrize(("when", "left"), [(f"{AT}", []), (f"{AT}+", [".bailiff-moving-0000"])],
                         ids=["once", "from-then-on"])  # fmt: skip
def test_a_removal_that_fails_is_undone(full_tree: Cli, when: str, left: list[str]) -> None:
    for name, mode in [("T/5", 0o555), ("T/6", 0o2751)]:
        (full_tree.workspace / name).chmod(mode)
    document = under_strace(full_tree, f"error=EIO:when={when}", f"""
said = error_of(os.rename, 'T', 'U')
assert said == 'EIO', said
assert look() == before, set(look()) ^ set(before)
assert sorted(set(os.listdir('.')) - set(names)) == {left!r}
""")
    assert document["status"] == "succeeded", document["stderr"]
    assert full_tree.json(["changes", document["execution_id"]])["changes"] == []
    refused = [one["path"] for one in document["changes"].get("refused", [])]
    assert refused[:1] == left
