"""Bytes that are not text, and text that would drive a terminal."""

from __future__ import annotations

import base64
import json
import os

import pytest
from bailiff_cli import Cli
from e2e_tools import id_of, python

ODD = b"Reports/odd \xff\n\x1b[31m name"
SHOWN_PATH = "Reports/odd \ufffd\n\x1b[31m name"


def test_output_that_is_not_utf8_is_marked_and_kept_exact(shared: Cli) -> None:
    raw = b"caf\xe9 \xff\xfe\0 end\n"
    answer = shared.run(["exec", *python(f"import os; os.write(1, {raw!r}); os.write(2, {raw!r})")])
    assert answer.stdout == raw  # The script's own output is not touched.
    document = shared.json(["show", id_of(answer)])
    assert document["stdout"] == document["stderr"] == "caf\ufffd \ufffd\ufffd\0 end\n"
    exact = shared.ok(["logs", "--raw", id_of(answer)])
    assert (exact.stdout, exact.stderr) == (raw, raw)
    logs = shared.json(["logs", id_of(answer)])
    assert base64.b64decode(logs["stdout_b64"]) == raw


def test_escapes_in_output_are_shown_by_logs_and_never_sent(shared: Cli) -> None:
    raw = b"\x1b[2J\x1b]0;title\x07red\r\n\xe2\x80\xaegnp.exe\n"
    answer = shared.run(["exec", *python(f"import os; os.write(1, {raw!r})")])
    shown = shared.ok(["logs", id_of(answer)]).stdout
    assert shown == b"\\x1b[2J\\x1b]0;title\\x07red\\x0d\n\\u{202e}gnp.exe\n"
    assert shared.ok(["logs", "--raw", id_of(answer)]).stdout == raw


@pytest.fixture(scope="module")
def odd(shared: Cli) -> tuple[Cli, str]:
    """A held change set with a path that is no text, and content that drives terminals."""
    code = f"""
import os
open(os.path.join(b'/workspace', {ODD!r}), 'w').write('x')
open('/workspace/Reports/colours', 'wb').write(b'\\x1b[31mred\\x1b[0m\\n')
os.symlink('\\x1b]0;title\\x07', '/workspace/Reports/link')
"""
    document = shared.json(["exec", "--mode", "review", *python(code)])
    assert document["changes"]["state"] == "held", document
    return shared, document["execution_id"]


def test_a_path_that_is_no_text_is_given_exactly_beside(odd: tuple[Cli, str]) -> None:
    cli, execution = odd
    changes = {change["path"]: change for change in cli.json(["changes", execution])["changes"]}
    assert base64.b64decode(changes[SHOWN_PATH]["path_b64"]) == ODD
    assert "path_b64" not in changes["Reports/colours"]


@pytest.mark.parametrize("command", ["changes", "diff", "list --held", "show"])
def test_no_escape_reaches_the_terminal(odd: tuple[Cli, str], command: str) -> None:
    cli, execution = odd
    words = command.split()
    answer = cli.ok(words if "list" in words else [*words, execution])
    for stream in (answer.stdout, answer.stderr):
        assert b"\x1b" not in stream and b"\x07" not in stream and b"\xff" not in stream
    stream.decode("utf-8")
    if command in ("changes", "diff"):
        assert b"\\xff" in answer.stdout and b"\\x1b[31m name" in answer.stdout
    if command == "diff":
        assert b"+\\x1b[31mred\\x1b[0m" in answer.stdout


def test_odd_paths_are_committed_and_have_a_history(ws: Cli) -> None:
    code = f"import os; open(os.path.join(b'/workspace', {ODD!r}), 'w').write('x')"
    document = ws.json(["exec", *python(code)])
    assert document["changes"]["state"] == "committed", document
    assert os.path.exists(os.path.join(os.fsencode(ws.workspace), ODD))
    [event] = ws.json(["history", ODD])["events"]
    assert base64.b64decode(event["path_b64"]) == ODD
    text = ws.ok(["history"]).stdout
    assert b"\x1b" not in text and b"\\x1b[31m name" in text
    assert b"\x1b" not in ws.ok(["audit", "show"]).stdout
    assert ws.json(["audit", "verify"])["ok"] is True
    ws.ok(["rollback", document["execution_id"]])
    assert not os.path.exists(os.path.join(os.fsencode(ws.workspace), ODD))


def test_odd_arguments_and_messages_are_escaped(shared: Cli) -> None:
    answer = shared.run(["run", b"Tools/\x1b[31m\xff.py"])
    assert answer.exit == 127
    assert b"Tools/\\x1b[31m\\xff.py" in answer.stderr and b"\x1b" not in answer.stderr
    body = shared.run(["--json", "run", b"Tools/\xff.py"]).stdout
    assert "Tools/" in json.loads(body)["error"]


def test_odd_arguments_reach_the_script(shared: Cli) -> None:
    code = "import os, sys; print([os.fsencode(a) for a in sys.argv[1:]])"
    odd = [b"\xff", b"", b"a b", b"new\nline", "\u202e".encode()]
    answer = shared.ok(["-q", "exec", *python(code), *odd])
    assert answer.stdout.decode().strip() == repr(odd)
