"""What a script does to what is there already: only once it is decided, and then as it did outside.

A test's name begins with the attack's id; see attack_table.py.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from bailiff_cli import Bench, Cli
from e2e_tools import bare, python
from host import IMPORTS, Host, run_bare, run_on_a_copy
from trees import Tree, differences, snapshot

OLD_NS = 1_100_000_000_123_456_789
DIFF_SECONDS_MAX = 20


def run(cli: Cli, code: str, *options: str) -> dict[str, Any]:
    document = cli.json(["exec", *options, *python(f"{IMPORTS}\nos.chdir('/workspace')\n{code}")])
    assert document["status"] == "succeeded", document
    return document


def same_time(path: bytes, want: Any, have: Any) -> bool:
    return want.kind != "file" or want.mtime_ns == have.mtime_ns


def does_what_it_does_outside(host: Host, ws: Cli, code: str) -> Tree:
    """The tree that the code makes of a copy; it has changed nothing of the workspace before it is
    approved, and has made the same of it after."""
    before = snapshot(ws.workspace)
    outside = snapshot(run_on_a_copy(host, ws, code))
    document = run(ws, code, "--mode", "review")
    assert differences(before, snapshot(ws.workspace), same_time) == []
    host.check(ws, document["execution_id"])
    ws.ok(["approve", document["execution_id"]])
    host.check(ws, document["execution_id"])
    return outside


KINDS = {
    "file": "open(p, 'w').write('new')",
    "folder": "os.mkdir(p); open(p + '/inner', 'w').write('inner')",
    "link": "os.symlink('elsewhere', p)",
    "nothing": "pass",
}
REMOVE = "shutil.rmtree(p) if os.path.isdir(p) and not os.path.islink(p) else os.path.lexists(p) and os.unlink(p)"


def test_a14_every_type_becomes_every_other(host: Host, ws: Cli) -> None:
    pairs = [(old, new) for old in KINDS for new in KINDS if {old, new} != {"nothing"}]
    start = [f"p = 'Reports/{old}-{new}'; {KINDS[old]}" for old, new in pairs]
    run_bare(ws, ws.workspace, "\n".join(start))
    changed = [f"p = 'Reports/{old}-{new}'\n{REMOVE}\n{KINDS[new]}" for old, new in pairs]
    outside = does_what_it_does_outside(host, ws, "\n".join(changed))
    assert len([path for path in outside if path.startswith(b"Reports/")]) > len(pairs)
    assert differences(outside, snapshot(ws.workspace)) == []


def test_a14_there_and_back_is_no_change_of_type(host: Host, ws: Cli) -> None:
    ws.write("Reports/p", "new")
    back = "\n".join(f"p = 'Reports/p'\n{REMOVE}\n{KINDS[kind]}" for kind in ("folder", "link", "file"))
    before, outside = snapshot(ws.workspace), snapshot(run_on_a_copy(host, ws, back))
    document = run(ws, back)
    assert differences(before, snapshot(ws.workspace)) == differences(before, outside) == []
    host.check(ws, document["execution_id"])


def test_a15_nothing_is_written_to_what_is_mounted_in_the_workspace(host: Host, ws: Cli) -> None:
    """A folder of the host, which the script's user may write."""
    point = ws.workspace / "Reports/mounted"
    point.mkdir()
    ws.own(point)
    code = "open('Reports/mounted/made', 'w'); open('Reports/mounted/file', 'w').write('damaged')"
    subprocess.run(["mount", "--bind", host.tree, point], check=True)
    try:
        run_bare(ws, ws.workspace, code)
        assert (host.tree / "file").read_text() == "damaged"
        (host.tree / "made").unlink()
        (host.tree / "file").write_text(host.token)
        host.remember()
        answer = ws.run(["exec", *python(f"import os\nos.chdir('/workspace')\n{code}")])
        words = answer.stderr.decode()
        assert answer.exit == 125, answer
        assert "Reports/mounted" in words and "mount point" in words, words
    finally:
        subprocess.run(["umount", point], check=True)
    host.check(ws)
    assert os.listdir(point) == []


