"""The ledger, which shows tampering, and the history of files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bailiff_cli import Bench, Cli, remove_tree
from e2e_tools import bare, commit_file, hold_for_review, python, writing

Lines = list[bytes]


@pytest.fixture(scope="module")
def recorded(shared: Cli) -> Cli:
    """A workspace with a commit, an approval, a rejection and a rollback in its ledger."""
    first = commit_file(shared, "Reports/a", "a")
    shared.ok(["approve", hold_for_review(shared, "Reports/b")["execution_id"]])
    shared.ok(["reject", "--reason", "no", hold_for_review(shared, "c")["execution_id"]])
    shared.ok(["rollback", first["execution_id"]])
    return shared


@pytest.fixture
def copy(recorded: Cli, tmp_path: Path) -> Path:
    """A copy of the ledger, to tamper with."""
    return Path(shutil.copytree(recorded.state / "ledger", tmp_path / "ledger"))


def verify(cli: Cli, ledger: Path, *options: str | Path) -> tuple[int, dict]:
    cli = Cli("privileged", cli.workspace, cli.state, cli.binary)  # Who may read the copy.
    answer = bare(cli, ["--json", "audit", "verify", "--ledger", ledger, *options])
    return answer.exit, json.loads(answer.stdout)


def segment(ledger: Path) -> Path:
    return max(ledger.glob("*.jsonl"))


def test_a_ledger_that_nobody_touched_is_whole(recorded: Cli) -> None:
    document = recorded.json(["audit", "verify"])
    assert document["ok"] is True and document["finding"] == "ok"
    assert document["records"] == len(recorded.json(["audit", "show"])["records"])
    assert recorded.run(["audit", "verify"]).exit == 0


def test_everything_that_happened_is_in_the_ledger(recorded: Cli) -> None:
    records = recorded.json(["audit", "show"])["records"]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    types = {record["type"] for record in records}
    assert types >= {"submitted", "started", "finished", "decided", "committed", "held", "approved",
                     "rejected", "rolled_back"}, types  # fmt: skip
    principals = {r["data"]["principal"] for r in records if "principal" in r["data"]}
    assert principals == {f"local:{recorded.uid}"}
    later = recorded.json(["audit", "show", "--from", "3"])["records"]
    assert later == records[2:]
    assert len(recorded.ok(["audit", "show"]).stdout.splitlines()) == len(records)


def test_the_ledger_says_what_was_committed(recorded: Cli) -> None:
    records = recorded.json(["audit", "show"])["records"]
    changes = [c for r in records if r["type"] == "changes" for c in r["data"]["changes"]]
    assert ("create", "Reports/a", hashlib.sha256(b"a").hexdigest()) in [
        (c["op"], c["path"], c.get("sha256")) for c in changes]  # fmt: skip


def edit(lines: Lines) -> None:
    lines[4] = lines[4].replace(b'"id":"exec_', b'"id":"exec-', 1)


def delete(lines: Lines) -> None:
    del lines[4]


def reorder(lines: Lines) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def repeat(lines: Lines) -> None:
    lines.insert(5, lines[4])


@pytest.mark.parametrize("tamper, findings", [
    (edit, {"edited"}), (delete, {"missing"}), (reorder, {"reordered"}),
    (repeat, {"reordered", "edited"})])  # fmt: skip
def test_tampering_is_found_with_its_place(
    recorded: Cli, copy: Path, tamper: Callable[[Lines], None], findings: set[str]
) -> None:
    path = segment(copy)
    lines = path.read_bytes().splitlines(keepends=True)
    before = list(lines)
    tamper(lines)
    assert lines != before
    path.write_bytes(b"".join(lines))
    status, document = verify(recorded, copy)
    assert status == 1 and document["ok"] is False
    assert document["finding"] in findings, document
    assert document["file"] == path.name and document["line"] in (5, 6)


def test_a_record_that_is_not_signed_for_elsewhere_is_missed_with_a_checkpoint(
    recorded: Cli, copy: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(recorded.ok(["audit", "show", "--checkpoint"]).stdout)
    fresh = tmp_path / "fresh"
    shutil.copytree(recorded.state / "ledger", fresh)
    assert verify(recorded, fresh, "--checkpoint", checkpoint)[0] == 0
    path = segment(fresh)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-4]))
    (fresh / "checkpoint").unlink(missing_ok=True)  # Who cuts the ledger removes this too.
    status, document = verify(recorded, fresh, "--checkpoint", checkpoint)
    assert (status, document["finding"]) == (1, "truncated"), document


def test_the_key_may_be_a_copy_that_was_kept_elsewhere(
    recorded: Cli, bench: Bench, copy: Path, tmp_path: Path
) -> None:
    key = shutil.copy(copy / "key.pub", tmp_path / "key")
    assert verify(recorded, copy, "--key", key)[0] == 0
    other = bench.workspace(recorded.tier)
    other.ok(["exec", "--", "/bin/true"])
    status, document = verify(recorded, copy, "--key", other.state / "ledger/key.pub")
    assert (status, document["finding"]) == (1, "wrong_key")
    remove_tree(other.home)


def test_tampering_does_not_stop_at_the_workspaces_own_ledger(ws: Cli) -> None:
    commit_file(ws, "Reports/a", "a")
    path = segment(ws.state / "ledger")
    path.write_bytes(path.read_bytes().replace(b"Reports/a", b"Reports/b"))
    answer = ws.run(["audit", "verify"])
    assert answer.exit == 1 and b"00000001.jsonl" in answer.stdout, answer


# History


def test_the_history_of_a_file_says_who_and_by_which_script(ws: Cli) -> None:
    script = "open('/Reports/a', 'w').write('by the script')\n"
    ws.write("Tools/make.py", script)
    document = ws.json(["run", "Tools/make.py"])
    [event] = ws.json(["history", "Reports/a"])["events"]
    assert event == event | {
        "op": "create", "type": "file", "path": "Reports/a", "id": document["execution_id"],
        "script_path": "/Tools/make.py", "principal": f"local:{ws.uid}", "approved_by": "policy",
        "script_sha256": hashlib.sha256(script.encode()).hexdigest(),
        "sha256": hashlib.sha256(b"by the script").hexdigest()}  # fmt: skip
    text = ws.ok(["history", "/Reports/a"]).stdout.decode()
    for word in ("create", "Reports/a", document["execution_id"], "/Tools/make.py",
                 event["script_sha256"][:16], "approved by policy"):  # fmt: skip
        assert word in text


def test_history_names_the_person_who_approved(ws: Cli) -> None:
    ws.ok(["approve", hold_for_review(ws, "Reports/a")["execution_id"]])
    [event] = ws.json(["history", "Reports/a"])["events"]
    assert event["approved_by"] == f"local:{ws.uid}"


def test_a_file_is_followed_through_its_move_and_that_of_its_folder(ws: Cli) -> None:
    ws.write("Reports/old/other", "stays\n")
    ids = [commit_file(ws, "Reports/old/a", "one")["execution_id"]]
    moves = ["os.rename('old/a', 'old/b')", "os.rename('old', 'new')", "open('new/b', 'a').write('2')"]
    for move in moves:
        document = ws.json(["exec", "--cwd", "Reports", *python("import os\n" + move)])
        if document["status"] != "succeeded":
            # Where a folder of the lower layer cannot be renamed, tools fall back to this.
            document = ws.json(["exec", "--cwd", "Reports", "--", "/bin/mv", "old", "new"])
        if document["changes"]["state"] == "held":
            ws.ok(["approve", document["execution_id"]])
        ids.append(document["execution_id"])
    assert (ws.workspace / "Reports/new/b").read_text() == "one2"
    events = ws.json(["history", "Reports/new/b"])["events"]
    assert [event["id"] for event in events] == ids[::-1]
    assert [event["path_then"] for event in events] == [
        "Reports/new/b", "Reports/new/b", "Reports/old/b", "Reports/old/a"]  # fmt: skip


def test_the_history_of_a_folder_holds_all_below_it(ws: Cli) -> None:
    commit_file(ws, "Reports/a", "a")
    commit_file(ws, "Database/b", "b")
    assert [e["path"] for e in ws.json(["history", "Reports"])["events"]] == ["Reports/a"]
    assert [e["path"] for e in ws.json(["history"])["events"]] == ["Database/b", "Reports/a"]
    assert len(ws.json(["history", "--limit", "1"])["events"]) == 1
    nothing = ws.ok(["history", "Tools/none"]).stdout
    assert nothing == b"no change to this path was committed through Bailiff\n"


def test_history_shows_rollbacks_as_commits(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "a")
    undone = ws.json(["rollback", document["execution_id"]])
    events = ws.json(["history", "Reports/a"])["events"]
    assert [(e["op"], e["id"]) for e in events] == [
        ("delete", undone["id"]), ("create", document["execution_id"])]  # fmt: skip
    assert events[0]["rolls_back"] == document["execution_id"]


def test_what_was_not_committed_is_no_history(ws: Cli) -> None:
    ws.ok(["reject", hold_for_review(ws, "Reports/a")["execution_id"]])
    ws.json(["exec", "--mode", "discard", *writing("Reports/a", "a")])
    assert ws.json(["history", "Reports/a"])["events"] == []
