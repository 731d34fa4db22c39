"""What a script leaves in its changes to lead Bailiff astray, and what others do meanwhile.

A test's name begins with the attack's id; see attack_table.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bailiff_cli import Answer, Cli
from e2e_tools import PYTHON, bare, python, wait_until
from host import IMPORTS, Host, run_bare, run_on_a_copy
from leftovers import opened, processes
from peak import RSS_BYTES_MAX, json_and_peak
from sample import FULL, SEED
from trees import differences, snapshot

RACES = 100 if FULL else 3

PROLOGUE = f"{IMPORTS}\nos.chdir('/workspace')\n"


def run(cli: Cli, code: str, *options: str, stdin: bytes | None = None) -> dict[str, Any]:
    if stdin is not None:
        options = (*options, "--stdin")
    return cli.json(["exec", *options, *python(PROLOGUE + code)], stdin)


def hold(cli: Cli, code: str, *options: str) -> dict[str, Any]:
    document = run(cli, code, "--mode", "review", *options)
    assert document["changes"]["state"] == "held", document
    return document


def listed(cli: Cli, document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    changes = cli.json(["changes", document["execution_id"]])["changes"]
    return {change["path"]: change for change in changes}


def approve(cli: Cli, document: dict[str, Any]) -> tuple[Answer, str]:
    """What the command said, and the state that the changes are in after it."""
    answer = cli.run(["approve", document["execution_id"]])
    return answer, cli.json(["show", document["execution_id"]])["changes"]["state"]


@contextmanager
def racing(step: Callable[[int], None]) -> Iterator[threading.Thread]:
    """Calls `step` again and again, with 0, 1, 2..., until the block ends."""
    done = threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        turn = 0
        try:
            while not done.is_set():
                step(turn)
                turn += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield thread
    finally:
        done.set()
        thread.join()
    assert failures == []


# Paths and links


@pytest.mark.parametrize("spelling", [
    "../outside.py", "../../outside.py", "Tools/../../outside.py", "Tools/./.././../outside.py",
    "//../outside.py", "/../outside.py", "Tools//..//..//outside.py", "{folder}/outside.py",
    "/proc/self/cwd/../outside.py", "Tools/link.py", "Tools/linked/outside.py", "..%2foutside.py",
    "Tools/..\\..\\outside.py", "Tools/\u2025/outside.py", "Tools/..;/outside.py"])  # fmt: skip
def test_a01_no_path_leads_out_of_the_workspace(host: Host, ws: Cli, spelling: str) -> None:
    outside = ws.home / "outside.py"
    outside.write_text(f"print({host.token!r})")
    (ws.workspace / "Tools/link.py").symlink_to(outside)
    (ws.workspace / "Tools/linked").symlink_to(ws.home)
    spelling = spelling.format(folder=ws.home)
    answers = [ws.run(["run", spelling]), ws.run(["run", "--cwd", str(Path(spelling).parent), "-"], b""),
               ws.run(["run", "--case", spelling, "-"], b"")]  # fmt: skip
    assert [answer for answer in answers if host.token.encode() in answer.stdout + answer.stderr] == []
    assert answers[0].exit in (125, 127), answers[0]
    assert answers[2].exit in (125, 127), answers[2]
    host.check(ws)


def test_a02_a_commit_writes_through_no_symbolic_link(host: Host, ws: Cli) -> None:
    ws.write("projects/A/file", "base")
    document = hold(ws, "open('projects/A/file', 'w').write('approved')")
    os.rename(ws.workspace / "projects/A", ws.workspace / "projects/B")
    (ws.workspace / "projects/A").symlink_to(host.tree)
    answer, state = approve(ws, document)
    assert (answer.exit, state) != (0, "committed"), answer
    host.check(ws, document["execution_id"])
    swapped = run(ws, f"os.unlink('projects/A'); os.symlink({str(host.tree)!r}, 'projects/A')\n"
                  "os.mkdir('projects/C'); os.symlink('../..' * 9, 'projects/C/up')")  # fmt: skip
    host.check(ws, swapped["execution_id"])


@pytest.mark.parametrize("away", ["a link to the host", "the host's folder"])
def test_a03_a04_a_parent_that_is_swapped_or_moved_away_during_a_commit(
    host: Host, ws: Cli, away: str
) -> None:
    case, aside = ws.workspace / "projects/A", ws.workspace / "projects/aside"
    elsewhere = host.folder / "elsewhere"
    elsewhere.mkdir()
    files = [f"projects/A/{number}" for number in range(20)]

    def swap(_: int) -> None:
        os.rename(case, aside)
        os.symlink(host.tree, case)
        os.unlink(case)
        os.rename(aside, case)

    def move(_: int) -> None:
        os.rename(case, elsewhere / "A")
        os.rename(elsewhere / "A", case)

    states = set()
    for turn in range(RACES):
        for file in files:
            ws.write(file, f"base {turn}")
        document = hold(ws, f"for n in range(20): open(f'projects/A/{{n}}', 'w').write('new {turn}')")
        with racing(swap if away.startswith("a link") else move):
            answer, state = approve(ws, document)
        found = {file: (ws.workspace / file).read_text() for file in files}
        states.add(state)
        # Each is whole, and the workspace says the same as the record.
        if state == "needs_attention":  # The undo met the other writer too: what it left is listed.
            left = {file for file, text in found.items() if text == f"new {turn}"}
            assert set(found.values()) <= {f"new {turn}", f"base {turn}"}
            assert {file for file in left if file not in answer.stderr.decode()} == set(), answer
        else:
            expected = f"new {turn}" if state == "committed" else f"base {turn}"
            assert set(found.values()) == {expected}, (state, answer)
        host.check(ws, document["execution_id"])
    print(f"{RACES} races ended as {sorted(states)}")


def test_a05_links_that_lead_out_are_held_and_committed_as_links(host: Host, ws: Cli) -> None:
    targets = ["/proc/self/fd/0", "/proc/1/root/etc/shadow", "/proc/self/cwd", "/dev/fd/3", "../" * 20,
               str(host.tree), f"/proc/self/root{host.tree}", "/etc/passwd", "a/../../../x"]  # fmt: skip
    code = f"for n, t in enumerate({targets!r}): os.symlink(t, f'Reports/{{n}}')"
    through = run_on_a_copy(host, ws, code) / f"Reports/{targets.index(str(host.tree))}/file"
    assert through.read_text() == host.token
    document = run(ws, code)
    assert document["changes"]["state"] == "held", document
    changes = listed(ws, document)
    assert {path for path, change in changes.items() if "escaping_symlink" in change["flags"]} == \
        {f"Reports/{number}" for number in range(len(targets))}  # fmt: skip
    _, state = approve(ws, document)
    assert state == "committed"
    assert [os.readlink(ws.workspace / f"Reports/{n}") for n in range(len(targets))] == targets
    host.check(ws, document["execution_id"])


def test_a06_no_file_of_the_host_can_be_linked_into_the_workspace(host: Host, ws: Cli) -> None:
    links = host.folder / "links"
    links.mkdir()
    run_bare(ws, ws.own(links), f"os.link({str(host.tree / 'file')!r}, 'linked')")
    (links / "linked").unlink()
    (ws.workspace / "file").write_text("the workspace's")
    code = """