@pytest.mark.parametrize("path", ["/", "/etc", "/usr", "/proc", "/sys", "/dev", "/tmp"])
def test_a18_no_workspace_is_made_of_the_host(host: Host, bench: Bench, tier: str, path: str) -> None:
    cli = bench.cli(tier)
    before = sorted(os.listdir(path))
    for args in (["init", path], ["--workspace", path, "exec", "--", "/bin/true"]):
        answer = bare(cli, ["--state", cli.state, *args])
        assert answer.exit == 125, answer
    assert {".bailiff", "Reports", "projects", "Tools"} & set(os.listdir(path)) <= set(before)
    assert not cli.state.exists()
    host.check(cli, str(cli.home))


@pytest.mark.parametrize("outer", ["state", "workspace"])
def test_a18_workspace_and_state_lie_apart(host: Host, bench: Bench, tier: str, outer: str) -> None:
    cli = bench.cli(tier)
    paths = {"state": (cli.state, cli.state / "inner"), "workspace": (cli.workspace / "inner", cli.workspace)}
    state, workspace = paths[outer]
    answer = bare(cli, ["--state", state, "init", workspace])
    assert answer.exit == 125 and b"state directory" in answer.stderr, answer
    assert not cli.state.exists() and not cli.workspace.exists()
    host.check(cli, str(cli.home))


def test_d08_modes_and_times_alone_wait_too(host: Host, ws: Cli) -> None:
    for name in ("mode", "time", "both", "folder/inner"):
        os.utime(ws.write(f"Reports/{name}", name), ns=(OLD_NS, OLD_NS))
    outside = does_what_it_does_outside(host, ws, """
os.chmod('Reports/mode', 0o600); os.chmod('Reports/folder', 0o700)
os.utime('Reports/time', ns=(5, 1234567890))
os.chmod('Reports/both', 0o755); os.utime('Reports/both', (7, 7))
""")
    assert outside[b"Reports/mode"].mode == 0o600 and outside[b"Reports/time"].mtime_ns == 1234567890
    assert differences(outside, snapshot(ws.workspace), same_time) == []


def test_d18_swapped_and_rotated_names(host: Host, ws: Cli) -> None:
    for name in ("a", "b", "c", "d", "e", "f/inner", "g/other"):
        os.utime(ws.write(f"Reports/{name}", name), ns=(OLD_NS, OLD_NS))
    swaps = ["at", "ba", "tb", "ct", "dc", "ed", "te", "ft", "gf", "tg"]
    outside = does_what_it_does_outside(
        host, ws, f"os.chdir('Reports')\nfor p, q in {swaps!r}: os.rename(p, q)")
    assert {b"Reports/f/other", b"Reports/g/inner"} <= outside.keys()
    assert differences(outside, snapshot(ws.workspace), same_time) == []


@pytest.mark.parametrize("code", ["open('Reports/a', 'a').write('!')", "os.chmod('Reports/a', 0o600)"])
def test_d19_the_other_name_of_a_file_is_left_alone(host: Host, ws: Cli, code: str) -> None:
    ws.write("Reports/a", "text")
    os.link(ws.workspace / "Reports/a", ws.workspace / "projects/b")
    before = snapshot(ws.workspace)[b"projects/b"]
    outside = does_what_it_does_outside(host, ws, code)
    after = snapshot(ws.workspace)
    assert (outside[b"projects/b"].content, outside[b"projects/b"].mode) != (before.content, before.mode)
    assert (after[b"projects/b"].content, after[b"projects/b"].mode) == (before.content, before.mode)
    assert after[b"Reports/a"].content == outside[b"Reports/a"].content
    assert after[b"Reports/a"].mode == outside[b"Reports/a"].mode


