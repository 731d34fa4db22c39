"""Tokens: made and shown once, listed without secrets, revoked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bailiff_cli import Cli

TOKEN = re.compile(rb"bailiff_[0-9a-f]{8}_[A-Za-z0-9_-]{43}\n")


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def records(cli: Cli, kind: str) -> list[dict]:
    found = cli.json(["audit", "show"])["records"]
    return [record["data"] for record in found if record["type"] == kind]


def test_a_token_is_shown_once_and_kept_nowhere(ws: Cli) -> None:
    answer = ws.ok(["token", "create", "bot", "--role", "agent"])
    assert TOKEN.fullmatch(answer.stdout), answer
    secret = answer.stdout.strip()[-20:]
    assert secret not in answer.stderr
    listed = ws.run(["--json", "token", "list"])
    assert b"bot" in listed.stdout and secret not in listed.stdout
    assert secret not in ws.ok(["audit", "show"]).stdout
    assert files_with(ws.state, secret) == []
    assert files_with(ws.workspace, secret) == []


def test_a_token_says_what_it_is_for(ws: Cli) -> None:
    (ws.workspace / "projects/Wilson").mkdir()
    made = ws.json(["token", "create", "bot", "--role", "agent", "--case", "Wilson",
                    "--case", "Later", "--expires", "30d"])  # fmt: skip
    assert made["warnings"] == ["there is no case 'Later' yet"]
    (listed,) = ws.json(["token", "list"])["tokens"]
    assert {key: made[key] for key in listed} == listed
    assert listed["cases"] == ["Wilson", "Later"] and listed["state"] == "living"
    assert listed["created_by"] == f"local:{ws.uid}" and listed["revoked"] is None
    (record,) = records(ws, "token_created")
    assert (record["name"], record["id"]) == ("bot", listed["id"])
    assert "token" not in record


@pytest.mark.parametrize(
    ("options", "ends"),
    [("--role agent", True), ("--role reviewer", False), ("--role agent --expires never", False),
     ("--role admin --expires 1h", True)],
)  # fmt: skip
def test_agents_expire_unless_said_otherwise(ws: Cli, options: str, ends: bool) -> None:
    made = ws.json(["token", "create", "x", *options.split()])
    assert (made["expires"] is not None) == ends


def test_a_revoked_token_makes_room_for_another_of_its_name(ws: Cli) -> None:
    first = ws.json(["token", "create", "bot", "--role", "agent"])
    taken = ws.json(["token", "create", "bot", "--role", "admin"])
    assert taken["code"] == "conflict" and "'bot' exists already" in taken["error"]
    assert ws.json(["token", "revoke", "bot"])["state"] == "revoked"
    assert ws.json(["token", "revoke", "bot"])["code"] == "not_found"
    assert ws.json(["token", "revoke", first["id"]])["code"] == "conflict"
    ws.ok(["token", "create", "bot", "--role", "admin"])
    states = [token["state"] for token in ws.json(["token", "list"])["tokens"]]
    assert states == ["living", "revoked"]
    assert len(records(ws, "token_revoked")) == 1


def test_a_token_whose_time_is_over_is_expired(ws: Cli) -> None:
    ws.ok(["token", "create", "bot", "--role", "agent", "--expires", "1ms"])
    (listed,) = ws.json(["token", "list"])["tokens"]
    assert listed["state"] == "expired"