import collections, errno
made, refused = [], collections.Counter()
for top in ('/usr/bin', '/usr/lib/python3.11', '/etc', '/dev', '/proc/self', '/lib64'):
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if f != 'task']
        for name in files:
            try:
                os.link(os.path.join(folder, name), '/workspace/linked', follow_symlinks=False)
                made.append(os.path.join(folder, name))
                os.unlink('/workspace/linked')
            except OSError as error:
                refused[errno.errorcode[error.errno]] += 1
print(made, sum(refused.values()) > 500)
os.link('/workspace/file', '/workspace/second')
"""
    document = run(ws, code, "--mode", "discard")
    assert document["stdout"] == "[] True\n", document
    assert (ws.workspace / "file").stat().st_nlink == 1
    host.check(ws, document["execution_id"])


def test_a07_what_a_second_name_gets_after_the_end_is_not_committed(host: Host, ws: Cli) -> None:
    code = """
open('Reports/a', 'w').write('0' * 4096)
os.link('Reports/a', 'Reports/b')
if os.fork() == 0:
    os.setsid()
    b = os.open('Reports/b', os.O_RDWR)
    n = 0
    while True:
        n += 1
        os.pwrite(b, str(n).encode() * 512, n % 4096)
"""
    copy = run_on_a_copy(host, ws, code)
    found = (copy / "Reports/a").read_bytes()
    try:
        wait_until(lambda: (copy / "Reports/a").read_bytes() != found, "an edit after the end")
    finally:
        for left in processes():
            if str(copy) in opened(left):
                os.kill(left.pid, signal.SIGKILL)
    document = hold(ws, code)
    changes = listed(ws, document)
    staged = {path for path in (ws.workspace / ".bailiff").rglob("*") if path.is_file()}
    assert staged
    _, state = approve(ws, document)
    assert state == "committed"
    digests = {hashlib.sha256((ws.workspace / f"Reports/{n}").read_bytes()).hexdigest() for n in "ab"}
    approved = {change["sha256"].removeprefix("sha256:") for change in changes.values() if "sha256" in change}
    assert digests == approved
    host.check(ws, document["execution_id"])


def test_a08_a09_what_is_no_file_is_named_and_not_committed(host: Host, ws: Cli) -> None:
    ws.write("Reports/base", "base")
    code = """
