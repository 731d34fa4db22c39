"""What a script cannot reach, tried through the binary; tests/escape tries much more."""

from __future__ import annotations

import json
import os
import socket

from bailiff_cli import Cli
from e2e_tools import bare, commit_file, hold_for_review, python

TRY = """
import json, os, socket, sys
def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__
"""


def attempts(cli: Cli, **actions: str) -> dict[str, str]:
    """What each expression came to inside: its value, or the name of its OSError."""
    code = TRY + "print(json.dumps({" + ", ".join(
        f"{name!r}: attempt(lambda: {action})" for name, action in actions.items()) + "}))"
    document = cli.json(["exec", *python(code)])
    assert document["status"] == "succeeded", document
    return json.loads(document["stdout"])


def test_files_of_the_host_cannot_be_read(shared: Cli) -> None:
    canary = shared.home / "canary"
    canary.write_text("outside of the workspace")
    shared.own(canary)
    found = attempts(
        shared, shadow="open('/etc/shadow').read()", canary=f"open({str(canary)!r}).read()",
        state=f"os.listdir({str(shared.state)!r})", workspace=f"os.listdir({str(shared.workspace)!r})",
        root="os.listdir('/root')", fd=f"open('/proc/1/root{canary}').read()")  # fmt: skip
    refused = {"FileNotFoundError", "PermissionError"}
    assert {name: value for name, value in found.items() if value not in refused} == {}


def test_a_listener_of_the_host_cannot_be_reached(shared: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()  # It can be reached from here.
        found = attempts(
            shared, connect=f"socket.create_connection(('127.0.0.1', {port}), 3)",
            names="socket.getaddrinfo('example.com', 80)")  # fmt: skip
    assert found["connect"] in ("ConnectionRefusedError", "PermissionError", "OSError"), found
    assert found["names"] == "gaierror"


def test_no_variable_of_the_host_leaks(shared: Cli) -> None:
    answer = bare(
        shared, ["-q", "exec", "--", "/usr/bin/env", "-0"],
        BAILIFF_WORKSPACE=str(shared.workspace), BAILIFF_STATE=str(shared.state),
        AWS_SECRET_ACCESS_KEY="leak", LD_PRELOAD_CANARY="leak")  # fmt: skip
    assert answer.exit == 0, answer
    names = {entry.split(b"=")[0].decode() for entry in answer.stdout.split(b"\0") if entry}
    assert names == {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE", "EXECUTION_ID", "CASE_NAME", "SCRIPT_PATH", "WORKSPACE_ROOT"}  # fmt: skip
    assert b"leak" not in answer.stdout


def test_no_descriptor_is_inherited(shared: Cli) -> None:
    extra = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(extra, True)
    try:
        with shared.start(
            ["-q", "exec", *python("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")],
            close_fds=False,
        ) as process:
            out, _ = process.communicate(timeout=60)
    finally:
        os.close(extra)
    assert json.loads(out) in ([0, 1, 2, 3], [0, 1, 2]), out  # 3: the listing itself.


def test_bailiffs_own_folder_is_not_there(shared: Cli) -> None:
    hold_for_review(shared)
    found = attempts(shared, names="sorted(os.listdir('/workspace'))",
                     folder="os.listdir('/workspace/.bailiff')")  # fmt: skip
    assert ".bailiff" not in found["names"] and "'Tools'" in found["names"]
    assert found["folder"] == "FileNotFoundError"


def test_a_script_runs_as_nobody_in_particular(shared: Cli) -> None:
    code = "import os; print(os.getuid() == 0, open('/proc/self/status').read().count('NoNewPrivs:\\t1'))"
    document = shared.json(["exec", *python(code)])
    assert document["stdout"] == "False 1\n", document


def test_a_script_sees_nothing_of_another_run(shared: Cli) -> None:
    shared.json(["exec", *python("open('/tmp/left', 'w'); open('/dev/shm/left', 'w')")])
    found = attempts(shared, tmp="os.listdir('/tmp')", shm="os.listdir('/dev/shm')")
    assert "left" not in found["tmp"] and found["shm"] == "[]", found


def test_the_workspace_itself_is_unchanged_while_a_script_runs(shared: Cli) -> None:
    commit_file(shared, "Reports/seen", "before")
    code = """
import sys
open('/Reports/seen', 'w').write('inside')
print('ready', flush=True)
sys.stdin.read()
print(open('/Reports/seen').read())
"""
    process = shared.start(["-q", "exec", "--stdin", *python(code)], stdin=-1)
    with process:
        assert process.stdout.readline() == b"ready\n"
        during = (shared.workspace / "Reports/seen").read_text()
        out, _ = process.communicate(b"", timeout=60)
    assert (during, out) == ("before", b"inside\n")
    assert (shared.workspace / "Reports/seen").read_text() == "inside"
