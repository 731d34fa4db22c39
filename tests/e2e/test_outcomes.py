"""Exit statuses, what policy decides, and what each limit does to a run."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from bailiff_cli import Cli
from e2e_tools import (
    Held, contents, hold_for_review, id_of, processes_with, python, staged, state_of, wait_until,
    writing)  # fmt: skip

# Exit statuses


@pytest.mark.parametrize("code", [0, 1, 2, 77, 124, 125, 126, 127, 255])
def test_the_scripts_own_exit_status_passes_unchanged(shared: Cli, code: int) -> None:
    answer = shared.run(["--json", "exec", "--", "/bin/sh", "-c", f"exit {code}"])
    document = json.loads(answer.stdout)
    assert answer.exit == code == document["exit_code"]
    assert document["status"] == ("failed" if code else "succeeded")
    assert document["success"] is (code == 0)


@pytest.mark.parametrize("number", [1, 6, 9, 15])
def test_a_script_killed_by_a_signal_exits_128_and_the_signal(shared: Cli, number: int) -> None:
    answer = shared.run(["--json", "exec", *python(f"import os; os.kill(os.getpid(), {number})")])
    document = json.loads(answer.stdout)
    assert answer.exit == 128 + number
    assert (document["signal"], document["status"]) == (number, "failed")


@pytest.mark.parametrize("command", ["no-such-command", "/usr/bin/no-such-command"])
def test_a_command_that_does_not_exist_exits_127(shared: Cli, command: str) -> None:
    answer = shared.run(["exec", "--", command])
    assert answer.exit == 127
    assert command.encode() in answer.stderr


def test_a_script_that_does_not_exist_exits_127(shared: Cli) -> None:
    assert shared.run(["run", "Tools/none.py"]).exit == 127


def test_misuse_exits_125(shared: Cli) -> None:
    assert shared.run(["frobnicate"]).exit == 125
    assert shared.run([]).exit == 125


# What policy decides


def test_clean_changes_are_committed_at_once(ws: Cli) -> None:
    document = ws.json(["exec", *writing("Reports/a", "clean\n")])
    assert document["changes"]["state"] == "committed"
    assert document["decision"] == {"outcome": "commit", "rule": "default-commit", "reasons": []}
    path = ws.workspace / "Reports/a"
    assert path.read_text() == "clean\n"
    assert (path.stat().st_uid, path.stat().st_gid) == (ws.owner, ws.owner)
    assert staged(ws) == []


@pytest.mark.parametrize(
    "code, options, rule, words",
    [
        ("open('/Tools/t.py', 'w')", [], "tools", "1 path touched in Tools/"),
        ("os.mkdir('/workspace/.git'); open('/workspace/.git/config', 'w')", [], "protected-path",
         ".git/config"),
        ("open('/workspace/projects/A/CLAUDE.md', 'w')", ["--case", "A"], "protected-path",
         "projects/A/CLAUDE.md"),
        ("open('/workspace/projects/B/x', 'w')", ["--case", "A"], "outside-case",
         "1 path touched outside of projects/A/ and Reports/: projects/B/x"),
        ("[os.remove(f'/projects/A/{n}') for n in range(3)]", ["--case", "A"], "deletes",
         "3 of the 8 files of the case deleted, more than a quarter"),
        ("os.symlink('/etc/passwd', '/Reports/link')", [], "escaping-symlink",
         "Reports/link -> /etc/passwd"),
        ("os.mkfifo('/Reports/fifo'); open('/Reports/a', 'w')", [], "refused-entries",
         "Reports/fifo"),
        ("open('/Reports/a', 'w')", ["--mode", "review"], "mode-review", "a person decides"),
    ],
)  # fmt: skip
def test_what_a_person_should_see_is_held_with_the_reason(
    ws: Cli, code: str, options: list[str], rule: str, words: str
) -> None:
    for n in range(8):
        ws.write(f"projects/A/{n}", "x")
    ws.write("projects/B/kept", "x")
    before = contents(ws)
    answer = ws.run(["exec", *options, *python("import os\n" + code)])
    assert answer.exit == 0, answer
    document = ws.json(["show", id_of(answer)])
    assert document["changes"]["state"] == "held"
    assert (document["decision"]["outcome"], document["decision"]["rule"]) == ("review", rule)
    assert words in " ".join(document["decision"]["reasons"])
    assert words in answer.stderr.decode()
    assert contents(ws) == before


def test_a_quarter_of_the_files_may_go_without_a_person(ws: Cli) -> None:
    for n in range(8):
        ws.write(f"projects/A/{n}", "x")
    code = "import os; [os.remove(str(n)) for n in range(2)]"
    document = ws.json(["exec", "--case", "A", *python(code)])
    assert document["changes"]["state"] == "committed", document
    assert sorted(os.listdir(ws.workspace / "projects/A")) == list("234567")


def test_a_case_may_write_reports(ws: Cli) -> None:
    ws.write("projects/A/x")
    document = ws.json(["exec", "--case", "A", *writing("Reports/of-a", "r")])
    assert document["changes"]["state"] == "committed", document


def test_approval_commits_the_bytes_that_were_seen(ws: Cli) -> None:
    code = "import os; open('/Reports/random', 'wb').write(os.urandom(100_000))"
    document = ws.json(["exec", "--mode", "review", *python(code)])
    [change] = ws.json(["changes", document["execution_id"]])["changes"]
    ws.ok(["approve", document["execution_id"]])
    data = (ws.workspace / "Reports/random").read_bytes()
    assert hashlib.sha256(data).hexdigest() == change["sha256"]


def test_an_approval_is_a_conflict_when_the_path_has_changed(ws: Cli) -> None:
    document = hold_for_review(ws, "Reports/a", "from the script\n")
    ws.write("Reports/a", "from a person\n")
    answer = ws.run(["approve", document["execution_id"]])
    assert answer.exit == 3
    assert b"Reports/a" in answer.stderr
    assert (ws.workspace / "Reports/a").read_text() == "from a person\n"
    assert state_of(ws, document["execution_id"]) == "conflict"


def test_changes_of_a_failed_script_are_discarded(ws: Cli) -> None:
    before = contents(ws)
    answer = ws.run(["exec", "--", "/bin/sh", "-c", "echo a > /Reports/a; exit 5"])
    assert answer.exit == 5
    assert b"1 created" in answer.stderr and b"discarded" in answer.stderr
    assert contents(ws) == before
    listed = ws.json(["changes", id_of(answer)])
    assert [change["path"] for change in listed["changes"]] == ["Reports/a"]


@pytest.mark.parametrize("mode", ["review", "commit"])
def test_changes_of_a_failed_script_can_be_kept_for_review(ws: Cli, mode: str) -> None:
    answer = ws.run(
        ["exec", "--on-failure", mode, "--", "/bin/sh", "-c", "echo a > /Reports/a; exit 5"])
    assert answer.exit == 5
    document = ws.json(["show", id_of(answer)])
    assert document["changes"]["state"] == "held" and document["success"] is False
    assert "did not succeed" in " ".join(document["decision"]["reasons"])
    ws.ok(["approve", id_of(answer)])
    assert (ws.workspace / "Reports/a").read_text() == "a\n"


def test_mode_discard_lists_the_changes_and_drops_them(ws: Cli) -> None:
    before = contents(ws)
    document = ws.json(["exec", "--mode", "discard", *writing("Reports/a", "a")])
    assert document["success"] is True
    assert (document["changes"]["state"], document["changes"]["created"]) == ("discarded", 1)
    assert contents(ws) == before and staged(ws) == []


# Limits


# Long enough for what comes before the sleep, on a slow kernel too.
OUT_OF_TIME = ["--timeout", "3s", "--", "/bin/sh", "-c", "echo before; echo a > /Reports/a; exec sleep 600"]


def test_a_script_that_runs_too_long_is_stopped(ws: Cli) -> None:
    answer = ws.run(["exec", *OUT_OF_TIME])
    assert answer.exit == 124 and answer.stdout == b"before\n"
    assert b"timed out" in answer.stderr and b"limit of 3 s" in answer.stderr
    document = ws.json(["show", id_of(answer)])
    assert (document["status"], document["exit_code"]) == ("timed_out", 124)
    assert document["changes"]["state"] == "discarded"
    assert 3 <= document["duration_seconds"] < 30


def test_changes_of_a_run_out_of_time_can_be_kept_for_review(ws: Cli) -> None:
    document = ws.json(["exec", "--on-failure", "review", *OUT_OF_TIME])
    assert (document["status"], document["changes"]["state"]) == ("timed_out", "held")


def test_a_script_that_needs_too_much_memory_is_stopped(ws: Cli) -> None:
    code = "open('/Reports/a', 'w').write('x')\nx = b'x' * (300 << 20)\nprint('survived')"
    answer = ws.run(["--json", "exec", "--memory", "64m", *python(code)])
    document = json.loads(answer.stdout)
    if document["guarantees"]["limits"] == "rlimits" and document["status"] == "failed":
        assert "MemoryError" in document["stderr"]  # Refused before it was used.
    else:
        assert (answer.exit, document["status"]) == (137, "oom_killed"), document
        assert "64.0 MiB" in document["error"]
    assert "survived" not in document["stdout"]
    assert document["changes"]["state"] == "discarded"


FORKS = """
import os, signal
try:
    for n in range(100):
        if os.fork() == 0:
            signal.pause()