os.mkfifo('Reports/fifo')
os.unlink('Reports/base'); os.mkfifo('Reports/base')
s = socket.socket(socket.AF_UNIX); s.bind('Reports/socket')
for name, kind in (('char', stat.S_IFCHR), ('block', stat.S_IFBLK)):
    try: os.mknod('Reports/' + name, kind | 0o666, os.makedev(1, 3))
    except PermissionError: print(name, 'refused')
open('Reports/file', 'w').write('fine')
"""
    outside = snapshot(run_on_a_copy(host, ws, code) / "Reports")
    assert {outside[name].kind for name in (b"fifo", b"base", b"socket")} == {"fifo", "socket"}
    assert {b"char", b"block"} <= outside.keys() or not ws.is_privileged
    document = run(ws, code, "--timeout", "20")
    assert document["stdout"] == "char refused\nblock refused\n", document
    assert document["changes"]["state"] == "held"
    words = " ".join(document["decision"]["reasons"])
    assert "Reports/fifo" in words and "Reports/socket" in words, words
    _, state = approve(ws, document)
    assert state == "committed"
    kinds = {path: entry.kind for path, entry in snapshot(ws.workspace / "Reports", ()).items()}
    assert kinds.get(b"file") == "file" and set(kinds.values()) == {"file"}, kinds
    host.check(ws, document["execution_id"])


def test_a10_nothing_hides_behind_a_path_that_is_too_long(host: Host, ws: Cli) -> None:
    name = "d" * 200
    code = f"""
os.chdir('Reports')
for _ in range(100):
    os.mkdir({name!r}); os.chdir({name!r})
open('hidden', 'w').write('at the bottom')
"""
    copy = run_on_a_copy(host, ws, code)
    assert not any("hidden" in files for _, _, files in os.walk(copy)), "who goes by paths sees it"
    document = run(ws, code)
    changes = listed(ws, document)
    deepest = max(changes, key=len)
    if document["changes"]["state"] == "committed":
        assert deepest.endswith("/hidden") and len(changes) == 101
        assert any(path.endswith(b"/hidden") for path in snapshot(ws.workspace / "Reports", ()))
    else:
        assert document["error"] or document["decision"]["reasons"], document
    host.check(ws, document["execution_id"])


def test_a11_c19_more_entries_than_the_limit_cost_no_memory(host: Host, ws: Cli) -> None:
    code = """
os.chdir('Reports')
try:
    for n in range(5_000): os.close(os.open(f'{n:0200}', os.O_CREAT | os.O_WRONLY))
except OSError as error: print(error.strerror)
print(n)
"""
    assert len(os.listdir(run_on_a_copy(host, ws, code) / "Reports")) == 5_000
    document, peak = json_and_peak(ws, ["exec", "--files", "4000", *python(PROLOGUE + code)])
    assert (document["status"], document["changes"]["state"]) == ("limit_exceeded", "discarded"), document
    assert os.listdir(ws.workspace / "Reports") == []
    assert 1 << 20 < peak < RSS_BYTES_MAX
    host.check(ws, document["execution_id"])


NAMES = [
    b"new\nline", b"carriage\rreturn", b"tab\tbed", b"\x1b[31mred\x1b[0m", b"\x1b]0;title\x07", b"\xff\xfe",
    b"\xc3\x28", "\u202egpj.exe".encode(), "zero\u200bwidth".encode(), "\u00e9".encode(), "e\u0301".encode(),
    b"trailing ", b"trailing.", b" leading", b"-rf", b"--help", b"*", b"?", b"[a]", b"~", b"$(id)", b"`id`",
    b"a;b", b"a|b", b"a&b", b"'", b'"', b"\\", b"x" * 255, b"CON", b"aux.txt", b"a:b", b"...", b". .",
    b"\x01", b"\x7f", "\u2066iso\u2069".encode(), "\U0001f600".encode(), b"case", b"CASE", b"%2e%2e", b"#", b"@",
]  # fmt: skip


def test_a12_names_are_bytes_from_the_script_to_the_rollback(host: Host, ws: Cli) -> None:
    before = snapshot(ws.workspace, (b".bailiff", b"Database/script_execution_logs"))
    code = """
