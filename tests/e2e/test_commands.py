"""What each command does for a user: init, run, exec, list, show, logs, cancel and the rest."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest
from bailiff_cli import Bench, Cli
from e2e_tools import (
    Held, assert_nothing_left, bare, commit_file, contents, executions, hold_for_review, id_of,
    python, running_ids, state_of, wait_until, writing)  # fmt: skip

SHOW_CONTEXT = """
import json, os, sys
names = ("EXECUTION_ID", "CASE_NAME", "SCRIPT_PATH", "WORKSPACE_ROOT")
print(json.dumps({"args": sys.argv[1:], "cwd": os.getcwd(), **{name: os.environ.get(name) for name in names}}))
"""


def context_of(cli: Cli, args: list[str]) -> dict:
    """What a run of Tools/context.py saw around it."""
    cli.write("Tools/context.py", SHOW_CONTEXT)
    document = cli.json(args)
    assert document["status"] == "succeeded", document
    return json.loads(document["stdout"]) | {"id": document["execution_id"]}


# init


def test_init_makes_the_layout_and_a_private_state(ws: Cli) -> None:
    for folder in ("projects", "Tools", "Database", "Reports"):
        assert (ws.workspace / folder).is_dir()
        assert (ws.workspace / folder).stat().st_uid == ws.owner
    assert stat.S_IMODE((ws.workspace / ".bailiff").stat().st_mode) == 0o700
    assert stat.S_IMODE(ws.state.stat().st_mode) == 0o700


def test_init_again_changes_nothing(ws: Cli) -> None:
    ws.write("Tools/mine.py", "print(1)\n")
    before = contents(ws)
    first = (ws.workspace / ".bailiff/workspace.json").read_text()
    document = ws.json(["init", str(ws.workspace)])
    assert document["created"] is False
    assert document["id"] == json.loads(first)["id"]
    assert contents(ws) == before
    assert (ws.workspace / ".bailiff/workspace.json").read_text() == first


def test_init_names_the_workspace_its_id_and_its_state(bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    document = cli.json(["init", str(cli.workspace)])
    assert document == {
        "workspace": str(cli.workspace), "id": document["id"], "state": str(cli.state),
        "created": True}  # fmt: skip
    assert re.fullmatch(r"ws_[0-9a-f]{16}", document["id"])


def test_a_users_state_goes_where_xdg_says_and_is_found_again(bench: Bench) -> None:
    cli = bench.cli("rootless")
    made = bare(cli, ["--json", "init", cli.workspace])
    assert made.exit == 0, made
    state = json.loads(made.stdout)["state"]
    assert state.startswith(f"{cli.home}/bailiff/ws_")
    ran = bare(cli, ["-q", "exec", "--", "/bin/echo", "found"], cwd=cli.workspace / "Reports")
    assert (ran.exit, ran.stdout) == (0, b"found\n"), ran
    assert os.path.exists(state + "/bailiff.db")


def test_the_workspace_may_come_from_the_environment(shared: Cli) -> None:
    answer = bare(
        shared, ["-q", "exec", "--", "/bin/pwd"],
        BAILIFF_WORKSPACE=str(shared.workspace), BAILIFF_STATE=str(shared.state))  # fmt: skip
    assert (answer.exit, answer.stdout) == (0, b"/workspace\n"), answer


# run and exec


def test_run_runs_python_by_its_suffix(shared: Cli) -> None:
    seen = context_of(shared, ["run", "Tools/context.py", "a", "--format", "json", "-x", "--", "y"])
    assert seen["args"] == ["a", "--format", "json", "-x", "--", "y"]
    assert seen["cwd"] == "/workspace"
    assert seen["EXECUTION_ID"] == seen["id"]
    assert seen["CASE_NAME"] == ""
    assert seen["SCRIPT_PATH"] == "/Tools/context.py"
    assert seen["WORKSPACE_ROOT"] == "/workspace"


@pytest.mark.parametrize("script", ["/Tools/context.py", "/workspace/Tools/context.py"])
def test_a_leading_slash_is_the_root_of_the_workspace(shared: Cli, script: str) -> None:
    assert context_of(shared, ["run", script])["SCRIPT_PATH"] == "/Tools/context.py"


def test_run_takes_the_script_after_two_dashes(shared: Cli) -> None:
    assert context_of(shared, ["run", "--", "Tools/context.py", "-q"])["args"] == ["-q"]


def test_run_runs_shell_scripts_with_bash(shared: Cli) -> None:
    shared.write("Tools/x.sh", 'echo "$1" ${BASH_VERSION:+bash}\n')
    assert shared.ok(["-q", "run", "Tools/x.sh", "--flag"]).stdout == b"--flag bash\n"


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_run_runs_other_scripts_by_their_first_line(shared: Cli, mode: int) -> None:
    shared.write("Tools/shout", "#!/usr/bin/env python3\nprint('by its first line')\n", mode)
    assert shared.ok(["-q", "run", "Tools/shout"]).stdout == b"by its first line\n"


def test_run_takes_python_from_standard_input(shared: Cli) -> None:
    script = b"import sys\nprint(sys.argv[1:], end='')\n"
    document = shared.json(["run", "-", "a", "--b"], stdin=script)
    assert document["stdout"] == "['a', '--b']"
    assert document["script_path"] == "-"


def test_run_takes_shell_from_standard_input(shared: Cli) -> None:
    script = b"#!/bin/bash\necho $1 ${BASH_VERSION:+bash}\n"
    assert shared.ok(["-q", "run", "-", "--one"], stdin=script).stdout == b"--one bash\n"


def test_a_case_sets_the_folder_and_the_name(shared: Cli) -> None:
    shared.write("projects/Wilson-MVA-2024/notes.txt", "x")
    seen = context_of(shared, ["run", "--case", "Wilson-MVA-2024", "Tools/context.py"])
    assert seen["cwd"] == "/workspace/projects/Wilson-MVA-2024"
    assert seen["CASE_NAME"] == "Wilson-MVA-2024"


@pytest.mark.parametrize("folder", ["Reports", "/Reports", "/workspace/Reports", "Tools/../Reports"])
def test_cwd_names_the_folder_to_work_in(shared: Cli, folder: str) -> None:
    answer = shared.ok(["-q", "exec", "--cwd", folder, "--", "/bin/pwd"])
    assert answer.stdout == b"/workspace/Reports\n"


def test_the_folders_of_the_workspace_have_short_names(shared: Cli) -> None:
    code = "import os; print(*[os.path.realpath('/' + n) for n in "
    code += "('projects', 'Tools', 'Database', 'Reports')])"
    answer = shared.ok(["-q", "exec", *python(code)])
    assert answer.stdout.split() == [
        b"/workspace/projects", b"/workspace/Tools", b"/workspace/Database",
        b"/workspace/Reports"]  # fmt: skip


def test_a_file_written_by_a_short_name_is_committed(ws: Cli) -> None:
    document = ws.json(["exec", *python("open('/Reports/r.txt', 'w').write('short')")])
    assert document["changes"]["state"] == "committed"
    assert (ws.workspace / "Reports/r.txt").read_text() == "short"


def test_env_reaches_the_script_and_is_recorded_nowhere(ws: Cli) -> None:
    code = "import os; open('/workspace/Reports/n', 'w').write(str(len(os.environ['API_KEY'])))"
    document = ws.json(["exec", "--env", "API_KEY=sesame-8121", "--env", "B=a=b", *python(code)])
    assert (ws.workspace / "Reports/n").read_text() == "11"
    assert "sesame-8121" not in json.dumps(document)
    for folder in (ws.state, ws.workspace):
        for path in folder.rglob("*"):
            assert not path.is_file() or b"sesame-8121" not in path.read_bytes(), path


def test_stdin_is_passed_on_only_where_it_is_asked_for(shared: Cli) -> None:
    read = python("import sys; print(sys.stdin.read())")
    assert shared.ok(["-q", "exec", "--stdin", *read], stdin=b"given").stdout == b"given\n"
    assert shared.ok(["-q", "exec", *read], stdin=b"given").stdout == b"\n"


def test_exec_runs_any_command(shared: Cli) -> None:
    document = shared.json(["exec", "--", "sort", "-r", "/etc/hostname", "/dev/null"])
    assert document["script_args"] == ["sort", "-r", "/etc/hostname", "/dev/null"]
    assert document["script_path"] is None
    assert shared.ok(["-q", "exec", "--", "/bin/echo", "--", "-n"]).stdout == b"-- -n\n"


def test_both_streams_arrive_where_they_belong(shared: Cli) -> None:
    answer = shared.ok(["-q", "exec", "--", "/bin/sh", "-c", "echo out; echo err >&2"])
    assert (answer.stdout, answer.stderr) == (b"out\n", b"err\n")


def test_output_is_streamed_while_the_script_runs(shared: Cli) -> None:
    with Held(shared, "print('end')") as held:  # It has read "ready" before the script ends.
        answer = held.let_go()
    assert answer.exit == 0
    assert answer.stdout == b"ready\nend\n"


# list, show, logs


def test_list_shows_the_newest_first(ws: Cli) -> None:
    ids = [ws.json(["exec", "--", "/bin/true"])["execution_id"] for _ in range(3)]
    listed = [document["execution_id"] for document in ws.json(["list"])["executions"]]
    assert listed == ids[::-1]
    assert [line.split()[0] for line in ws.ok(["list"]).stdout.decode().splitlines()] == ids[::-1]
    assert len(ws.json(["list", "--limit", "2"])["executions"]) == 2


def test_list_can_be_narrowed(ws: Cli) -> None:
    ws.write("projects/A/x")
    ws.json(["exec", "--case", "A", "--", "/bin/true"])
    ws.json(["exec", "--", "/bin/false"])
    assert [d["case_name"] for d in ws.json(["list", "--case", "A"])["executions"]] == ["A"]
    assert [d["exit_code"] for d in ws.json(["list", "--status", "failed"])["executions"]] == [1]


def test_list_held_shows_what_waits_and_why(ws: Cli) -> None:
    assert ws.ok(["list", "--held"]).stdout == b"nothing waits for review\n"
    commit_file(ws, "Reports/a", "a")
    held = hold_for_review(ws)
    proposals = ws.json(["list", "--held"])["proposals"]
    assert [proposal["id"] for proposal in proposals] == [held["execution_id"]]
    assert proposals[0]["digest"] == held["changes"]["digest"]
    text = ws.ok(["list", "--held"]).stdout.decode()
    assert held["execution_id"] in text and "mode review" in text


def test_show_takes_the_beginning_of_an_id(ws: Cli) -> None:
    document = ws.json(["exec", "--description", "a look", "--", "/bin/echo", "hello"])
    shown = ws.json(["show", document["execution_id"][:-3]])
    assert shown == document
    assert shown["description"] == "a look"
    text = ws.ok(["show", document["execution_id"]]).stdout.decode()
    assert document["execution_id"] in text and "succeeded" in text


def test_logs_gives_the_output_again(shared: Cli) -> None:
    answer = shared.ok(["exec", "--", "/bin/sh", "-c", "echo out; echo err >&2"])
    again = shared.ok(["logs", id_of(answer)])
    assert (again.stdout, again.stderr) == (b"out\n", b"err\n")
    assert shared.ok(["logs", "--stderr", id_of(answer)]).stdout == b"err\n"
    assert shared.json(["logs", id_of(answer)]) == {
        "id": id_of(answer), "stdout": "out\n", "stderr": "err\n"}  # fmt: skip


# cancel


def test_cancel_stops_a_running_script_and_leaves_nothing(ws: Cli) -> None:
    marker = "cancelled-marker-1"
    before = contents(ws)
    with Held(ws, f"'{marker}'", ["--mode", "commit"]) as held:
        [running] = running_ids(ws)
        assert ws.json(["show", running])["status"] == "running"
        answer = ws.run(["cancel", running])
        assert (answer.exit, answer.stdout) == (0, f"{running}: cancelled\n".encode())
        # What cancel returned from is over and recorded.
        document = ws.json(["show", running])
        assert document["status"] == "cancelled" and document["success"] is False
        assert held.end().exit == 137
    assert_nothing_left(ws, running, marker)
    assert contents(ws) == before
    assert ws.run(["cancel", running]).exit == 4


def test_changes_of_a_cancelled_run_are_discarded(ws: Cli) -> None:
    code = "open('/workspace/half', 'w').write('x')\nprint('written', flush=True)\nsys.stdin.read()"
    program = f"import sys\n{code}"
    with Held(ws, "") as other:
        other.let_go()
    process = ws.start(["--json", "exec", "--stdin", *python(program)], stdin=-1)
    with process:
        [running] = wait_until(lambda: running_ids(ws), "the run")
        ws.ok(["cancel", running])
        document = json.loads(process.stdout.read())
        process.stdin.close()
    assert document["status"] == "cancelled"
    assert document["changes"]["state"] in ("none", "discarded")
    assert not (ws.workspace / "half").exists()


def test_cancel_all_stops_every_one(ws: Cli) -> None:
    with Held(ws, "") as one, Held(ws, "") as two:
        ids = running_ids(ws)
        assert len(ids) == 2
        assert sorted(ws.json(["cancel", "--all"])["cancelled"]) == sorted(ids)
        assert (one.end().exit, two.end().exit) == (137, 137)
    assert ws.ok(["cancel", "--all"]).stdout == b"nothing is running\n"


def test_an_interrupt_of_bailiff_cancels_the_run(ws: Cli) -> None:
    marker = "interrupted-marker-1"
    with Held(ws, f"'{marker}'") as held:
        [running] = running_ids(ws)
        held.process.send_signal(2)
        answer = held.end()
    assert answer.exit == 137 and b"cancelled" in answer.stderr
    assert ws.json(["show", running])["status"] == "cancelled"
    assert_nothing_left(ws, running, marker)


# changes, diff, approve, reject, rollback


def test_changes_lists_every_change(ws: Cli) -> None:
    ws.write("Reports/old.txt", "old\n")
    ws.write("Reports/gone.txt", "gone\n")
    ws.write("Reports/name.txt", "name\n")
    code = """