except BlockingIOError:
    print('refused at', n)
    raise
"""


def test_a_script_that_makes_too_many_processes_is_refused_more(ws: Cli) -> None:
    document = ws.json(["exec", "--pids", "20", *python(FORKS)])
    assert document["stdout"].startswith("refused at"), document
    assert int(document["stdout"].split()[2]) < 20
    if document["guarantees"]["limits"] == "rlimits":  # Which do not tell whether they were met.
        assert document["status"] == "failed"
    else:
        assert document["status"] == "limit_exceeded", document
        assert document["error"] == "no more processes could be made: the limit is 20"


FILL = "open('/Reports/big', 'wb').write(b'x' * (5 << 20))"
MANY = "[open(f'/Reports/{n}', 'w') for n in range(200)]"


def test_a_script_that_writes_too_much_fails_by_it(ws: Cli) -> None:
    before = contents(ws)
    document = ws.json(["exec", "--scratch", "2m", *python(FILL)])
    assert "No space left on device" in document["stderr"]
    assert document["status"] == "limit_exceeded", document
    assert document["error"] == "scratch was full: its limit is 2.0 MiB"
    assert document["changes"]["state"] == "discarded"
    assert contents(ws) == before


def test_changes_of_more_files_than_the_limit_are_discarded(ws: Cli) -> None:
    before = contents(ws)
    answer = ws.run(["--json", "exec", "--files", "50", *python(MANY)])
    document = json.loads(answer.stdout)
    assert (answer.exit, document["status"]) == (125, "limit_exceeded"), document
    assert "more than 50 changes" in document["error"]
    assert document["changes"]["state"] == "discarded"
    assert contents(ws) == before and staged(ws) == []


def test_a_script_that_copes_with_full_scratch_succeeds_with_a_warning(ws: Cli) -> None:
    code = f"try:\n  {FILL}\nexcept OSError:\n  print('coped')\n"
    document = ws.json(["exec", "--scratch", "2m", *python(code)])
    assert (document["status"], document["stdout"]) == ("succeeded", "coped\n"), document
    assert "scratch was full" in " ".join(document["warnings"])


def test_output_above_its_limit_is_counted_and_dropped(ws: Cli) -> None:
    code = "print('x' * 99_999); open('/Reports/after', 'w').write('went on')"
    answer = ws.run(["exec", "--output", "1k", *python(code)])
    document = ws.json(["show", id_of(answer)])
    assert document["status"] == "succeeded"
    assert document["stdout"] == "x" * 1024 and document["stdout_truncated"] is True
    assert document["stderr_truncated"] is False
    assert "98976 more bytes were dropped" in " ".join(document["warnings"])
    assert (ws.workspace / "Reports/after").read_text() == "went on"
    assert ws.ok(["logs", "--raw", id_of(answer)]).stdout == b"x" * 1024
    assert len(answer.stdout) == 100_000  # What is kept is limited, not what is seen.


def test_a_timeout_above_the_maximum_is_capped_with_a_warning(shared: Cli) -> None:
    document = shared.json(["exec", "--timeout", "2h", "--", "/bin/true"])
    assert document["limits"]["timeout_seconds"] == 1800
    assert document["warnings"] == ["timeout was above the maximum and is now 1800 s"]
    assert document["success"] is True


def test_a_daemon_that_stays_behind_dies_with_the_run(shared: Cli) -> None:
    marker = "918273.5"
    script = f"setsid sleep {marker} >/dev/null 2>&1 & setsid sleep {marker} & echo done"
    document = shared.json(["exec", "--timeout", "60", "--", "/bin/sh", "-c", script])
    assert (document["status"], document["stdout"]) == ("succeeded", "done\n"), document
    assert document["duration_seconds"] < 30
    wait_until(lambda: not processes_with(marker), "the end of the daemons")


def test_a_run_is_the_only_thing_that_a_limit_touches(shared: Cli) -> None:
    with Held(shared, "print('unharmed')") as other:
        shared.run(["exec", "--timeout", "200ms", "--", "/bin/sleep", "600"])
        answer = other.let_go()
    assert (answer.exit, answer.stdout) == (0, b"ready\nunharmed\n")
