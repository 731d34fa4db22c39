"""The execution document: complete, and the same in the answer, in the store and as a record."""

from __future__ import annotations

import datetime
import hashlib
import json
import re

import pytest
from bailiff_cli import Cli
from e2e_tools import commit_file, contents, hold_for_review, python, writing

NONE = type(None)
INTEGER, NUMBER, TEXT = (int,), (int, float), (str,)
TYPES = {
    "execution_id": TEXT, "status": TEXT, "success": (bool,), "exit_code": INTEGER,
    "signal": (NONE,), "stdout": TEXT, "stderr": TEXT, "stdout_truncated": (bool,),
    "stderr_truncated": (bool,), "duration_seconds": (float,), "timestamp": TEXT,
    "script_path": TEXT, "script_sha256": TEXT, "script_args": (list,), "case_name": TEXT,
    "working_dir": TEXT, "environment": TEXT, "environment_digest": TEXT, "engine": TEXT,
    "start": TEXT, "mode": TEXT, "principal": TEXT, "description": TEXT, "limits": (dict,),
    "usage": (dict,), "guarantees": (dict,), "changes": (dict,), "decision": (dict,),
    "warnings": (list,), "error": (NONE,), "log_file": TEXT,
}  # fmt: skip
INNER = {
    "limits": {"timeout_seconds": NUMBER, "memory_bytes": INTEGER, "cpus": NUMBER, "pids": INTEGER,
               "scratch_bytes": INTEGER, "output_bytes": INTEGER, "files": INTEGER},
    "usage": {"cpu_seconds": NUMBER, "memory_peak_bytes": INTEGER, "scratch_bytes": INTEGER},
    "guarantees": {"level": TEXT, "overlay": TEXT, "uid": TEXT, "scratch": TEXT, "limits": TEXT,
                   "seccomp": (bool,), "landlock": INTEGER, "network": TEXT},
    "changes": {"state": TEXT, "digest": TEXT, "created": INTEGER, "modified": INTEGER,
                "deleted": INTEGER, "moved": INTEGER, "metadata": INTEGER,
                "bytes_written": INTEGER},
    "decision": {"outcome": TEXT, "rule": TEXT, "reasons": (list,)},
}  # fmt: skip


def assert_shape(document: dict, types: dict) -> None:
    assert set(document) == set(types)
    for key, wanted in types.items():
        assert type(document[key]) in wanted, (key, document[key])


def record_of(cli: Cli, document: dict) -> dict:
    """The execution record in the workspace."""
    name = f"Database/script_execution_logs/{document['execution_id']}.json"
    assert document["log_file"] == "/" + name
    return json.loads((cli.workspace / name).read_text())


def without_output(document: dict) -> dict:
    return {key: value for key, value in document.items() if not key.startswith("std")}


def test_the_document_has_every_key_of_the_contract(ws: Cli) -> None:
    ws.write("projects/Wilson-MVA-2024/a.txt", "a")
    script = "open('b.txt', 'w').write('b' * 100)\nprint('out')\n"
    ws.write("Tools/script.py", script)
    document = ws.json(["run", "--case", "Wilson-MVA-2024", "--timeout", "1m", "--memory", "512m",
                        "--cpus", "0.5", "Tools/script.py", "--format", "json"])  # fmt: skip
    assert_shape(document, TYPES)
    for key, types in INNER.items():
        assert_shape(document[key], types)
    assert document | {
        "status": "succeeded", "success": True, "exit_code": 0, "stdout": "out\n", "stderr": "",
        "script_path": "/Tools/script.py", "script_args": ["--format", "json"],
        "script_sha256": hashlib.sha256(script.encode()).hexdigest(),
        "case_name": "Wilson-MVA-2024", "working_dir": "/workspace/projects/Wilson-MVA-2024",
        "environment": "default", "engine": "native", "start": "cold", "mode": "commit",
        "principal": f"local:{ws.uid}", "description": "", "warnings": []} == document  # fmt: skip
    assert document["limits"] == {
        "timeout_seconds": 60, "memory_bytes": 512 << 20, "cpus": 0.5, "pids": 256,
        "scratch_bytes": 1 << 30, "output_bytes": 10 << 20, "files": 100000}  # fmt: skip
    changes = document["changes"]
    assert (changes["state"], changes["created"], changes["bytes_written"]) == ("committed", 1, 100)
    assert document["decision"]["outcome"] == "commit"


def test_what_the_document_says_of_time_and_place_is_true(ws: Cli) -> None:
    before = datetime.datetime.now(datetime.timezone.utc)
    document = ws.json(["exec", *python("x = sum(range(10**6))")])
    after = datetime.datetime.now(datetime.timezone.utc)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", document["timestamp"])
    started = datetime.datetime.fromisoformat(document["timestamp"].replace("Z", "+00:00"))
    assert before <= started <= after
    assert 0 < document["duration_seconds"] < (after - before).total_seconds()
    assert 0 < document["usage"]["cpu_seconds"] < 30
    assert document["guarantees"]["overlay"] == ws.tier
    assert document["guarantees"]["seccomp"] is True
    assert document["guarantees"]["network"] == "none"
    assert document["execution_id"][5:13] == document["timestamp"][:10].replace("-", "")