import os
os.chdir('/workspace/Reports')
open('new.txt', 'w').write('new')
open('old.txt', 'a').write('more')
os.remove('gone.txt')
os.rename('name.txt', 'other.txt')
os.symlink('new.txt', 'link')
os.mkdir('folder')
"""
    document = ws.json(["exec", "--mode", "review", *python(code)])
    listed = ws.json(["changes", document["execution_id"]])
    assert listed["state"] == "held" and listed["digest"] == document["changes"]["digest"]
    by_path = {change["path"]: change for change in listed["changes"]}
    assert {path: (c["op"], c["type"]) for path, c in by_path.items()} == {
        "Reports/new.txt": ("create", "file"), "Reports/old.txt": ("modify", "file"),
        "Reports/gone.txt": ("delete", "file"), "Reports/other.txt": ("move", "file"),
        "Reports/link": ("create", "symlink"), "Reports/folder": ("create", "dir")}  # fmt: skip
    assert by_path["Reports/other.txt"]["from"] == "Reports/name.txt"
    assert by_path["Reports/new.txt"]["size"] == 3 and by_path["Reports/new.txt"]["mode"] == "0644"
    assert by_path["Reports/old.txt"]["base"]["size"] == 4
    counts = {"created": 3, "modified": 1, "deleted": 1, "moved": 1, "metadata": 0}
    assert {name: document["changes"][name] for name in counts} == counts
    text = ws.ok(["changes", document["execution_id"]]).stdout.decode()
    for path in by_path:
        assert path in text


def test_changes_of_a_run_that_changed_nothing_are_none(shared: Cli) -> None:
    document = shared.json(["exec", "--", "/bin/true"])
    assert document["changes"]["state"] == "none"
    assert shared.ok(["changes", document["execution_id"]]).stdout == b"no changes\n"
    assert shared.ok(["diff", document["execution_id"]]).stdout == b"no changes\n"


def test_diff_shows_lines_before_and_after(ws: Cli) -> None:
    ws.write("Reports/a.txt", "one\ntwo\nthree\n")
    code = "open('/Reports/a.txt', 'w').write('one\\n2\\nthree\\n'); open('/Reports/b', 'w').write('b\\n')"
    document = ws.json(["exec", "--mode", "review", *python(code)])
    lines = ws.ok(["diff", document["execution_id"]]).stdout.decode().splitlines()
    assert "-two" in lines and "+2" in lines and "+b" in lines and " one" in lines
    narrowed = ws.ok(["diff", document["execution_id"], "Reports/b"]).stdout.decode()
    assert "+b" in narrowed and "Reports/a.txt" not in narrowed
    assert ws.json(["diff", document["execution_id"], "/Reports/b"])["diff"] == narrowed


def test_diff_still_shows_what_was_committed(ws: Cli) -> None:
    ws.write("Reports/a.txt", "one\n")
    document = commit_file(ws, "Reports/a.txt", "two\n")
    lines = ws.ok(["diff", document["execution_id"]]).stdout.decode().splitlines()
    assert "-one" in lines and "+two" in lines


@pytest.mark.parametrize("form", ["none", "whole", "digits", "beginning"])
def test_approve_commits_what_is_held(ws: Cli, form: str) -> None:
    document = hold_for_review(ws, "Reports/a", "approved\n")
    assert not (ws.workspace / "Reports/a").exists()
    digest = document["changes"]["digest"]
    given = {"none": [], "whole": [digest], "digits": [digest[7:]], "beginning": [digest[:19]]}[form]
    options = ["--digest", *given] if given else []
    answer = ws.json(["approve", *options, document["execution_id"]])
    assert (answer["done"], answer["state"], answer["error"]) == (True, "committed", None)
    assert (ws.workspace / "Reports/a").read_text() == "approved\n"
    assert (ws.workspace / "Reports/a").stat().st_uid == ws.owner
    assert state_of(ws, document["execution_id"]) == "committed"


@pytest.mark.parametrize("given", ["sha256:" + "0" * 64, "0123456789abcdef", "sha256:", "whole-and-more"])
def test_approve_refuses_another_digest(ws: Cli, given: str) -> None:
    document = hold_for_review(ws)
    digest = document["changes"]["digest"]
    before = contents(ws)
    answer = ws.run(["approve", "--digest", given.replace("whole-and-more", digest + "0"),
                     document["execution_id"]])  # fmt: skip
    assert answer.exit == 4
    assert digest in answer.stderr.decode() and "nothing was approved" in answer.stderr.decode()
    assert contents(ws) == before
    assert state_of(ws, document["execution_id"]) == "held"
    assert ws.run(["approve", document["execution_id"]]).exit == 0  # It is still there to approve.


def test_reject_drops_the_changes_and_records_why(ws: Cli) -> None:
    before = contents(ws)
    document = hold_for_review(ws)
    answer = ws.json(["reject", "--reason", "wrong client", document["execution_id"]])
    assert answer["done"] is True and answer["state"] == "rejected"
    assert contents(ws) == before
    assert state_of(ws, document["execution_id"]) == "rejected"
    assert os.listdir(ws.workspace / ".bailiff/stage") == []
    rejected = [r for r in ws.json(["audit", "show"])["records"] if r["type"] == "rejected"]
    assert [(r["data"]["id"], r["data"]["reason"]) for r in rejected] == [
        (document["execution_id"], "wrong client")]  # fmt: skip
    assert ws.run(["approve", document["execution_id"]]).exit == 4


def test_rollback_brings_back_all_of_it(ws: Cli) -> None:
    ws.write("Reports/a.txt", "one\n", 0o600)
    ws.write("Reports/deep/b.txt", "b\n")
    os.symlink("a.txt", ws.workspace / "Reports/link")
    before = contents(ws)
    code = """