import json
for name in json.load(sys.stdin):
    with open(b'Reports/' + bytes.fromhex(name), 'w') as file: file.write(name)
    os.mkdir(b'projects/' + bytes.fromhex(name))
"""
    document = run(ws, code, stdin=json.dumps([name.hex() for name in NAMES]).encode())
    if document["changes"]["state"] == "held":
        assert approve(ws, document)[1] == "committed"
    after = snapshot(ws.workspace, (b".bailiff", b"Database/script_execution_logs"))
    assert after.keys() - before.keys() == {
        folder + name for folder in (b"Reports/", b"projects/") for name in NAMES}  # fmt: skip
    assert [n for n in NAMES if (ws.workspace / "Reports" / os.fsdecode(n)).read_text() != n.hex()] == []
    for command in (["diff"], ["changes"], ["show"]):
        shown = ws.run([*command, document["execution_id"]]).stdout
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]", shown)
    ws.ok(["rollback", document["execution_id"]])
    back = snapshot(ws.workspace, (b".bailiff", b"Database/script_execution_logs"))
    assert differences(before, back) == []
    host.check(ws, document["execution_id"])


def test_a19_a_workspace_whose_root_was_swapped_is_refused(host: Host, ws: Cli) -> None:
    aside = ws.home / "aside"
    ws.workspace.rename(aside)
    ws.workspace.symlink_to(host.tree)
    answers = [ws.run(["exec", *python("open('file', 'w')")])]
    ws.workspace.unlink()
    ws.workspace.mkdir()
    shutil.copytree(aside / ".bailiff", ws.workspace / ".bailiff")
    ws.own(ws.workspace)
    answers.append(ws.run(["exec", *python("open('file', 'w')")]))
    assert [answer for answer in answers if answer.exit != 125] == []
    assert os.listdir(ws.workspace) == [".bailiff"]
    shutil.rmtree(ws.workspace)
    aside.rename(ws.workspace)
    host.check(ws)


# What the overlay keeps


OVERLAY_NAMES = "whiteout opaque redirect metacopy origin nlink upper protattr uuid xwhiteouts".split()


def test_d02_d03_overlay_attributes_of_a_script_mean_nothing(host: Host, ws: Cli) -> None:
    ws.write("Reports/kept", "kept")
    ws.write("Reports/folder/inner", "inner")
    code = f"""
import errno
def set_all(path):
    for prefix in ('user.overlay.', 'user.overlay.overlay.', 'trusted.overlay.'):
        for name in {OVERLAY_NAMES!r}:
            for value in (b'y', b'x', b'', b'/projects'):
                try: os.setxattr(path, prefix + name, value)
                except OSError as error:
                    assert error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENODATA), error
os.mkdir('Reports/opaque')
open('Reports/opaque/zero', 'w').close()
open('Reports/plain', 'w').write('plain')
for path in ('Reports/opaque', 'Reports/opaque/zero', 'Reports/plain', 'Reports/folder'): set_all(path)
"""
    assert "user.overlay.opaque" in os.listxattr(run_on_a_copy(host, ws, code) / "Reports/folder")
    document = run(ws, code)
    changes = {path: change["op"] for path, change in listed(ws, document).items()}
    changes.pop("Reports/folder", None)  # Attributes alone are no change; its time may be.
    assert changes == {"Reports/opaque": "create", "Reports/opaque/zero": "create", "Reports/plain": "create"}
    if document["changes"]["state"] == "held":
        assert approve(ws, document)[1] == "committed"
    assert (ws.workspace / "Reports/folder/inner").read_text() == "inner"
    for path in (ws.workspace / "Reports").rglob("*"):
        assert [name for name in os.listxattr(path) if "overlay" in name] == [], path
    host.check(ws, document["execution_id"])


def test_d04_overlay_attributes_of_the_workspace_hide_nothing(host: Host, ws: Cli) -> None:
    """Only another writer can have set them: commits carry none."""
    files = {f"Reports/{name}": name for name in ("opaque/white", "opaque/plain", "meta", "redirect/inner")}
    for file, text in files.items():
        ws.write(file, text)
    for prefix in ("user", "trusted"):
        for path, name, value in (("opaque", "opaque", b"x"), ("opaque/white", "whiteout", b""),
                                  ("meta", "metacopy", b""), ("redirect", "redirect", b"/projects")):  # fmt: skip
            os.setxattr(ws.workspace / "Reports" / path, f"{prefix}.overlay.{name}", value)
    document = run(ws, f"""
