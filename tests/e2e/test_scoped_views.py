"""Runs that see some cases only: what shows the others without `--only-cases` does not with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from bailiff_cli import TIERS, Bench, Cli, remove_tree
from e2e_tools import Held, contents, python

SECRET = "the other case's secret"
OUTSIDE_CASES = "lies outside of the cases that this run may see"
OUTSIDE_VIEW = "lies where this run may not look"
EXISTS = "exists already, where this run may not look"


def fill(cli: Cli) -> None:
    for path in (
        "projects/Other/f", "projects/Other/deep/g", "Reports/of_other.txt", "Hidden/f", "top.txt",
        "Database/records.txt",
    ):  # fmt: skip
        cli.write(path, SECRET)
    cli.write("projects/Mine/f", "mine\n")
    cli.write("projects/Mine/dir/sub/g", "deep\n")
    cli.write("projects/Second/f", "second\n")
    cli.write("Tools/t.py", "print('tool')\n")
    (cli.workspace / "projects/Mine/link").symlink_to("../Other/f")
    (cli.workspace / "projects/Linked").symlink_to("Other")
    cli.own(cli.workspace)
    cli.ok(["exec", "--", "/bin/echo", SECRET])  # Whose record is in Database/.


@pytest.fixture
def filled(ws: Cli) -> Cli:
    fill(ws)
    return ws


@pytest.fixture(scope="module", params=TIERS)
def read_only(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Cli]:
    cli = bench.workspace(request.param)
    fill(cli)
    yield cli
    remove_tree(cli.home)


def refused(document: dict[str, Any]) -> dict[str, str]:
    return {item["path"]: item["reason"] for item in document["changes"].get("refused", [])}


def changed(cli: Cli, document: dict[str, Any]) -> list[tuple[str, str]]:
    changes = cli.json(["changes", document["execution_id"]])["changes"]
    return sorted((change["op"], change["path"]) for change in changes)


# Each finds something of the other case, or raises an OSError or prints nothing of it.
ATTACKS = {
    "list the cases": "print(os.listdir('/workspace/projects'))",
    "list the root": "print(os.listdir('/workspace'))",
    "walk": "[print(path, names) for path, _, names in os.walk('/workspace')]",
    "stat": "os.stat('/workspace/projects/Other'); print('Other')",
    "lstat of a link": "os.lstat('/workspace/projects/Linked'); print('Linked')",
    "access": "print('Other' if os.access('/workspace/projects/Other', os.F_OK) else '')",
    "open": "print(open('/workspace/projects/Other/f').read())",
    "open by a link of the root": "print(open('/projects/Other/f').read())",
    "dots": "print(open('/workspace/projects/Mine/../Other/f').read())",
    "dots from a working directory":
        "os.chdir('/workspace/projects/Mine'); print(open('../Other/f').read())",
    "dots from a descriptor":
        "d = os.open('/workspace/projects/Mine', 0);"
        "print(open(os.open('../Other/f', 0, dir_fd=d)).read())",
    "a link of the case": "print(open('/workspace/projects/Mine/link').read())",
    "a link of a case": "print(open('/workspace/projects/Linked/f').read())",
    "a new link": "os.symlink('/workspace/projects/Other/f', '/tmp/l'); print(open('/tmp/l').read())",
    "a new link in the case":
        "os.symlink('../Other', '/workspace/projects/Mine/l');"
        "print(open('/workspace/projects/Mine/l/f').read())",
    "by /proc": "print(open('/proc/self/cwd/projects/Other/f').read())",
    "by the root of /proc": "print(open('/proc/self/root/workspace/projects/Other/f').read())",
    "by pid 1": "print(open('/proc/1/root/workspace/projects/Other/f').read())",
    "a hard link":
        "os.link('/workspace/projects/Other/f', '/workspace/projects/Mine/h');"
        "print(open('/workspace/projects/Mine/h').read())",
    "rename out":
        "os.rename('/workspace/projects/Other/f', '/workspace/projects/Mine/h');"
        "print(open('/workspace/projects/Mine/h').read())",
    "rename the case": "os.rename('/workspace/projects/Other', '/workspace/projects/New'); print('Other')",
    "rename what holds it":
        "os.rename('/workspace/projects', '/workspace/all'); print(os.listdir('/workspace/all'))",
    "remove what covers it":
        "subprocess.run('rm -rf /workspace/projects/Mine', shell=True); print(os.listdir('/workspace/projects'))",
    "a report": "print(open('/workspace/Reports/of_other.txt').read())",
    "the database folder": "print(open('/workspace/Database/records.txt').read())",
    "records of other runs":
        "[print(open(f).read()) for f in glob.glob('/workspace/Database/script_execution_logs/*')]",
    "a folder of the root": "print(open('/workspace/Hidden/f').read())",
    "a file of the root": "print(open('/workspace/top.txt').read())",
    "by inode": "show('find /workspace -inum ' + sys.argv[2])",
    "grep": "show('grep -r secret /workspace')",
    "glob of bytes": "print(glob.glob(b'/workspace/projects/[!M]*'))",
    "readdir again":
        "os.listdir('/workspace/projects'); os.mkdir('/workspace/projects/x'); os.rmdir('/workspace/projects/x');"
        "print(os.listdir('/workspace/projects'))",
    "exchange":
        "ctypes.CDLL(None).renameat2(-100, b'/workspace/projects/Other', -100, b'/workspace/projects/Mine', 2);"
        "print(open('/workspace/projects/Mine/f').read())",
}  # fmt: skip
TRACES = (SECRET, "Other", "Linked", "Second", "of_other", "records.txt", "Hidden", "top.txt")
PRELUDE = """
import ctypes, glob, os, subprocess, sys
def show(command):
    print(subprocess.run(command, shell=True, capture_output=True, text=True).stdout)
