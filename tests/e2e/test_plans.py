"""Hand-written plans: what they do, what is refused, and how they are decided and applied."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from bailiff_cli import ON_FUSE, Cli, remove_tree
from e2e_tools import commit_file, contents, staged
from sample import SEED

CASE = "Abby-MVA"


def own(ws: Cli, *paths: Path) -> None:
    for path in paths:
        os.chown(path, ws.owner, ws.owner, follow_symlinks=False)


def fill(ws: Cli, files: dict[str, str], case: str = CASE) -> Path:
    """Makes the case with these files."""
    root = ws.workspace / "projects" / case
    for name, text in {**files, "keep/0": "", "keep/1": "", "keep/2": "", "keep/3": ""}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own(ws, root, *root.rglob("*"))
    return root


def plan_of(*operations: dict[str, Any], **members: Any) -> bytes:
    plan = {
        "plan_id": "", "case_name": CASE, "description": "a test", "created_by": "agent",
        "operations": list(operations), "requires_approval": False,
    }  # fmt: skip
    return json.dumps(plan | members).encode()


def move(source: str, destination: str) -> dict[str, Any]:
    return {"type": "move", "source": source, "destination": destination}


def copy(source: str, destination: str) -> dict[str, Any]:
    return {"type": "copy", "source": source, "destination": destination}


def delete(source: str) -> dict[str, Any]:
    return {"type": "delete", "source": source}


def create_dir(destination: str) -> dict[str, Any]:
    return {"type": "create_dir", "destination": destination}


def write(destination: str, content: str) -> dict[str, Any]:
    return {"type": "write_file", "destination": destination, "content": content}


def submit(ws: Cli, *operations: dict[str, Any], **members: Any) -> dict[str, Any]:
    return ws.json(["plan", "submit", "-"], plan_of(*operations, **members))


def applied(ws: Cli, *operations: dict[str, Any]) -> dict[str, Any]:
    """Submits a plan that policy lets through, and applies it."""
    document = submit(ws, *operations)
    assert document["changes"]["state"] == "approved", document
    done = ws.json(["plan", "apply", document["plan_id"]])
    assert done["done"] and done["state"] == "committed", done
    return document


def effect(document: dict[str, Any]) -> list[tuple[str, str]]:
    prefix = f"projects/{CASE}/"
    return [(c["op"], c["path"].removeprefix(prefix)) for c in document["validation"]["effect"]]


def test_every_operation_does_what_it_says(ws: Cli) -> None:
    root = fill(ws, {"a.pdf": "a", "tree/f": "f", "tree/sub/g": "g", "old": "old", "gone": "x"})
    os.chmod(root / "tree/f", 0o755)
    os.utime(root / "tree/f", (1_000_000, 1_000_000))
    before = contents(ws)
    document = applied(
        ws, create_dir("Medical/P1"), move("a.pdf", "Medical/P1/a.pdf"), copy("tree", "copied/to"),
        write("old", "new\n"), write("made/here", "made"), delete("gone"),
        {"type": "write_file", "destination": "raw",
         "content_b64": base64.b64encode(b"\0\xff").decode()})  # fmt: skip
    assert (root / "Medical/P1/a.pdf").read_text() == "a" and not (root / "a.pdf").exists()
    assert (root / "copied/to/sub/g").read_text() == "g" and (root / "tree/sub/g").exists()
    copied = (root / "copied/to/f").stat()
    assert stat.S_IMODE(copied.st_mode) == 0o755 and copied.st_mtime == 1_000_000
    assert (root / "old").read_text() == "new\n" and (root / "made/here").read_text() == "made"
    assert (root / "raw").read_bytes() == b"\0\xff" and not (root / "gone").exists()
    assert (root / "made/here").stat().st_uid == ws.owner
    assert ws.run(["rollback", document["plan_id"]]).exit == 0
    assert contents(ws) == before
    assert ws.json(["show", document["plan_id"]])["changes"]["state"] == "rolled_back"
    assert ws.run(["audit", "verify"]).exit == 0


def test_the_file_operations_shape_is_taken_too(ws: Cli) -> None:
    root = fill(ws, {"x/f.pdf": "f"})
    plan: dict[str, Any] = {
        "case_name": CASE,
        "dry_run": True,
        "operations": [
            {"type": "move", "from": f"{CASE}/x/f.pdf", "to": f"{CASE}/Medical/f.pdf"},
            {"type": "mkdir", "path": f"{CASE}/photos"},
        ],
    }
    looked = ws.json(["plan", "submit", "-"], json.dumps(plan).encode())
    assert looked["plan_id"] is None and looked["validation"]["valid"]
    assert effect(looked) == [("create", "Medical"), ("move", "Medical/f.pdf"), ("create", "photos")]
    assert ws.json(["plan", "list"])["plans"] == []
    done = ws.json(["plan", "submit", "-"], json.dumps(plan | {"dry_run": False}).encode())
    assert done["changes"]["state"] == "approved" and done["decided_by"] == "policy"
    assert done["operations"] == plan["operations"]
    assert ws.run(["plan", "apply", done["plan_id"]]).exit == 0
    assert (root / "Medical/f.pdf").read_text() == "f" and (root / "photos").is_dir()


def test_a_plan_without_a_case_is_relative_to_the_workspace(ws: Cli) -> None:
    document = ws.json(
        ["plan", "submit", "-"],
        json.dumps({"operations": [write("Reports/r", "x")], "requires_approval": False}).encode())  # fmt: skip
    assert document["case_name"] is None
    assert ws.run(["plan", "apply", document["plan_id"]]).exit == 0
    assert (ws.workspace / "Reports/r").read_text() == "x"


def test_a_moved_directory_is_not_copied(ws: Cli) -> None:
    root = fill(ws, {"tree/f": "f", "tree/sub/g": "g"})
    inode = (root / "tree/sub/g").stat().st_ino
    document = applied(ws, move("tree", "to/tree"))
    assert effect(document) == [("create", "to"), ("move", "to/tree")]
    if not ON_FUSE:
        assert (root / "to/tree/sub/g").stat().st_ino == inode
    assert (root / "to/tree/sub/g").read_text() == "g"


def test_validation_changes_nothing_and_hides_nothing(ws: Cli) -> None:
    fill(ws, {"tree/a": "1", "tree/sub/b": "22", "f": "333"})
    before = contents(ws)
    plan = plan_of(delete("tree"), delete("none"), write("f", "4444"), create_dir("keep"))
    document = ws.json(["plan", "validate", "-"], plan)
    assert document["validation"]["valid"] and document["validation"]["operation_count"] == 4
    assert document["validation"]["size_change_bytes"] == -2
    assert document["validation"]["warnings"] == [
        "Op 0: Deletes a directory with 3 entries: tree", "Op 1: File already deleted: none",
        "Op 2: File will be overwritten: f", "Op 3: Directory already exists: keep"]  # fmt: skip
    assert effect(document) == [
        ("modify", "f"), ("delete", "tree"), ("delete", "tree/a"), ("delete", "tree/sub"),
        ("delete", "tree/sub/b")]  # fmt: skip
    shown = ws.run(["plan", "validate", "-"], plan).stdout.decode()
    for path in ("tree/", "tree/a", "tree/sub/", "tree/sub/b"):
        assert f"delete    projects/{CASE}/{path}\n" in shown
    assert contents(ws) == before and staged(ws) == []
    assert ws.json(["plan", "list"])["plans"] == []


def test_a_plan_with_errors_is_recorded_and_goes_no_further(ws: Cli) -> None:
    fill(ws, {"f": "1"})
    answer = ws.run(["--json", "plan", "submit", "-"],
                    plan_of(write("ok", "x"), move("gone", "to"), move("f", "keep")))  # fmt: skip
    assert answer.exit == 125
    document = json.loads(answer.stdout)
    assert document["validation"]["errors"] == [
        "Op 1: Source not found: gone",
        "Op 2: Destination is a directory: keep (name the whole new path, or delete the directory"
        " first)"]  # fmt: skip
    assert document["changes"]["state"] == "none" and staged(ws) == []
    plan = document["plan_id"]
    for command in (["approve", plan], ["plan", "apply", plan], ["reject", plan], ["rollback", plan]):
        refused = ws.run(command)
        assert refused.exit == 125 and b"there is nothing to decide" in refused.stderr, command
    assert ws.json(["show", plan[:20]])["plan_id"] == plan
    assert ws.json(["changes", plan])["state"] == "none"
    assert b'"valid":false' in ws.run(["audit", "show"]).stdout


def test_an_unknown_case_is_an_error(ws: Cli) -> None:
    document = submit(ws, delete("x"), case_name="Nobody")
    assert document["validation"]["errors"] == ["Case directory not found: Nobody"]


@pytest.mark.parametrize(("text", "told"), [
    (b"{", "is not JSON: at byte 1"),
    (b'{"operations": [], "operations": []}', "/operations: is given twice"),
    (plan_of(move("/etc/passwd", "x")), "/operations/0/source: is absolute"),
    (plan_of(move("x", "../y")), "/operations/0/destination: has '..' in it"),
    (plan_of({"type": "chmod"}), "/operations/0/type: must be one of move, copy"),
    (plan_of(delete("x"), mode=1), "/mode: is unknown"),
])  # fmt: skip
def test_what_is_no_plan_is_refused_by_name(ws: Cli, text: bytes, told: str) -> None:
    for command in ("validate", "submit"):
        answer = ws.run(["plan", command, "-"], text)
        assert answer.exit == 125 and told in answer.stderr.decode(), answer
    missing = ws.run(["plan", "validate", "no-such-file"])
    assert missing.exit == 125 and b"no-such-file" in missing.stderr


def test_approval_marks_a_plan_and_apply_commits_it(ws: Cli) -> None:
    root = fill(ws, {"f": "old"})
    document = submit(ws, write("f", "new"), requires_approval=True)
    plan = document["plan_id"]
    assert document["changes"]["state"] == "held" and document["decision"]["rule"] == "mode-review"
    assert [row["id"] for row in ws.json(["list", "--held"])["proposals"]] == [plan]
    assert b"-old" in ws.run(["diff", plan]).stdout and b"+new" in ws.run(["diff", plan]).stdout
    early = ws.run(["plan", "apply", plan])
    assert early.exit == 4 and b"is not approved yet" in early.stderr
    wrong = ws.run(["approve", plan, "--digest", "sha256:00000000"])
    assert wrong.exit == 4
    approved = ws.json(["approve", plan, "--digest", document["changes"]["digest"]])
    assert approved["state"] == "approved" and (root / "f").read_text() == "old"
    assert ws.json(["show", plan])["changes"]["state"] == "approved"
    assert ws.run(["approve", plan]).exit == 4
    assert ws.run(["plan", "apply", plan]).exit == 0
    assert (root / "f").read_text() == "new" and staged(ws) == []
    assert ws.run(["plan", "apply", plan]).exit == 4
    assert ws.json(["show", plan])["decided_by"] == f"local:{ws.uid}"
    event = ws.json(["history", f"projects/{CASE}/f"])["events"][0]
    assert event["id"] == plan and event["principal"] == f"local:{ws.uid}"


@pytest.mark.parametrize("approve_first", [False, True])
def test_a_plan_can_be_rejected_until_it_is_applied(ws: Cli, approve_first: bool) -> None:
    root = fill(ws, {"f": "old"})
    plan = submit(ws, write("f", "new"), requires_approval=True)["plan_id"]
    if approve_first:
        assert ws.run(["approve", plan]).exit == 0
    assert ws.run(["reject", plan, "--reason", "no"]).exit == 0
    assert ws.run(["plan", "apply", plan]).exit == 4
    assert (root / "f").read_text() == "old" and staged(ws) == []
    assert ws.json(["show", plan])["changes"]["state"] == "rejected"


def test_policy_holds_what_it_would_hold_of_a_script(ws: Cli) -> None:
    fill(ws, {})
    document = submit(ws, write(".git/hooks/pre-commit", "#!/bin/sh\n"))
    assert document["changes"]["state"] == "held"
    assert document["decision"]["rule"] == "protected-path"


def test_an_execution_is_no_plan(ws: Cli) -> None:
    run = commit_file(ws, "x", "1")["execution_id"]
    answer = ws.run(["plan", "apply", run])
    assert answer.exit == 125 and b"is not a plan" in answer.stderr


def test_gc_keeps_what_an_approved_plan_needs(ws: Cli) -> None:
    root = fill(ws, {})
    plan = submit(ws, write("f", "new"))["plan_id"]
    assert ws.run(["gc", "--older-than", "0"]).exit == 0
    assert ws.run(["plan", "apply", plan]).exit == 0
    assert (root / "f").read_text() == "new"


def rewrite(path: Path) -> None:
    path.write_text("theirs")


def add_below(path: Path) -> None:
    (path / "theirs").write_text("new")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(("operations", "meanwhile", "path", "told"), [
    ([write("f", "mine")], rewrite, "f", "f"),
    ([move("f", "g")], rewrite, "f", "f"),
    ([move("f", "g")], remove, "f", "f"),
    ([delete("f")], rewrite, "f", "f"),
    ([write("made", "mine")], rewrite, "made", "made"),
    ([move("tree", "to")], add_below, "tree/sub", "tree"),
    ([delete("tree")], add_below, "tree/sub", "tree/sub/theirs"),
])  # fmt: skip
def test_a_base_that_moved_on_is_a_conflict_and_nothing_is_applied(
    ws: Cli, operations: list[dict[str, Any]], meanwhile: Any, path: str, told: str
) -> None:
    root = fill(ws, {"f": "old", "tree/sub/a": "a", "tree/b": "b"})
    plan = submit(ws, write("first", "1"), *operations, requires_approval=True)["plan_id"]
    assert ws.run(["approve", plan]).exit == 0
    meanwhile(root / path)
    own(ws, *root.rglob("*"))
    before = contents(ws)
    answer = ws.run(["--json", "plan", "apply", plan])
    assert answer.exit == 3, answer
    done = json.loads(answer.stdout)
    assert done["state"] == "conflict"
    assert f"projects/{CASE}/{told}" in [conflict["path"] for conflict in done["conflicts"]]
    assert contents(ws) == before and not (root / "first").exists()
    assert ws.json(["show", plan])["changes"]["conflicts"] == done["conflicts"]


def test_names_of_one_file_and_read_only_files(ws: Cli) -> None:
    root = fill(ws, {"one": "old", "fixed": "old"})
    os.link(root / "one", root / "other")
    os.chmod(root / "fixed", 0o444)
    document = submit(ws, write("one", "new"), write("fixed", "new"))
    assert document["changes"]["state"] == "held"
    assert document["decision"]["rule"] == "hard-link"
    assert ws.run(["approve", document["plan_id"]]).exit == 0
    assert ws.run(["plan", "apply", document["plan_id"]]).exit == 0
    assert (root / "one").read_text() == "new" and (root / "other").read_text() == "old"
    assert (root / "fixed").read_text() == "new"
    assert stat.S_IMODE((root / "fixed").stat().st_mode) == 0o444


def test_a_plan_works_in_folders_that_are_read_only(ws: Cli) -> None:
    root = fill(ws, {"locked/f": "f", "locked/g": "g"})
    os.chmod(root / "locked", 0o555)
    document = submit(ws, move("locked/f", "f"), write("locked/g", "new"))
    assert ws.run(["plan", "apply", document["plan_id"]]).exit == 0
    assert (root / "f").read_text() == "f" and (root / "locked/g").read_text() == "new"
    assert stat.S_IMODE((root / "locked").stat().st_mode) == 0o555


def test_links_are_not_followed(ws: Cli) -> None:
    outside = ws.home / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    root = fill(ws, {"f": "1"})
    os.symlink(outside, root / "out")
    os.symlink(outside / "secret", root / "leaf")
    own(ws, outside, outside / "secret", root / "out", root / "leaf")
    bad = submit(ws, write("out/x", "x"), copy("out/secret", "got"), delete("out/secret"))
    assert bad["validation"]["errors"] == [
        f"Op {i}: Path leads through a symbolic link: out" for i in range(3)]  # fmt: skip
    document = submit(ws, copy("leaf", "copied"), write("leaf", "mine"), move("out", "moved"))
    assert document["changes"]["state"] == "held"
    assert ws.run(["approve", document["plan_id"]]).exit == 0
    assert ws.run(["plan", "apply", document["plan_id"]]).exit == 0
    assert os.readlink(root / "copied") == str(outside / "secret")
    assert not (root / "leaf").is_symlink() and (root / "leaf").read_text() == "mine"
    assert os.readlink(root / "moved") == str(outside)
    assert os.listdir(outside) == ["secret"] and (outside / "secret").read_text() == "secret"


@pytest.mark.parametrize("operation", [
    delete("Database"), move("Database", "D"), write("Database/script_execution_logs/x", "x"),
    write(".bailiff/workspace.json", "{}"), copy(".bailiff", "b"),
])  # fmt: skip
def test_what_is_bailiffs_own_is_no_plans_to_change(
    ws: Cli, operation: dict[str, Any]
) -> None:
    commit_file(ws, "x", "1")  # Its record makes the folder.
    document = ws.json(["plan", "validate", "-"], json.dumps({"operations": [operation]}).encode())
    [error] = document["validation"]["errors"]
    assert "reserved for Bailiff" in error


class Sketch:
    """Plans as the first sketches of this format did them: one call of shutil after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def do(self, operation: dict[str, Any]) -> None:
        source = self.root / operation.get("source", ".")
        target = self.root / operation.get("destination", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        match operation["type"]:
            case "move":
                shutil.move(str(source), str(target))
            case "copy" if source.is_file():
                shutil.copy2(source, target)
            case "copy":
                shutil.copytree(source, target)
            case "delete" if source.is_file():
                source.unlink()
            case "delete":
                shutil.rmtree(source)
            case "create_dir":
                target.mkdir(parents=True, exist_ok=True)
            case "write_file":
                target.write_text(operation["content"])

    def random_operation(self, rng: random.Random) -> dict[str, Any] | None:
        """One that is possible now and does not depend on how a directory is overwritten."""
        there = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        dirs = [""] + [path for path in there if (self.root / path).is_dir()]
        new = os.path.join(rng.choice(dirs), *(rng.choice("pqrs") for _ in range(rng.choice([1, 1, 2]))))
        files = [path for path in there if (self.root / path).is_file()]
        target = rng.choice(files) if files and rng.random() < 0.2 else new
        kind = rng.choice(["move", "move", "move", "copy", "delete", "create_dir", "write_file"])
        parents = [target[:at] for at, byte in enumerate(target) if byte == "/"]
        if any((self.root / parent).is_file() for parent in parents):
            return None
        if kind != "delete" and (self.root / target).is_dir() and kind != "create_dir":
            return None
        if kind == "create_dir" and (self.root / target).is_file():
            return None
        if kind == "create_dir":
            return create_dir(target)
        if kind == "write_file":
            return write(target, rng.choice(["", "x", "some text"]))
        if not there:
            return None
        source = rng.choice(there)
        if kind == "delete":
            return delete(source) if rng.random() < 0.5 else None
        is_dir = (self.root / source).is_dir()
        inside = target == source or target.startswith(source + "/")
        if inside or (is_dir and (self.root / target).exists()):
            return None
        return move(source, target) if kind == "move" else copy(source, target)


def tree_of(root: Path) -> dict[str, tuple[int, str | None]]:
    found: dict[str, tuple[int, str | None]] = {}
    for path in root.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        found[str(path.relative_to(root))] = (mode, None if path.is_dir() else path.read_text())
    return found


def test_random_plans_come_to_what_one_call_after_the_other_comes_to(ws: Cli) -> None:
    rng = random.Random(SEED)
    for round_number in range(12):
        case = f"Case-{round_number}"
        root = fill(ws, {"a": "a", "b": "bb", "d/a": "da", "d/e/f": "def", "g/h": "gh"}, case)
        before = tree_of(root)
        model = ws.home / "model"
        shutil.copytree(root, model)
        sketch = Sketch(model)
        operations = []
        for _ in range(rng.randint(1, 25)):
            operation = sketch.random_operation(rng)
            if operation is None:
                continue
            sketch.do(operation)
            operations.append(operation)
        expected = tree_of(model)
        remove_tree(model)
        if not operations:
            continue
        said = f"seed {SEED}, round {round_number}: {json.dumps(operations)}"
        document = submit(ws, *operations, case_name=case, requires_approval=True)
        assert document["validation"]["valid"], (said, document["validation"])
        plan = document["plan_id"]
        if document["changes"]["state"] == "none":
            assert expected == before, said
            continue
        assert ws.run(["approve", plan]).exit == 0, said
        answer = ws.run(["plan", "apply", plan])
        assert answer.exit == 0, (said, answer)
        assert tree_of(root) == expected, said
        answer = ws.run(["rollback", plan])
        if b"held for review" in answer.stdout:
            answer = ws.run(["approve", answer.stdout.split()[-1]])
        assert answer.exit == 0, (said, answer)
        assert tree_of(root) == before, said