def test_a_record_lies_in_the_workspace_and_says_the_same(ws: Cli) -> None:
    document = ws.json(["exec", *writing("Reports/a", "a")])
    assert record_of(ws, document) == document
    assert ws.json(["show", document["execution_id"]]) == document
    path = ws.workspace / document["log_file"][1:]
    assert path.stat().st_uid == ws.owner


def test_the_record_keeps_the_beginning_of_long_output(ws: Cli) -> None:
    document = ws.json(["exec", *python("print('x' * 100_000)")])
    assert len(document["stdout"]) == 100_001 and document["stdout_truncated"] is False
    record = record_of(ws, document)
    assert len(record["stdout"]) == 65536 and record["stdout_truncated"] is True
    assert without_output(record) == without_output(document)
    assert ws.ok(["logs", "--raw", document["execution_id"]]).stdout == b"x" * 100_000 + b"\n"


@pytest.mark.parametrize("action, state", [("approve", "committed"), ("reject", "rejected")])
def test_a_decision_is_written_into_the_record(ws: Cli, action: str, state: str) -> None:
    document = hold_for_review(ws)
    assert record_of(ws, document)["changes"]["state"] == "held"
    ws.ok([action, document["execution_id"]])
    document["changes"]["state"] = state
    assert record_of(ws, document) == document


def test_a_rollback_is_written_into_the_record(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "a")
    ws.ok(["rollback", document["execution_id"]])
    assert record_of(ws, document)["changes"]["state"] == "rolled_back"


@pytest.mark.parametrize("args, status", [
    (["--", "/bin/false"], "failed"),
    (["--timeout", "200ms", "--", "/bin/sleep", "60"], "timed_out")])  # fmt: skip
def test_a_run_that_did_not_succeed_has_a_record_too(ws: Cli, args: list[str], status: str) -> None:
    document = ws.json(["exec", *args])
    record = record_of(ws, document)
    assert record == document
    assert (record["status"], record["success"]) == (status, False)


def test_the_folder_of_records_can_be_another(ws: Cli) -> None:
    config = ws.state / "bailiff.toml"
    config.write_text('[records]\nexecution_logs = "Reports/runs"\n')
    ws.own(config)
    document = ws.json(["exec", "--", "/bin/true"])
    assert document["log_file"] == f"/Reports/runs/{document['execution_id']}.json"
    assert json.loads((ws.workspace / document["log_file"][1:]).read_text()) == document


def test_records_can_be_switched_off(ws: Cli) -> None:
    config = ws.state / "bailiff.toml"
    config.write_text('[records]\nexecution_logs = "off"\n')
    ws.own(config)
    before = contents(ws)
    document = ws.json(["exec", "--", "/bin/true"])
    assert document["log_file"] is None
    assert contents(ws) == before and not (ws.workspace / "Database/script_execution_logs").exists()
    assert ws.json(["show", document["execution_id"]]) == document


def test_a_script_cannot_write_records(ws: Cli) -> None:
    first = ws.json(["exec", "--", "/bin/true"])
    code = f"open('/workspace{first['log_file']}', 'w').write('{{}}')"
    document = ws.json(["exec", *python(code)])
    assert record_of(ws, first) == first
    assert document["changes"]["state"] != "committed", document


# The block on standard error


def test_bailiffs_own_words_are_one_block_after_the_output(ws: Cli) -> None:
    answer = ws.run(["exec", "--", "/bin/sh", "-c", "echo err >&2; echo a > /Reports/a"])
    lines = answer.stderr.decode().splitlines()
    assert lines[0] == "err"
    assert re.fullmatch(
        r"exec_\d{8}_\d{6}_[0-9a-f]{8}  succeeded in \d+\.\d\d s  ·  1 created  ·  committed", lines[1])
    assert len(lines) == 2


def test_the_block_of_held_changes_says_what_to_do_next(ws: Cli) -> None:
    answer = ws.run(["exec", "--mode", "review", *writing("Reports/a", "a")])
    lines = answer.stderr.decode().splitlines()
    execution = lines[0].split()[0]
    assert lines[0].endswith("  ·  1 created  ·  held for review")
    assert lines[-1] == f"  bailiff diff {execution}      bailiff approve {execution}"
    assert "mode review" in lines[1]
    assert answer.exit == 0


def test_a_quiet_run_says_nothing_of_its_own(ws: Cli) -> None:
    answer = ws.run(["-q", "exec", "--mode", "review", "--", "/bin/sh", "-c",
                     "echo a > /Reports/a; echo out; echo err >&2; exit 3"])  # fmt: skip
    assert answer == (3, b"out\n", b"err\n")