def test_d20_d21_what_comes_to_the_same_is_no_change(host: Host, ws: Cli) -> None:
    for name in ("opened", "mode", "time", "again"):
        os.utime(ws.write(f"Reports/{name}", name), ns=(OLD_NS, OLD_NS))
    code = f"""
os.chdir('Reports')
os.close(os.open('opened', os.O_RDWR))
os.chmod('mode', 0o644)
os.utime('time', ns=({OLD_NS}, {OLD_NS}))
os.unlink('again'); open('again', 'w').write('again'); os.utime('again', ns=({OLD_NS}, {OLD_NS}))
open('made', 'w'); os.unlink('made')
"""
    before, outside = snapshot(ws.workspace), snapshot(run_on_a_copy(host, ws, code))
    assert differences(before, outside, same_time) == []
    document = run(ws, code)
    assert document["changes"]["state"] == "none", document
    assert differences(before, snapshot(ws.workspace), same_time) == []
    host.check(ws, document["execution_id"])


@pytest.mark.parametrize("others", ["writes", "removes", "makes a folder of it"])
def test_d22_what_others_did_meanwhile_is_not_overwritten(host: Host, ws: Cli, others: str) -> None:
    file = ws.write("Reports/a", "base")
    code = "shutil.rmtree('Reports/a', True); open('Reports/a', 'w').write('of the script')"
    document = run(ws, code, "--mode", "review")
    file.unlink()
    if others == "writes":
        ws.write("Reports/a", "of another")
    elif others != "removes":
        ws.write("Reports/a/inner", "of another")
    before = snapshot(ws.workspace)
    copy = run_on_a_copy(host, ws, code)
    assert (copy / "Reports/a").read_text() == "of the script", "what another did is lost"
    answer = ws.run(["approve", document["execution_id"]])
    assert answer.exit == 3, answer
    assert ws.json(["show", document["execution_id"]])["changes"]["state"] == "conflict"
    assert differences(before, snapshot(ws.workspace), same_time) == []
    host.check(ws, document["execution_id"])


# What Bailiff does with the result


TEXTS = {
    "distinct lines": ("f'{n:06}\\n'", "f'x{n:05}\\n'"),
    "lines in turn": ("'ab'[n % 2] + '\\n'", "'bcc'[n % 3] + '\\n'"),
    "a permutation": ("f'{n:06}\\n'", "f'{n * 7919 % 90001:06}\\n'"),
    "empty lines": ("'\\n' * 10", "'\\n' * 10 if n else 'x'"),
}


@pytest.mark.parametrize("texts", TEXTS)
def test_c20_a_text_that_is_hard_to_compare_is_shown_in_time(host: Host, ws: Cli, texts: str) -> None:
    old, new = (f"''.join({line} for n in range(90_000))" for line in TEXTS[texts])
    run(ws, f"open('Reports/text', 'w').write({old})")
    document = run(ws, f"open('Reports/text', 'w').write({new})", "--mode", "review")
    start = time.monotonic()
    shown = ws.ok(["diff", document["execution_id"]]).stdout
    assert time.monotonic() - start < DIFF_SECONDS_MAX
    assert b"Reports/text" in shown and len(shown) < 4 << 20
    host.check(ws, document["execution_id"])


def test_c24_a_state_without_room_loses_and_leaves_nothing(host: Host, bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    cli.state.mkdir(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,mode=0700,uid={cli.uid},gid={cli.uid}",
                    "bailiff-test", cli.state], check=True)  # fmt: skip
    try:
        cli.ok(["init", cli.workspace])
        cli.write("Reports/base", "base")
        held = run(cli, "open('Reports/base', 'w').write('new')", "--mode", "review")
        with (cli.state / "ballast").open("wb", buffering=0) as file:
            fill(file.fileno())
        before = snapshot(cli.workspace)
        answer = cli.run(["exec", *python("print('x' * (1 << 20)); open('/workspace/Reports/new', 'w')")])
        assert answer.exit == 125 and b"the disk is full" in answer.stderr, answer
        assert differences(before, snapshot(cli.workspace)) == []
        (cli.state / "ballast").unlink()
        cli.ok(["approve", held["execution_id"]])
        assert (cli.workspace / "Reports/base").read_text() == "new"
        ids = [document["execution_id"] for document in cli.json(["list"])["executions"]]
    finally:
        subprocess.run(["umount", cli.state], check=True)
    host.check(cli, *ids)


def fill(file: int) -> None:
    for size in (1 << 16, 1 << 12, 1):
        try:
            while os.write(file, b"x" * size):
                pass
        except OSError:
            continue