for path, text in {files!r}.items():
    try: found = open(path).read()
    except OSError as error: print(path, error.strerror)
    else: assert found == text, (path, found)
""", "--mode", "discard")
    assert document["status"] == "succeeded", document
    assert document["stdout"].startswith("Reports/meta "), "the one that the kernel refuses, with an error"
    gone = hold(ws, "[shutil.rmtree(f'Reports/{name}') for name in ('opaque', 'redirect')]")
    deleted = {path for path, change in listed(ws, gone).items() if change["op"] == "delete"}
    assert deleted == files.keys() - {"Reports/meta"} | {"Reports/opaque", "Reports/redirect"}
    host.check(ws, gone["execution_id"])


def test_d06_a_directory_that_was_made_anew_lists_all_that_it_lost(host: Host, ws: Cli) -> None:
    files = {f"Reports/folder/{number}/file" for number in range(5)}
    for file in files:
        ws.write(file, "old")
    code = "shutil.rmtree('Reports/folder'); os.mkdir('Reports/folder')"
    assert os.listdir(run_on_a_copy(host, ws, code) / "Reports/folder") == []
    document = hold(ws, code)
    changes = listed(ws, document)
    assert {path for path, change in changes.items() if change["op"] == "delete"} >= files
    assert document["changes"]["deleted"] >= len(files)
    host.check(ws, document["execution_id"])


def test_d07_a_script_that_deletes_everything_is_held(host: Host, ws: Cli) -> None:
    for number in range(20):
        ws.write(f"Reports/{number}", "old")
    before = snapshot(ws.workspace / "Reports", ())
    code = "shutil.rmtree('Reports', True); os.system('rm -rf * 2>/dev/null')"
    assert os.listdir(run_on_a_copy(host, ws, code)) == []
    document = run(ws, code)
    assert (document["changes"]["state"], document["decision"]["outcome"]) == ("held", "review"), document
    assert differences(before, snapshot(ws.workspace / "Reports", ())) == []
    host.check(ws, document["execution_id"])


def test_d10_times_of_any_year_are_kept(host: Host, ws: Cli) -> None:
    times = {"1938": -1_000_000_000, "1970": 0, "2038": 1 << 31, "2242": 8_600_000_000}
    code = f"""
for name, time in {times!r}.items():
    open('Reports/' + name, 'w')
    os.utime('Reports/' + name, (time, time))
