"""Names that an attacker chooses: every byte of each comes through every way that Bailiff has."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from bailiff_cli import Cli
from hostile_tools import commit_and_undo, path_of
from trees import snapshot

# Golden: what is listed here must come back to the byte, from every document and the workspace.
NAMES = [
    b"plain", b" leading space", b"trailing space ", b"  ", b"\t", b"new\nline", b"\n", b"\r", b"a\rb",
    b"\x1b[31mred", b"\x1b]0;title\x07", b"\x7f", b"\x01\x02\x1f", b"\x08\x08hidden", b"caf\xe9",
    b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", "\u202egpj.exe".encode(),
    "\u2066\u2069".encode(), "\u200b".encode(), "\ufeffbom".encode(), "caf\u00e9".encode(),
    "cafe\u0301".encode(), b"Case", b"case", b"CASE", b"-rf", b"--", b"-", b"..." , b".hidden.", b"a -> b",
    b'"quoted"', b"'", b"back\\slash", b"\\xff", b"a,b", b"$(id)", b"`id`", b"*", b"?", b"{}", b"%s%n", b"%2e%2e",
    b"CON", b"null", b"x" * 255, b"\xff" * 255, "\U0001f469\u200d\U0001f52c".encode(), b"#", b"a;b", b"a|b",
    b"stage", b"undo", b".bailiff ", b".bailiff2",
]  # fmt: skip

MAKE = """
import os, sys
names = [bytes.fromhex(word) for word in sys.argv[1:]]
os.mkdir(b'/workspace/Reports/odd')
for name in names:
    folder = os.path.join(b'/workspace/Reports/odd', name)
    os.mkdir(folder)
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(name)
    os.symlink(name, os.path.join(folder, b'link'))
"""
MOVE = """
import os
top = b'/workspace/Reports/odd'
for name in os.listdir(top):
    folder = os.path.join(top, name)
    os.rename(os.path.join(folder, name), os.path.join(folder, name[:200] + b'~moved'))
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(b'new')
    os.chmod(os.path.join(folder, name[:200] + b'~moved'), 0o600)
"""
HEX = [name.hex() for name in NAMES]


def expected_paths() -> set[bytes]:
    top = b"Reports/odd"
    folders = {top + b"/" + name for name in NAMES}
    files = {top + b"/" + name + b"/" + name for name in NAMES}
    return {top} | folders | files | {folder + b"/link" for folder in folders}


def test_the_golden_names_differ() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert all(0 < len(name) <= 255 and b"/" not in name and b"\0" not in name for name in NAMES)


def test_every_name_comes_through_to_the_byte(ws: Cli) -> None:
    made, tree = commit_and_undo(ws, MAKE, *HEX)
    assert {path_of(change) for change in made} == expected_paths()
    assert expected_paths() <= tree.keys()
    links = {path_of(change): path_of(change, "link_target") for change in made
             if change["type"] == "symlink"}  # fmt: skip
    assert links == {b"Reports/odd/" + name + b"/link": name for name in NAMES}


@pytest.fixture
def odd(ws: Cli) -> tuple[Cli, dict[str, Any]]:
    """A workspace in which every name was committed."""
    document = ws.json(["exec", "--", "/usr/bin/python3", "-c", MAKE, *HEX])
    assert document["changes"]["state"] == "committed", document
    return ws, document


def test_every_name_can_be_moved_replaced_and_given_back(odd: tuple[Cli, dict[str, Any]]) -> None:
    cli, _ = odd
    changes, tree = commit_and_undo(cli, MOVE)
    for name in NAMES:
        folder = b"Reports/odd/" + name + b"/"
        assert tree[folder + name].content.startswith("3 bytes")
        assert tree[folder + name[:200] + b"~moved"].mode == 0o600
    # Something new has the old place, so that only redirects tell of a move: rootless has none.
    op, key = ("move", "from") if cli.is_privileged else ("modify", "path")
    told = {path_of(change, key) for change in changes if change["op"] == op}
    assert told == {b"Reports/odd/" + name + b"/" + name for name in NAMES}


def test_every_name_is_in_ledger_and_history(odd: tuple[Cli, dict[str, Any]]) -> None:
    cli, document = odd
    recorded: set[bytes] = set()
    for segment in sorted((cli.state / "ledger").glob("*.jsonl")):
        for line in segment.read_bytes().splitlines():
            record = json.loads(line.split(b" ", 1)[1])
            if record["type"] == "changes":
                recorded |= {path_of(change) for change in record["data"]["changes"]}
    assert recorded == expected_paths()
    for name in NAMES:
        path = b"Reports/odd/" + name + b"/" + name
        events = cli.json(["history", "--", path])["events"]
        assert [path_of(event) for event in events] == [path], name
    assert cli.json(["audit", "verify"])["ok"] is True


def test_no_name_speaks_to_the_terminal(odd: tuple[Cli, dict[str, Any]]) -> None:
    cli, document = odd
    execution = document["execution_id"]
    answers = [cli.ok(words) for words in (
        ["changes", execution], ["diff", execution], ["history"], ["show", execution], ["audit", "show"])]  # fmt: skip
    for answer in answers:
        for stream in (answer.stdout, answer.stderr):
            text = stream.decode("utf-8")
            assert not set(text) & set("\x1b\x07\x08\r\x7f\u202e\u2066\u2069\u200b\ufeff"), text
    lines = answers[0].stdout.splitlines()
    assert len([line for line in lines if line.startswith(b"created ")]) == len(expected_paths())


def test_every_name_can_be_asked_for(odd: tuple[Cli, dict[str, Any]]) -> None:
    cli, document = odd
    for name in NAMES:
        path = b"Reports/odd/" + name
        shown = cli.ok(["diff", document["execution_id"], path]).stdout
        assert b"3 created" in shown, (name, shown)


def test_names_that_differ_in_case_or_form_stay_apart(ws: Cli) -> None:
    pairs = {b"Case": b"1", b"case": b"2", "\u00e9".encode(): b"3", "e\u0301".encode(): b"4"}
    code = f"""
import os
for name, content in {pairs!r}.items():
    open(os.path.join(b'/workspace', name), 'wb').write(content)
"""
    document = ws.json(["exec", "--mode", "commit", "--", "/usr/bin/python3", "-c", code])
    if document["changes"]["state"] == "held":
        ws.ok(["approve", document["execution_id"]])
    root = os.fsencode(ws.workspace)
    for name, content in pairs.items():
        with open(os.path.join(root, name), "rb") as file:
            assert file.read() == content
    ws.json(["exec", "--", "/usr/bin/python3", "-c", "import os; os.remove(b'/workspace/case')"])
    assert b"Case" in snapshot(ws.workspace)