try:
    exec(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
"""


def attack(cli: Cli, code: str, *options: str) -> str:
    inode = (cli.workspace / "projects/Other/f").stat().st_ino
    document = cli.json(
        ["exec", "--mode", "discard", *options, *python(PRELUDE, code, str(inode))])  # fmt: skip
    assert document["status"] == "succeeded", document
    return document["stdout"]


@pytest.mark.parametrize("name", ATTACKS)
def test_what_finds_another_case_without_a_scope_finds_nothing_with_one(
    read_only: Cli, name: str
) -> None:
    code = ATTACKS[name]
    without = attack(read_only, code)
    if (name, read_only.tier) not in UNCONFINED_FAILURES:
        assert any(trace in without for trace in TRACES), (name, without)
    found = attack(read_only, code, "--only-cases", "Mine")
    assert not [trace for trace in TRACES if trace in found], (name, found)


# Attacks that other layers stop without a scope too.
UNCONFINED_FAILURES = {("by pid 1", tier) for tier in TIERS}


def test_mounts_name_only_what_is_seen(read_only: Cli) -> None:
    found = attack(read_only, "print(open('/proc/self/mountinfo').read())", "--only-cases", "Mine")
    points = sorted(line.split()[4] for line in found.splitlines() if "/workspace" in line)
    assert points == ["/workspace", "/workspace/Database", "/workspace/Reports", "/workspace/Tools",
                      "/workspace/projects", "/workspace/projects/Mine"]  # fmt: skip
    for part in (*TRACES, str(read_only.workspace), str(read_only.state)):
        assert part not in found


def test_a_case_that_is_made_while_a_run_goes_on_does_not_appear(filled: Cli) -> None:
    look = "print(sorted(os.listdir('/workspace')), sorted(os.listdir('/workspace/projects')), flush=True)"
    code = look + "\nprint(os.path.exists('/workspace/projects/New/f'), os.path.exists('/workspace/Late'))"
    with Held(filled, code, ["--only-cases", "Mine"], first="os.listdir('/workspace/projects')") as run:
        filled.write("projects/New/f", SECRET)
        filled.write("Late/f", SECRET)
        answer = run.let_go()
    assert answer.exit == 0, answer
    assert answer.stdout == (
        b"ready\n['Database', 'Reports', 'Tools', 'projects'] ['Mine']\nFalse False\n")  # fmt: skip


def test_work_in_the_cases_that_are_seen_commits(filled: Cli) -> None:
    before = contents(filled)
    code = """
import os, shutil
os.chdir('/workspace/projects/Mine')
open('f', 'a').write('more\\n')
os.rename('dir', 'moved')
shutil.move('moved/sub/g', '/workspace/projects/Second/g')
open('/workspace/Reports/new.json', 'w').write('{}')
os.makedirs('/workspace/Reports/2026/may')
open('/workspace/Reports/2026/may/r', 'w').write('r')
"""
    document = filled.json(["exec", "--only-cases", "Mine,Second,Missing", *python(code)])
    assert document["changes"]["state"] == "committed", document
    assert document["visible_cases"] == ["Mine", "Second", "Missing"]
    after = contents(filled)
    new = {path for path in after if path not in before and b"script_execution_logs" not in path}
    assert new == {
        b"projects/Mine/moved", b"projects/Mine/moved/sub", b"projects/Second/g", b"Reports/new.json",
        b"Reports/2026", b"Reports/2026/may", b"Reports/2026/may/r"}  # fmt: skip
    assert {path for path in before if path not in after} == {
        b"projects/Mine/dir", b"projects/Mine/dir/sub", b"projects/Mine/dir/sub/g"}  # fmt: skip
    assert {path for path in before if path in after and before[path] != after[path]} == {
        b"projects/Mine/f"}  # fmt: skip
    assert ("move", "projects/Mine/moved") in changed(filled, document)
    filled.ok(["rollback", document["execution_id"]])
    assert {path: entry for path, entry in contents(filled).items() if path in before} == before


def test_the_ledger_says_what_a_run_could_see(filled: Cli) -> None:
    filled.ok(["exec", "--only-cases", "Mine", "--", "/bin/true"])
    records = filled.json(["audit", "show"])["records"]
    seen = [record["data"].get("visible_cases") for record in records if record["type"] == "submitted"]
    assert seen == [None, ["Mine"]]


def test_a_tool_runs_on_a_case_that_it_sees(filled: Cli) -> None:
    document = filled.json(["run", "--only-cases", "Mine", "--case", "Mine", "Tools/t.py"])
    assert document["stdout"] == "tool\n"
    assert document["working_dir"] == "/workspace/projects/Mine"


# What the script does, and what is refused.
DAMAGE = {
    "a file in another case": (
        "os.mkdir('projects/Other'); open('projects/Other/f', 'w').write('x')",
        {"projects/Other": OUTSIDE_CASES, "projects/Other/f": OUTSIDE_CASES}),
    "a new case": ("os.mkdir('projects/New')", {"projects/New": OUTSIDE_CASES}),
    "a file beside the cases": ("open('projects/f', 'w')", {"projects/f": OUTSIDE_CASES}),
    "a report that exists": (
        "open('Reports/of_other.txt', 'w').write('x')", {"Reports/of_other.txt": EXISTS}),
    "a directory where a report is": (
        "os.mkdir('Reports/of_other.txt')", {"Reports/of_other.txt": EXISTS}),
    "a file where a folder is": ("open('Hidden', 'w')", {"Hidden": EXISTS}),
    "a link where a folder is": ("os.symlink('Tools', 'Hidden')", {"Hidden": EXISTS}),
    "a file of a folder that is made again": (
        "os.mkdir('Hidden'); open('Hidden/f', 'w').write('x')", {"Hidden/f": EXISTS}),
    "a file of the root": ("open('top.txt', 'w').write('x')", {"top.txt": EXISTS}),
    "the mode of a folder": ("os.chmod('Reports', 0o700)", {"Reports": OUTSIDE_VIEW}),
    "a record of another run": (
        "os.mkdir('Database/script_execution_logs'); open('Database/script_execution_logs/x', 'w')",
        {"Database/script_execution_logs/x": "is reserved: scripts may not change it"}),
    "the case into the reports": (
        "shutil.copytree('projects/Mine', 'Reports/of_other.txt', symlinks=True)", {
            "Reports/of_other.txt": EXISTS}),
    "the case beside itself": (
        "shutil.copytree('projects/Mine', 'projects/Copy', symlinks=True)", {
            "projects/Copy": OUTSIDE_CASES, "projects/Copy/f": OUTSIDE_CASES}),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_what_a_run_did_not_see_is_neither_replaced_nor_changed(filled: Cli, name: str) -> None:
    code, expected = DAMAGE[name]
    before = contents(filled)
    program = f"import os, shutil\nos.chdir('/workspace')\nopen('projects/Mine/n', 'w')\n{code}"
    document = filled.json(["exec", "--only-cases", "Mine", *python(program)])
    assert document["status"] == "succeeded", document
    assert document["changes"]["state"] == "held"
    found = refused(document)
    assert {path: found.get(path) for path in expected} == expected
    filled.ok(["approve", document["execution_id"]])
    after = contents(filled)
    new = {path for path in after if path not in before and b"script_execution_logs" not in path}
    assert new == {b"projects/Mine/n"}
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("command", [
    "rm -rf /workspace/*", "rm -rf /workspace/.[!.]* /workspace/*/*", "rmdir /workspace/Reports",
    "mv /workspace/Reports /workspace/X", "mv /workspace/projects /workspace/X",
    "mv /workspace/projects/Mine /Reports/", "mv -T /workspace/projects/Mine /workspace/projects/Other",
])  # fmt: skip
def test_nothing_that_a_run_did_not_see_can_be_removed(filled: Cli, command: str) -> None:
    before = contents(filled)
    document = filled.json(["exec", "--only-cases", "Mine", "--", "/bin/bash", "-c", command + "; true"])
    if document["changes"]["state"] == "held":
        filled.ok(["approve", document["execution_id"]])
    after = contents(filled)
    lost = [path for path in before if after.get(path) != before[path]]
    assert [path for path in lost if not path.startswith((b"projects/Mine/", b"Tools/"))] == []


def test_what_a_request_names_and_may_not_see_does_not_exist(filled: Cli) -> None:
    filled.write("projects/Other/s.py", "print(1)")
    (filled.workspace / "Tools/link.py").symlink_to("../projects/Other/s.py")
    only = ["--only-cases", "Mine"]

    def message(*args: str) -> str:
        answer = filled.run([*args])
        assert answer.exit in (125, 127), answer
        assert answer.stdout == b""
        return answer.stderr.decode()

    for path in ("projects/Other/s.py", "Tools/link.py", "top.txt", "Tools/../projects/Other/s.py"):
        gone = path.replace("Other", "Gone").replace("link", "gone").replace("top", "gone")
        assert message("run", *only, path).replace(path, gone) == message("run", *only, gone)
    for path in ("projects/Other", "Hidden", "projects/Linked"):
        assert message("exec", *only, "--cwd", path, "--", "/bin/true") == message(
            "exec", *only, "--cwd", "projects/Gone", "--", "/bin/true").replace("projects/Gone", path)  # fmt: skip
    assert "there is no such folder in projects/\n" in message(
        "exec", *only, "--case", "Other", "--", "/bin/true")  # fmt: skip
    near = message("exec", *only, "--case", "Mina", "--", "/bin/true")
    assert "did you mean 'Mine'?" in near
    for names in ("a/b", "..", "Mine,", ",Mine", "Mine,,Other"):
        assert "is not the name of a folder" in message(
            "exec", "--only-cases", names, "--", "/bin/true")  # fmt: skip
    many = ",".join(f"c{n}" for n in range(257))
    assert "at most 256" in message("exec", "--only-cases", many, "--", "/bin/true")


def test_a_run_that_sees_no_case_sees_the_tools(read_only: Cli) -> None:
    found = read_only.ok(["-q", "exec", "--only-cases", "", "--", "/usr/bin/find", "/workspace", "-type", "f"])
    assert found.stdout == b"/workspace/Tools/t.py\n"


def test_changes_on_disk_are_scoped_too(bench: Bench) -> None:
    cli = bench.workspace("rootless")
    fill(cli)
    (cli.state / "bailiff.toml").write_text('[sandbox]\nscratch = "disk"\n')
    cli.own(cli.state / "bailiff.toml")
    code = ("import os; os.chdir('/workspace'); print(sorted(os.listdir('projects')), os.listdir('Reports'));"
            "os.rename('projects/Mine/dir', 'projects/Mine/moved'); open('Reports/n', 'w').write('n');"
            "print('state' in open('/proc/self/mountinfo').read())")  # fmt: skip
    document = cli.json(["exec", "--only-cases", "Mine", *python(code)])
    assert document["stdout"] == "['Mine'] []\nFalse\n", json.dumps(document)
    assert document["guarantees"]["scratch"] == "polled"
    assert changed(cli, document) == [("create", "Reports/n"), ("move", "projects/Mine/moved")]