"""
    outside = run_on_a_copy(host, ws, code) / "Reports"
    assert {name: int((outside / name).stat().st_mtime) for name in times} == times
    document = run(ws, code)
    assert document["changes"]["state"] == "committed", document
    assert {name: int((ws.workspace / "Reports" / name).stat().st_mtime) for name in times} == times
    host.check(ws, document["execution_id"])


def test_d11_what_is_committed_belongs_to_the_owner_of_the_workspace(host: Host, ws: Cli) -> None:
    document = run(ws, "os.makedirs('Reports/a/b'); open('Reports/a/b/c', 'w'); os.symlink('c', 'Reports/a/b/l')")
    assert document["changes"]["state"] == "committed", document
    owners = {(entry.uid, entry.gid) for path, entry in snapshot(ws.workspace, ()).items()
              if path.startswith(b"Reports/")}  # fmt: skip
    assert owners == {(ws.uid, ws.uid)}
    host.check(ws, document["execution_id"])


def test_d12_bytes_that_were_changed_after_review_are_not_committed(host: Host, ws: Cli) -> None:
    document = hold(ws, "open('Reports/a', 'w').write('reviewed' * 100)")
    staged = [path for path in (ws.workspace / ".bailiff").rglob("*")
              if path.is_file() and path.read_bytes() == b"reviewed" * 100]  # fmt: skip
    assert len(staged) == 1
    with staged[0].open("r+b") as file:
        file.write(b"replaced")
    answer, state = approve(ws, document)
    assert answer.exit == 125 and state != "committed", (answer, state)
    assert not (ws.workspace / "Reports/a").exists()
    host.check(ws, document["execution_id"])


def test_d13_a_reviewer_sees_what_hides(host: Host, ws: Cli) -> None:
    ws.write("Reports/a.py", "if access_level != 'user':\n    pass\n")
    text = ("if access_level != 'user\u202e \u2066# check if admin\u2069 \u2066':\n    pass\n"
            "\x1b[2Kgone\rshown\n\u200bzero = 1\nb\x08\x08a\n" + "x" * 5000 + "hidden at the end\n")  # fmt: skip
    document = hold(ws, f"open('Reports/a.py', 'w').write({text!r})")
    answer = ws.ok(["diff", document["execution_id"]])
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]", answer.stdout)
    assert b"hidden at the end" in answer.stdout or b"not shown" in answer.stdout
    host.check(ws, document["execution_id"])


PROTECTED = """.git/hooks/pre-commit .git/config .git/info/attributes .git/modules/m/config
.git/worktrees/w/config.worktree .git/commondir .gitmodules .gitattributes .husky/x .vscode/tasks.json
.vscode/settings.json .idea/x .devcontainer/x .envrc .bashrc .profile .zshenv .vimrc .gdbinit conftest.py
sitecustomize.py x.pth .mcp.json CLAUDE.md AGENTS.md .cursorrules .claude/x .github/workflows/x.yml
.gitlab-ci.yml .ssh/authorized_keys x.desktop cron.d/x .config/systemd/x .ENVRC Claude.MD""".split()


def test_d14_what_something_runs_later_is_held_path_by_path(host: Host, ws: Cli) -> None:
    code = f"""
for path in {PROTECTED!r}:
    for top in ('Reports/', 'Reports/deep/down/'):
        os.makedirs(os.path.dirname(top + path), exist_ok=True)
        open(top + path, 'w')
"""
    copy = run_on_a_copy(host, ws, code)
    assert [path for path in PROTECTED if not (copy / "Reports" / path).exists()] == []
    document = run(ws, code)
    assert document["changes"]["state"] == "held", document
    changes = listed(ws, document)
    found = {path for path, change in changes.items()
             if change["type"] == "file" and "protected" not in change["flags"]}  # fmt: skip
    assert found == set()
    host.check(ws, document["execution_id"])


def test_d15_a_program_that_was_dropped_is_flagged(host: Host, ws: Cli) -> None:
    document = hold(ws, "shutil.copy('/bin/true', 'Reports/tool'); os.chmod('Reports/tool', 0o755)")
    assert "executable" in listed(ws, document)["Reports/tool"]["flags"]
    host.check(ws, document["execution_id"])


def test_d23_a_file_added_to_a_directory_that_goes_is_a_conflict(host: Host, ws: Cli) -> None:
    ws.write("Reports/folder/old", "old")
    document = hold(ws, "shutil.rmtree('Reports/folder')")
    ws.write("Reports/folder/new", "another's")
    answer, state = approve(ws, document)
    assert (answer.exit, state) == (3, "conflict"), answer
    assert (ws.workspace / "Reports/folder/new").read_text() == "another's"
    assert (ws.workspace / "Reports/folder/old").read_text() == "old"
    host.check(ws, document["execution_id"])


def test_d24_no_write_of_another_is_lost_to_a_commit(host: Host, ws: Cli) -> None:
    """Another program replaces the file again and again: what it wrote last is what is there."""
    chance = random.Random(SEED)
    path, fresh = ws.workspace / "Reports/file", ws.home / "fresh"
    states = set()
    for turn in range(2 * RACES):
        ws.write("Reports/file", "base")
        document = hold(ws, "open('Reports/file', 'w').write('approved')")
        start = threading.Event()
        pause, writes = chance.random() * 0.25, chance.choice((1, 2, 5, 1000))
        last: list[str] = []

        def write(number: int) -> None:
            if number == 0:
                start.wait(pause)  # noqa: B023
            if number < writes:  # noqa: B023
                fresh.write_text(f"another's {turn} {number}")  # noqa: B023
                os.rename(fresh, path)
                last[:] = [f"another's {turn} {number}"]  # noqa: B023
            else:
                start.wait(0.001)  # noqa: B023

        with racing(write):
            answer, state = approve(ws, document)
        states.add(state)
        expected = last[0] if last else "approved" if state == "committed" else "base"
        assert path.read_text() == expected, (turn, state, answer)
        host.check(ws, document["execution_id"])
    print(f"{2 * RACES} races ended as {sorted(states)}")


# What a run is given


def test_b01_descriptors_of_the_caller_are_not_passed_on(host: Host, ws: Cli) -> None:
    extra = [os.open(host.folder, os.O_RDONLY | os.O_DIRECTORY) for _ in range(200)]
    code = """
