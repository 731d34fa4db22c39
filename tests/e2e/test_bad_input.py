"""Bad input: its own message, its own exit status, and nothing lost or left behind."""

from __future__ import annotations

import json
import os
import re

import pytest
from bailiff_cli import Cli
from e2e_tools import (
    commit_file, contents, executions, hold_for_review, python, state_of, writing)  # fmt: skip

# The message has to hold all of the words.
REFUSED = {
    "unknown case": ("exec --case Wilson-MVA-2023 -- true",
                     ["--case 'Wilson-MVA-2023'", "did you mean 'Wilson-MVA-2024'?"]),
    "part of a case": ("exec --case wilson -- true", ["did you mean 'Wilson-MVA-2024'?"]),
    "case outside": ("exec --case ../Tools -- true", ["--case '../Tools'", "no such folder in projects/"]),
    "script above": ("run ../x.py", ["script '../x.py'", "outside the workspace"]),
    "script is the root": ("run /", ["script '/'", "outside the workspace"]),
    "script of ours": ("run .bailiff/workspace.json", ["Bailiff's own folder"]),
    "script by a link out": ("run Tools/link.py", ["script 'Tools/link.py'", "leads out of the workspace"]),
    "script below a link out": ("run Tools/away/passwd.py", ["leads out of the workspace"]),
    "script is a folder": ("run Tools", ["script 'Tools'", "is not a file"]),
    "script is a FIFO": ("run Tools/fifo.py", ["script 'Tools/fifo.py'", "is not a file"]),
    "no interpreter": ("run Tools/plain", ["script 'Tools/plain'", "neither .py nor .sh", "'#!'"]),
    "relative interpreter": ("run Tools/relative", ["'#!' line must name an absolute path", "'python3'"]),
    "no script": ("run", ["run: name a script", "Tools/x.py"]),
    "no command": ("exec", ["exec: name a command after --"]),
    "empty script": ("run -", ["standard input is empty"]),
    "script and input from one stream": ("run --stdin -", ["--stdin", "'-'"]),
    "cwd outside": ("exec --cwd ../.. -- true", ["--cwd '../..'", "leads out of the workspace"]),
    "cwd by a link out": ("exec --cwd Tools/away -- true", ["--cwd 'Tools/away'", "leads out of the workspace"]),
    "cwd is not there": ("exec --cwd nowhere -- true", ["--cwd 'nowhere'", "is not a folder of the workspace"]),
    "mode": ("exec --mode maybe -- true", ["--mode", "'maybe'", "commit, review or discard"]),
    "on-failure": ("exec --on-failure maybe -- true", ["--on-failure", "'maybe'", "commit, review or discard"]),
    "contradiction": ("exec --mode discard --on-failure commit -- true", ["--on-failure commit", "--mode discard"]),
    "environment": ("exec --environment conda -- true", ["--environment 'conda'", "there is 'default'"]),
    "timeout word": ("exec --timeout soon -- true", ["--timeout", "'soon'", "300, 5m or 1h"]),
    "timeout zero": ("exec --timeout 0 -- true", ["--timeout", "'0'", "above zero"]),
    "timeout below zero": ("exec --timeout=-5 -- true", ["--timeout", "'-5'", "above zero"]),
    "memory word": ("exec --memory lots -- true", ["--memory", "'lots'", "512m or 2g"]),
    "memory too small": ("exec --memory 1m -- true", ["--memory 1.0 MiB", "at least 16.0 MiB"]),
    "cpus": ("exec --cpus many -- true", ["--cpus", "'many'", "1 or 0.5"]),
    "cpus too few": ("exec --cpus 0.01 -- true", ["--cpus 0.01", "from 0.05"]),
    "pids": ("exec --pids 1.5 -- true", ["--pids", "'1.5'", "whole number"]),
    "pids too few": ("exec --pids 2 -- true", ["--pids 2", "from 4"]),
    "scratch": ("exec --scratch 1x -- true", ["--scratch", "'1x'", "512m or 2g"]),
    "scratch too small": ("exec --scratch 10k -- true", ["--scratch 10.0 KiB", "at least 1.0 MiB"]),
    "output": ("exec --output none -- true", ["--output", "'none'"]),
    "output too large": ("exec --output 5g -- true", ["--output 5.0 GiB", "to 1.0 GiB"]),
    "files": ("exec --files 0 -- true", ["--files", "'0'", "from 1"]),
    "network": ("exec --network wifi -- true", ["--network", "'wifi'", "none or host"]),
    "network of the host": ("exec --network host -- true",
                            ["--network host", "not enabled", "host_network = true"]),
    "level": ("exec --require vm -- true", ["--require 'vm'", "'ns'"]),
    "variable without a value": ("exec --env NAME -- true", ["--env 'NAME'", "NAME=value"]),
    "variable without a name": ("exec --env =x -- true", ["--env ''", "NAME=value"]),
    "reserved variable": ("exec --env EXECUTION_ID=x -- true", ["--env EXECUTION_ID", "set by Bailiff"]),
    "wait": ("exec --wait-lock never -- true", ["--wait-lock", "'never'"]),
    "status": ("list --status odd", ["--status", "'odd'", "succeeded"]),
    "unknown option": ("exec --frobnicate -- true",
                       ["--frobnicate: is not an option of exec", "'bailiff exec --help'"]),
    "unknown command": ("frobnicate", ["'frobnicate' is not a command", "'bailiff --help'"]),
    "unknown command of audit": ("audit frobnicate", ["'frobnicate' is not a command"]),
    "no command of audit": ("audit", ["ubcommand"]),
    "limit of a list": ("list --limit 0", ["'0'", "whole number from 1"]),
    "unknown id": ("show exec_19990101", ["no execution or change set 'exec_19990101'", "'bailiff list'"]),
    "unknown id to cancel": ("cancel nothing", ["'nothing'"]),
    "no id to cancel": ("cancel", ["name one id, or --all"]),
    "path outside": ("history ../x", ["path '../x'", "leads out of the workspace"]),
    "age": ("gc --older-than later", ["'later'", "is not a duration"]),
    "hours": ("stats --hours 0", ["--hours", "'0'", "whole number from 1"]),
    "token without a role": ("token create bot", ["--role"]),
    "token of another role": ("token create bot --role king", ["--role", "agent, reviewer"]),
    "name of a token": ("token create a/b --role agent", ["name 'a/b'", "letters, digits"]),
    "case of a token": ("token create bot --role agent --case ..", ["case '..'", "projects/"]),
    "life of a token": ("token create bot --role agent --expires soon", ["--expires", "'soon'"]),
    "unknown token": ("token revoke nobody", ["token 'nobody' does not exist"]),
    "adopt and new": ("init --adopt --new-id", ["--adopt and --new-id", "choose one"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(shared: Cli) -> Cli:
    """A workspace with scripts that cannot run."""
    shared.write("projects/Wilson-MVA-2024/notes.txt", "notes")
    shared.write("projects/Harlan-Slip-2023/notes.txt", "notes")
    shared.write("Tools/plain", "print(1)\n", 0o755)
    shared.write("Tools/relative", "#!python3\nprint(1)\n", 0o755)
    os.symlink("/etc/passwd", shared.workspace / "Tools/link.py")
    os.symlink("/etc", shared.workspace / "Tools/away")
    os.mkfifo(shared.workspace / "Tools/fifo.py")
    commit_file(shared, "Reports/first", "first\n")
    return shared


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_with_its_reason(desk: Cli, name: str) -> None:
    line, words = REFUSED[name]
    before, count = contents(desk), executions(desk)
    answer = desk.run(["--json", *line.split()])
    message = json.loads(answer.stdout)["error"]
    assert answer.exit == 125, answer
    for word in words:
        assert word in message, message
    assert answer.stderr.decode() == f"bailiff: {message}\n"
    assert contents(desk) == before and executions(desk) == count


@pytest.mark.parametrize("words", [
    ["exec", "--case", "", "--", "true"], ["approve", "exec_20260101", "--digest", ""],
    ["audit", "verify", "--key", ""], ["serve", "--socket", ""], ["serve", "--certificate", "", "--key", ""],
    ["token", "create", "bot", "--role", "agent", "--case", ""], ["--state", "", "list"]], ids=" ".join)  # fmt: skip
def test_an_empty_value_does_not_stand_for_leaving_it_out(desk: Cli, words: list[str]) -> None:
    before = contents(desk)
    answer = desk.run(words)
    option = words[words.index("") - 1]
    assert answer.exit == 125, answer
    assert f"{option}: is empty; give a value, or leave it out" in answer.stderr.decode()
    assert contents(desk) == before


def test_a_missing_script_is_named(desk: Cli) -> None:
    answer = desk.run(["run", "/etc/passwd"])  # A leading slash is the root of the workspace.
    assert answer.exit == 127
    assert answer.stderr == b"bailiff: script '/etc/passwd': does not exist in the workspace\n"


def test_a_script_that_the_user_cannot_read_is_named(bench) -> None:
    cli = bench.workspace("rootless")
    cli.write("Tools/secret.py", "print(1)\n", 0o000)
    answer = cli.run(["run", "Tools/secret.py"])
    assert answer.exit == 125
    assert b"script 'Tools/secret.py': cannot be read by this user" in answer.stderr


def test_an_ambiguous_id_names_the_candidates(desk: Cli) -> None:
    ids = [commit_file(desk, f"Reports/{n}", "x")["execution_id"] for n in range(2)]
    prefix = os.path.commonprefix(ids)[:13]
    answer = desk.run(["show", prefix])
    assert answer.exit == 125
    message = answer.stderr.decode()
    assert f"'{prefix}' is the beginning of several ids: exec_" in message
    assert "write more of it" in message


# Decisions that come too late


def test_nothing_is_approved_twice(ws: Cli) -> None:
    document = hold_for_review(ws, "Reports/a", "once")
    ws.ok(["approve", document["execution_id"]])
    ws.write("Reports/a", "changed since")
    answer = ws.run(["approve", document["execution_id"]])
    assert answer.exit == 4
    assert b"its changes are committed; only held changes can be approved" in answer.stderr
    assert (ws.workspace / "Reports/a").read_text() == "changed since"


def test_what_was_committed_cannot_be_rejected(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "a")
    answer = ws.run(["reject", document["execution_id"]])
    assert answer.exit == 4 and b"only held changes can be rejected" in answer.stderr
    assert (ws.workspace / "Reports/a").exists()


def test_what_is_held_cannot_be_rolled_back(ws: Cli) -> None:
    document = hold_for_review(ws)
    answer = ws.run(["rollback", document["execution_id"]])
    assert answer.exit == 4 and b"only committed changes can be rolled back" in answer.stderr
    assert state_of(ws, document["execution_id"]) == "held"


def test_a_rollback_of_what_was_overwritten_lists_the_path(ws: Cli) -> None:
    code = "[open(f'/Reports/{n}', 'w').write('x') for n in 'abc']"
    document = ws.json(["exec", *python(code)])
    commit_file(ws, "Reports/b", "newer")
    before = contents(ws)
    answer = ws.run(["--json", "rollback", document["execution_id"]])
    body = json.loads(answer.stdout)
    assert answer.exit == 3
    assert (body["done"], body["state"]) == (False, "committed")
    assert [conflict["path"] for conflict in body["conflicts"]] == ["Reports/b"]
    assert b"Reports/b" in answer.stderr
    assert contents(ws) == before
    assert state_of(ws, document["execution_id"]) == "committed"


def test_a_rollback_does_not_take_along_what_others_put_in_its_folder(ws: Cli) -> None:
    document = ws.json(["exec", "--", "/bin/mkdir", "/Reports/folder"])
    ws.write("Reports/folder/mine", "mine")
    answer = ws.run(["rollback", document["execution_id"]])
    assert answer.exit == 3 and b"Reports/folder" in answer.stderr
    assert (ws.workspace / "Reports/folder/mine").read_text() == "mine"


def test_nothing_is_rolled_back_twice(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "a")
    ws.ok(["rollback", document["execution_id"]])
    before = contents(ws)
    answer = ws.run(["rollback", document["execution_id"]])
    assert answer.exit == 4
    assert b"rolled_back" in answer.stderr
    assert contents(ws) == before


def test_nothing_is_rolled_back_after_gc(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "a")
    ws.ok(["gc", "--older-than", "0"])
    answer = ws.run(["rollback", document["execution_id"]])
    assert answer.exit == 4
    assert document["execution_id"].encode() in answer.stderr
    assert (ws.workspace / "Reports/a").read_text() == "a"


# Configuration


@pytest.mark.parametrize(
    "text, words",
    [
        ("[sandbox]\nhost_network = yes\n", ["broken.toml:2:"]),
        ("[sandbox]\nhost_network = 1\n", ["sandbox.host_network", "true or false"]),
        ("[sandbox]\nhost_netwrk = true\n", ["sandbox.host_netwrk", "not a known setting"]),
        ("sandbox = 1\n", ["sandbox", "is not a section", "sandbox, retention, records"]),
        ("[retention]\nheld_bytes_max = \"lots\"\n", ["retention.held_bytes_max", "'lots'", "2g"]),
        ("[retention]\nrollback = 30\n", ["retention.rollback", "must be a string"]),
        ("[records]\nexecution_logs = \"../out\"\n", ["records.execution_logs", "folder of the workspace"]),
    ],
)  # fmt: skip
def test_a_broken_configuration_is_refused_with_its_key(
    desk: Cli, text: str, words: list[str]
) -> None:
    config = desk.home / "broken.toml"
    config.write_text(text)
    before, count = contents(desk), executions(desk)
    answer = desk.run(["--config", config, "exec", "--", "true"])
    assert answer.exit == 125
    for word in [str(config), *words]:
        assert word in answer.stderr.decode(), answer
    assert contents(desk) == before and executions(desk) == count


def test_a_configuration_that_was_named_must_be_there(desk: Cli) -> None:
    answer = desk.run(["--config", desk.home / "none.toml", "list"])
    assert answer.exit == 125 and b"none.toml" in answer.stderr


def test_the_hosts_network_is_never_committed_without_a_person(ws: Cli) -> None:
    config = ws.home / "open.toml"
    config.write_text("[sandbox]\nhost_network = true\n")
    document = ws.json(["--config", config, "exec", "--network", "host", *writing("Reports/a", "a")])
    assert document["guarantees"]["network"] == "host", document
    assert document["changes"]["state"] == "held"
    assert "network" in " ".join(document["decision"]["reasons"])


def test_held_changes_have_a_limit_in_all(ws: Cli) -> None:
    config = ws.home / "small.toml"
    config.write_text('[retention]\nheld_bytes_max = "1k"\n')
    code = "open('/Reports/a', 'w').write('x' * 600)"
    first = ws.json(["--config", config, "exec", "--mode", "review", *python(code)])
    assert first["changes"]["state"] == "held"
    second = ws.run(["--json", "--config", config, "exec", "--mode", "review", *python(code)])
    document = json.loads(second.stdout)
    assert second.exit == 125
    assert document["changes"]["state"] == "discarded"
    assert re.search(r"hold 1\.2 KiB and may hold 1\.0 KiB", document["error"])
    assert state_of(ws, first["execution_id"]) == "held"