import os
os.chdir('/workspace/Reports')
open('a.txt', 'w').write('two')
os.chmod('a.txt', 0o644)
os.rename('deep/b.txt', 'b.txt')
os.rmdir('deep')
os.makedirs('x/y')
open('x/y/z', 'w').write('z')
"""
    document = ws.json(["exec", *python(code)])
    assert document["changes"]["state"] == "committed", document
    assert contents(ws) != before
    answer = ws.json(["rollback", document["execution_id"]])
    assert answer["done"] is True and answer["state"] == "committed"
    assert answer["id"].startswith("roll_")
    assert contents(ws) == before
    assert state_of(ws, document["execution_id"]) == "rolled_back"


def test_rollback_of_a_protected_path_is_held_like_any_change(ws: Cli) -> None:
    document = ws.json(["exec", *writing("Tools/t.py", "print(1)")])
    ws.ok(["approve", document["execution_id"]])
    answer = ws.run(["rollback", document["execution_id"]])
    assert answer.exit == 0 and b"held for review" in answer.stdout
    [proposal] = ws.json(["list", "--held"])["proposals"]
    assert proposal["rolls_back"] == document["execution_id"]
    assert (ws.workspace / "Tools/t.py").exists()
    ws.ok(["approve", proposal["id"]])
    assert not (ws.workspace / "Tools/t.py").exists()
    assert state_of(ws, document["execution_id"]) == "rolled_back"


def test_a_rollback_can_be_rolled_back(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "back again\n")
    undone = ws.json(["rollback", document["execution_id"]])
    assert not (ws.workspace / "Reports/a").exists()
    assert ws.json(["rollback", undone["id"]])["done"] is True
    assert (ws.workspace / "Reports/a").read_text() == "back again\n"


# gc, doctor, version


def test_gc_says_what_it_dropped(ws: Cli) -> None:
    document = commit_file(ws, "Reports/a", "a")
    ws.ok(["exec", "--", "/bin/echo", "kept"])
    nothing = {"commits_forgotten": 0, "staged_dropped": 0, "outputs_dropped": 0, "expired": 0,
               "logs_dropped": 0, "answers_dropped": 0, "messages_dropped": 0}  # fmt: skip
    assert ws.json(["gc"]) == nothing
    assert ws.json(["gc", "--older-than", "0"]) == nothing | {
        "commits_forgotten": 1, "outputs_dropped": 1}  # fmt: skip
    assert (ws.workspace / "Reports/a").read_text() == "a"
    assert state_of(ws, document["execution_id"]) == "committed"


def test_gc_keeps_what_waits_for_review(ws: Cli) -> None:
    document = hold_for_review(ws, "Reports/a", "still here\n")
    assert ws.json(["gc", "--older-than", "0"])["staged_dropped"] == 0
    ws.ok(["approve", document["execution_id"]])
    assert (ws.workspace / "Reports/a").read_text() == "still here\n"


def test_doctor_proves_what_holds_here(shared: Cli) -> None:
    document = shared.json(["doctor"])
    assert document["healthy"] is True, document
    assert document["failure"] is None
    assert document["guarantees"]["overlay"] == shared.tier
    assert len(document["probes"]) > 10
    assert [probe["name"] for probe in document["probes"] if not probe["holds"]] == []
    answer = shared.ok(["doctor"])
    assert b"Scripts can run here with every mandatory layer" in answer.stdout


def test_version_is_the_same_everywhere(shared: Cli) -> None:
    words = bare(shared, ["version"]).stdout.decode()
    assert re.fullmatch(r"bailiff \d+\.\d+\.\d+\n", words)
    assert bare(shared, ["--version"]).stdout.decode() == words
    assert shared.json(["version"]) == {"version": words.split()[1]}


# --json


@pytest.mark.parametrize(
    "args",
    ["list", "list --held", "show {id}", "logs {id}", "changes {id}", "diff {id}", "history",
     "cancel --all", "gc", "audit verify", "audit show", "audit show --checkpoint", "version",
     "stats", "queue show", "token list",
     "show nothing", "approve {id}", "reject {id}", "run Tools/none.py", "frobnicate", "exec",
     "exec -- /bin/sh -c echo${{IFS}}out;echo${{IFS}}err>&2", "exec --bogus -- true"],
)  # fmt: skip
def test_with_json_standard_output_is_one_document(shared: Cli, args: str) -> None:
    if not executions(shared):
        commit_file(shared, "Reports/json", "x")
    some = shared.json(["list"])["executions"][-1]["execution_id"]
    words = args.format(id=some).split()
    answer = shared.run(["--json", *words])
    assert isinstance(json.loads(answer.stdout), dict)  # Fails on anything more.
    names = 2 if words[0] in ("audit", "queue", "token") else 1
    late = shared.run([*words[:names], "--json", *words[names:]])
    assert isinstance(json.loads(late.stdout), dict)
    if answer.exit == 125:
        assert set(json.loads(answer.stdout)) == {"error", "code"}
        assert answer.stderr.startswith(b"bailiff: ")