reached = []
for number in range(3, 4096):
    try: os.fchdir(number); reached.append(number)
    except OSError: pass
    try: reached.append(os.open('tree/file', os.O_RDONLY, dir_fd=number))
    except OSError: pass
print(reached, sorted(map(int, os.listdir('/proc/self/fd')))[:3], os.getcwd())
"""
    try:
        with ws.start(["--json", "exec", *python(PROLOGUE + code)], pass_fds=extra) as process:
            out, _ = process.communicate(timeout=60)
    finally:
        for number in extra:
            os.close(number)
    document = json.loads(out)
    assert document["stdout"] == "[] [0, 1, 2] /workspace\n", document
    host.check(ws, document["execution_id"])


@pytest.mark.parametrize("line", ["/proc/self/exe", "/proc/1/exe", "/proc/self/fd/0", "/dev/fd/1"])
def test_b03_a_script_whose_interpreter_is_a_magic_link_gets_nothing(
    host: Host, ws: Cli, line: str
) -> None:
    def program() -> str:  # Not its bytes: they would count as memory of what is started here.
        with ws.binary.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    before = program()
    ws.write("Tools/odd", f"#!{line}\n{host.token}\n", 0o755)
    document = ws.json(["run", "Tools/odd"])
    assert document.get("status") != "succeeded", document
    assert program() == before
    host.check(ws)


def test_b12_no_secret_of_the_caller_can_be_found(host: Host, ws: Cli) -> None:
    code = """
import os, sys
token, found = sys.argv[1][::-1].encode(), []
for top in sys.argv[2:]:
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if os.path.join(folder, name) != '/usr' and name != 'task']
        for name in files:
            path = os.path.join(folder, name)
            if name in ('mem', 'kmsg') or not (os.path.isfile(path) or folder.startswith('/proc')): continue
            try:
                with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as file:
                    if token in (file.read(1 << 20) or b''): found.append(name)
            except OSError: pass
print(*sorted(set(found)))
"""
    hidden = host.token[::-1]  # Else the search would find itself.
    tops = [str(host.folder), f"/proc/{host.process.pid}"]
    outside = subprocess.run([PYTHON, "-c", code, hidden, *tops], capture_output=True, check=True)
    assert {b"cmdline", b"environ", b"file"} <= set(outside.stdout.split())
    args = ["--workspace", ws.workspace, "--state", ws.state, "-q", "exec", *python(code, hidden, "/")]
    answer = bare(ws, args, CANARY_SECRET=host.token, AWS_SECRET_ACCESS_KEY=host.token)
    assert (answer.exit, answer.stdout) == (0, b"\n"), answer
    host.check(ws)


def test_b14_a_terminal_that_is_passed_on_takes_no_input_from_the_script(host: Host, ws: Cli) -> None:
    code = """
import fcntl, termios
print(os.isatty(0))
for request in (termios.TIOCSTI, 0x541C, termios.TIOCSETD, termios.TIOCCONS, termios.TIOCEXCL,
                termios.TIOCSCTTY, 0x100005412):
    try: fcntl.ioctl(0, request, b'\\n')
    except OSError as error: print(error.strerror)
"""
    ours, theirs = os.openpty()
    try:
        with ws.start(["-q", "exec", "--stdin", *python(PROLOGUE + code)], stdin=theirs) as process:
            out, err = process.communicate(timeout=60)
        lines = out.decode().splitlines()
        assert lines == ["True", *["Operation not permitted"] * 7], (out, err)
        os.set_blocking(theirs, False)
        with pytest.raises(BlockingIOError):
            os.read(theirs, 1)
    finally:
        os.close(ours)
        os.close(theirs)
    host.check(ws)
