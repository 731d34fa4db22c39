"""What is dropped because it is old."""

from __future__ import annotations

from bailiff_cli import Cli
from e2e_tools import commit_file, contents, hold_for_review, state_of

LOGS = "Database/script_execution_logs"


def configure(cli: Cli, text: str) -> None:
    (cli.state / "bailiff.toml").write_text(text)


def test_what_nobody_decides_expires(ws: Cli) -> None:
    held = hold_for_review(ws, "Reports/a", "a\n")["execution_id"]
    ws.ok(["exec", "--", "/bin/true"])
    assert state_of(ws, held) == "held"
    configure(ws, '[retention]\nheld = "1ms"\n')
    answer = ws.ok(["exec", "--", "/bin/true"])  # Any command that may change something.
    assert f"{held} was held for too long".encode() in answer.stderr
    assert state_of(ws, held) == "expired"
    assert not list((ws.workspace / ".bailiff/stage").iterdir())
    assert ws.json(["list", "--held"])["proposals"] == []
    late = ws.run(["approve", held])
    assert late.exit == 4 and b"its changes are expired" in late.stderr
    assert not (ws.workspace / "Reports/a").exists()
    expired = [r for r in ws.json(["audit", "show"])["records"] if r["type"] == "expired"]
    assert [record["data"]["id"] for record in expired] == [held]
    assert ws.json(["audit", "verify"])["ok"] is True


def test_gc_drops_old_execution_documents_and_leaves_the_rest(ws: Cli) -> None:
    first = commit_file(ws, "Reports/a", "a\n")["execution_id"]
    mine = ws.write(f"{LOGS}/notes.json", "{}")
    other = ws.write(f"{LOGS}/exec_20260101_000000_00000000.json", "{}")
    assert ws.json(["gc"])["logs_dropped"] == 0
    configure(ws, '[retention]\nexecution_logs = "1ms"\n')
    assert ws.json(["gc"])["logs_dropped"] == 1
    assert not (ws.workspace / LOGS / f"{first}.json").exists()
    assert mine.exists() and other.exists()
    document = ws.json(["show", first])
    assert document["log_file"] is None and document["status"] == "succeeded"
    assert ws.json(["gc"])["logs_dropped"] == 0
    assert first in str(ws.json(["audit", "show"])["records"])


def test_gc_does_not_follow_links_to_what_it_drops(ws: Cli) -> None:
    first = commit_file(ws, "Reports/a", "a\n")["execution_id"]
    logs = ws.workspace / LOGS
    logs.rename(ws.workspace / "elsewhere")
    logs.symlink_to("../elsewhere")
    configure(ws, '[retention]\nexecution_logs = "1ms"\n')
    before = contents(ws)
    assert ws.json(["gc"])["logs_dropped"] == 0
    assert contents(ws) == before
    assert (ws.workspace / "elsewhere" / f"{first}.json").exists()
