"""Statistics, health, and the emergency stop."""

from __future__ import annotations

import json
import sqlite3

import pytest
from bailiff_cli import Cli
from e2e_tools import Held, commit_file, executions, hold_for_review, running_ids

SEED_KEYS = {"total_executions", "success_count", "failure_count", "success_rate",
             "average_duration", "most_used_scripts", "period_hours"}  # fmt: skip


def outbox(cli: Cli) -> list[dict]:
    with sqlite3.connect(cli.state / "bailiff.db") as database:
        rows = database.execute("SELECT hook, event, body FROM outbox ORDER BY seq").fetchall()
    return [{"hook": hook, "event": event, "body": json.loads(body)} for hook, event, body in rows]


def test_statistics_count_what_ended(ws: Cli) -> None:
    assert ws.json(["stats"])["total_executions"] == 0
    ws.write("Tools/ok.py", "print(1)\n")
    for _ in range(2):
        ws.ok(["run", "Tools/ok.py"])
    failed = ws.json(["exec", "--", "/bin/false"])["execution_id"]
    with Held(ws, "") as held:
        stats = ws.json(["stats", "--hours", "2"])
        held.let_go()
    assert SEED_KEYS < set(stats)
    assert (stats["total_executions"], stats["success_count"], stats["failure_count"]) == (3, 2, 1)
    assert stats["success_rate"] == pytest.approx(2 / 3, abs=1e-5)
    assert stats["most_used_scripts"] == {"/Tools/ok.py": 2}
    assert stats["period_hours"] == 2
    assert stats["by_status"] == {"succeeded": 2, "failed": 1, "running": 1}
    assert [failure["execution_id"] for failure in stats["failures"]] == [failed]
    assert 0 < stats["average_duration"] <= stats["p95_duration"]


def test_statistics_read_like_the_report_that_agents_know(ws: Cli) -> None:
    ws.write("Tools/ok.py", "print(1)\n")
    ws.ok(["run", "Tools/ok.py"])
    lines = ws.ok(["stats"]).stdout.decode().splitlines()
    assert lines[:4] == ["Script Execution Stats (Last 24 hours)", "", "Total Executions: 1",
                         "Success Rate: 100.0%"]  # fmt: skip
    assert lines[4].startswith("Average Duration: 0.")
    assert lines[-2:] == ["Most Used Scripts:", "  - /Tools/ok.py: 1 executions"]


def test_too_many_failures_are_an_alert(ws: Cli) -> None:
    (ws.state / "bailiff.toml").write_text("[health]\nfailure_min_runs = 1\nfailure_rate = 0.5\n")
    for _ in range(2):
        ws.run(["exec", "--", "/bin/false"])
    stats = ws.json(["stats"])
    assert stats["healthy"] is False
    assert [alert["metric"] for alert in stats["alerts"]] == ["failure_rate"]
    assert b"  warning: High failure rate: 100.0% in last hour\n" in ws.ok(["stats"]).stdout


def test_the_emergency_stop_also_pauses_the_queue(ws: Cli) -> None:
    with Held(ws, "") as held:
        answer = ws.json(["cancel", "--all"])
        assert answer["queue_paused"] is True and len(answer["cancelled"]) == 1
        held.end()
    assert running_ids(ws) == []
    assert ws.json(["queue", "show"])["paused"]["by"] == f"local:{ws.uid}"
    assert ws.json(["queue", "pause"]) == {"paused": True, "changed": False}
    assert ws.json(["queue", "resume"]) == {"paused": False, "changed": True}
    assert ws.json(["queue", "show"]) == {"paused": None, "queued": []}
    types = [record["type"] for record in ws.json(["audit", "show"])["records"]]
    assert [kind for kind in types if kind.startswith("queue_")] == ["queue_paused", "queue_resumed"]


def test_webhooks_are_told_in_the_process_in_which_it_happens(ws: Cli) -> None:
    (ws.state / "bailiff.toml").write_text(
        '[[webhook]]\nname = "all"\nurl = "http://127.0.0.1:9/"\n'
        '[[webhook]]\nname = "chat"\nurl = "http://127.0.0.1:9/"\nformat = "slack"\n'
        'events = ["held"]\n'
    )
    held = hold_for_review(ws, "Reports/a", "top secret\n")
    ws.ok(["approve", held["execution_id"]])
    commit_file(ws, "Reports/b", "top secret\n")
    ws.run(["exec", "--", "/bin/sh", "-c", "echo top secret; exit 3"])
    messages = outbox(ws)
    assert [(message["hook"], message["event"]) for message in messages] == [
        ("all", "held"), ("chat", "held"), ("all", "committed"), ("all", "committed"),
        ("all", "failed")]  # fmt: skip
    first = messages[0]["body"]
    assert (first["id"], first["digest"]) == (held["execution_id"], held["changes"]["digest"])
    assert first["created"] == 1 and first["decision"]["rule"] == "mode-review"
    assert list(messages[1]["body"]) == ["text"]
    assert (messages[4]["body"]["status"], messages[4]["body"]["exit_code"]) == ("failed", 3)
    assert "top secret" not in json.dumps(messages)
    assert executions(ws) == 3
