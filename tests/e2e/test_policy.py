"""Rules of the operator's own: what they decide, how they are explained, and what lint tells.

The example policies of docs/policy.md are read from there, and each is held to what it promises.
"""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bailiff_cli import REPOSITORY, Cli
from e2e_tools import bare, cgroups_named, python, staged, writing

EXAMPLES = dict(
    re.findall(
        r"<!-- policy: ([a-z-]+) -->\n```toml\n(.*?)```", (REPOSITORY / "docs/policy.md").read_text(),
        re.DOTALL))  # fmt: skip

DENIES_SECRETS = """
[[policy.rule]]
name = "secrets"
decide = "deny"
reason = "keys do not belong here"
[policy.rule.when]
paths = ["**/*.pem"]

[[policy.rule]]
name = "ledgers"
decide = "review"
by = "admin"
[policy.rule.when]
paths = ["Reports/ledger/**"]

[[policy.rule]]
name = "rest"
decide = "commit"
"""


def configure(cli: Cli, text: str) -> None:
    file = cli.state / "bailiff.toml"
    file.write_text(text)
    cli.own(file)


def file_of(cli: Cli, text: str) -> Path:
    file = cli.home / "other.toml"
    file.write_text(text)
    return cli.own(file)


def touch(*paths: str) -> str:
    """The code of a script that writes a line into each."""
    return (
        "import os\n"
        f"for path in {paths!r}:\n"
        "    path = '/workspace/' + path\n"
        "    os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "    with open(path, 'a') as file: file.write('line\\n')\n")  # fmt: skip


def decided(document: dict[str, Any]) -> tuple[str, str]:
    return document["decision"]["outcome"], document["decision"]["rule"]


# What rules decide


def test_a_denied_run_exits_126_and_leaves_nothing(ws: Cli) -> None:
    configure(ws, DENIES_SECRETS)
    answer = ws.run(["--json", "exec", *writing("Reports/key.pem", "secret\n")])
    document = json.loads(answer.stdout)
    assert answer.exit == 126
    assert document["changes"]["state"] == "denied" and document["success"] is False
    assert document["decision"] == {
        "outcome": "deny", "rule": "secrets",
        "reasons": ["keys do not belong here; 1 path: Reports/key.pem"]}  # fmt: skip
    assert not (ws.workspace / "Reports/key.pem").exists()
    assert staged(ws) == []
    words = ws.run(["exec", *writing("Reports/key.pem", "secret\n")]).stderr.decode()
    assert "denied" in words and "keys do not belong here" in words


def test_a_review_names_who_may_approve(ws: Cli) -> None:
    configure(ws, DENIES_SECRETS)
    document = ws.json(["exec", *python(touch("Reports/ledger/2024"))])
    assert decided(document) == ("review", "ledgers")
    assert document["decision"]["by"] == "admin"
    assert ws.json(["changes", document["execution_id"]])["decision"]["by"] == "admin"
    held = ws.json(["exec", "--mode", "review", *writing("Reports/a", "x")])
    assert held["decision"]["by"] == "reviewer"


def test_no_rule_commits_what_needs_a_person(ws: Cli) -> None:
    configure(ws, DENIES_SECRETS)
    document = ws.json(["exec", *writing("Tools/t.py", "x")])
    assert decided(document) == ("review", "tools")
    assert document["decision"]["reasons"][0] == (
        "rule rest would commit this, but never without a person")  # fmt: skip
    document = ws.json(["exec", *writing("Reports/.envrc", "x")])
    assert decided(document) == ("review", "protected-path")
    assert decided(ws.json(["exec", *writing("Reports/a", "x")])) == ("commit", "rest")


def test_what_no_rule_matches_is_held(ws: Cli) -> None:
    configure(ws, '[[policy.rule]]\nname = "a"\ndecide = "commit"\nwhen = { paths = "a" }\n')
    assert decided(ws.json(["exec", *writing("Reports/a", "x")])) == ("review", "no-match")


def test_a_wrong_policy_stops_every_run_and_says_where(ws: Cli) -> None:
    configure(ws, '[[policy.rule]]\nname = "a"\ndecide = "allow"\n')
    answer = ws.run(["exec", *writing("Reports/a", "x")])
    assert answer.exit == 125
    words = f"{ws.state}/bailiff.toml: policy.rule: 1 (a): decide: 'allow' is not a decision"
    assert words in answer.stderr.decode()
    assert not (ws.workspace / "Reports/a").exists()


# policy check


def test_check_explains_a_file_without_a_workspace(ws: Cli) -> None:
    file = file_of(ws, DENIES_SECRETS)
    answer = bare(ws, ["policy", "check", file])
    assert answer.exit == 0, answer
    words = answer.stdout.decode()
    assert "secrets: deny\n    when a path is changed that matches **/*.pem\n" in words
    assert "    says: keys do not belong here\n" in words
    assert "ledgers: review by admin\n" in words
    assert "rest: commit\n    always\n" in words
    assert "No rule matches: review by reviewer (no-match)." in words
    document = json.loads(bare(ws, ["--json", "policy", "check", file]).stdout)
    assert [rule["name"] for rule in document["rules"]] == ["secrets", "ledgers", "rest"]
    assert document["ok"] is True and document["shipped"] is False
    assert document["rules"][1]["by"] == "admin"


@pytest.mark.parametrize(
    "text, says",
    [
        ("[policy]\nrules = 1\n", "policy.rules: is not a known setting; use self_approval or rule"),
        ('[[policy.rule]]\nname = "a"\ndecide = "deny"\nwhen = { paths = "/x" }\n',
         "policy.rule: 1 (a): when: paths: '/x' has an empty segment"),
        ("[sandbox]\nx = 1\n", "sandbox.x: is not a known setting"),
        ("[policy\n", ":1: "),
        ('[[policy.rule]]\nname = "a"\ndecide = "deny"\nwhen = { case = "ä[" }\n',
         "when: case: 'ä[' has a [ without its ]"),
    ],
)  # fmt: skip
def test_check_says_what_is_wrong(shared: Cli, text: str, says: str) -> None:
    file = file_of(shared, text)
    answer = bare(shared, ["policy", "check", file])
    assert answer.exit == 125
    assert str(file) in answer.stderr.decode() and says in answer.stderr.decode()
    document = json.loads(bare(shared, ["--json", "policy", "check", file]).stdout)
    assert document["code"] == "invalid_argument" and says in document["error"]


def test_check_of_a_file_that_is_not_there(shared: Cli) -> None:
    answer = bare(shared, ["policy", "check", "none.toml"])
    assert answer.exit == 125 and b"none.toml" in answer.stderr


# policy test


def test_a_recorded_run_is_tried_rule_by_rule(ws: Cli) -> None:
    document = ws.json(["exec", *writing("Reports/key.pem", "x")])
    assert decided(document) == ("commit", "default-commit")
    options = ["--config", file_of(ws, DENIES_SECRETS), "policy", "test", document["execution_id"]]
    trial = ws.json(options)
    assert trial["id"] == document["execution_id"]
    assert trial["then"]["rule"] == "default-commit"
    assert trial["now"]["outcome"] == "deny" and trial["now"]["rule"] == "secrets"
    assert trial["unknown"] == []
    first = trial["rules"][0]
    assert first["matches"] and first["decides"] and not first["floor"]
    assert first["conditions"] == [
        {"condition": "a path is changed that matches **/*.pem", "holds": True,
         "finding": "1 path: Reports/key.pem"}]  # fmt: skip
    assert trial["rules"][1]["conditions"][0]["finding"] == "no such path"
    assert [rule["name"] for rule in trial["rules"] if rule["floor"]] == [
        "mode-review", "refused-entries", "host-network", "protected-path", "tools"]  # fmt: skip
    words = ws.ok(options).stdout.decode()
    assert "then  commit (default-commit)" in words and "now   deny (secrets)" in words
    assert "=> secrets: matches, deny" in words
    assert (ws.workspace / "Reports/key.pem").exists(), "trying changes nothing"


def test_it_is_tried_on_what_was_then_not_on_the_workspace_of_today(ws: Cli) -> None:
    for number in range(8):
        ws.write(f"projects/A/{number}")
    ws.write("projects/A/in/x.pdf")
    document = ws.json(
        ["exec", "--case", "A", "--on-failure", "review", *python(
            "import os\nfor n in range(3): os.remove(f'/projects/A/{n}')\n"
            "os.rename('/projects/A/in', '/projects/A/out')\nraise SystemExit(3)")])  # fmt: skip
    assert document["changes"]["state"] == "held", document
    ws.ok(["approve", document["execution_id"]])
    for number in range(500):
        ws.write(f"projects/A/new/{number}")
    rules = "".join(
        f'[[policy.rule]]\nname = "{name}"\ndecide = "deny"\n[policy.rule.when]\n{when}\n'
        for name, when in (
            ("share", "deleted_share_above = 0.3"), ("moved", 'paths = "projects/A/out/x.pdf"'),
            ("code", "exit_code = 3"), ("who", f'principal = "local:{ws.uid}"'),
            ("what", 'role = "admin"'), ("where", 'case = "A"'), ("level", 'level = "ns"')))  # fmt: skip
    trial = ws.json(
        ["--config", file_of(ws, rules), "policy", "test", document["execution_id"]])  # fmt: skip
    assert {rule["name"]: rule["matches"] for rule in trial["rules"][:7]} == dict.fromkeys(
        ("share", "moved", "code", "who", "what", "where", "level"), True)  # fmt: skip
    assert trial["rules"][0]["conditions"][0]["finding"] == "3 of 9 files deleted"


def test_what_an_older_record_does_not_tell_is_said(privileged_ws: Cli) -> None:
    ws = privileged_ws
    document = ws.json(["exec", *writing("Reports/a", "x")])
    with sqlite3.connect(ws.state / "bailiff.db") as database:
        database.execute("UPDATE proposals SET problems = json_remove(problems, '$.facts')")
    trial = ws.json(["policy", "test", document["execution_id"]])
    assert trial["now"]["rule"] == "default-commit"
    assert len(trial["unknown"]) == 1 and "was not recorded" in trial["unknown"][0]
    words = ws.ok(["policy", "test", document["execution_id"]]).stdout.decode()
    assert "not known: what was decided from was not recorded" in words


def test_a_run_without_changes_has_nothing_to_try(shared: Cli) -> None:
    document = shared.json(["exec", "--", "/bin/true"])
    answer = shared.run(["policy", "test", document["execution_id"]])
    assert answer.exit == 125 and b"changed nothing" in answer.stderr


# Lint

SCRIPT = """import os
from os import system as harmless
if False:
    harmless("true")
open("/workspace/Reports/a", "w").write("x")
"""


def test_a_reviewer_sees_what_lint_found(ws: Cli) -> None:
    ws.write("Tools/t.py", SCRIPT)
    document = ws.json(["run", "--mode", "review", "Tools/t.py"])
    execution = document["execution_id"]
    fact = {"name": "os-system", "line": 4, "text": 'harmless("true")'}
    assert document["decision"]["lint"] == [fact]
    sentence = 'lint, which informs and does not protect: line 4: os-system: harmless("true")'
    assert document["decision"]["reasons"][-1] == sentence
    assert sentence in ws.ok(["list", "--held"]).stdout.decode()
    diff = ws.ok(["diff", execution]).stdout.decode()
    assert diff.startswith(
        "lint of the script, which informs and does not protect:\n"
        '  line 4: os-system: harmless("true")\n')  # fmt: skip
    changes = ws.ok(["changes", execution]).stdout.decode()
    assert changes.endswith(
        "lint of the script, which informs and does not protect:\n"
        '  line 4: os-system: harmless("true")\n')  # fmt: skip
    assert ws.json(["show", execution])["decision"]["lint"] == [fact]
    assert ws.json(["changes", execution])["decision"]["lint"] == [fact]
    assert sentence in ws.ok(["policy", "test", execution]).stdout.decode()


def test_a_rule_may_look_at_lint(ws: Cli) -> None:
    ws.write("Tools/t.py", SCRIPT)
    assert decided(ws.json(["run", "Tools/t.py"])) == ("commit", "default-commit")
    configure(
        ws, '[[policy.rule]]\nname = "shell"\ndecide = "deny"\nwhen = { lint = "os-system" }\n'
        '[[policy.rule]]\nname = "rest"\ndecide = "commit"\n')  # fmt: skip
    answer = ws.run(["--json", "run", "Tools/t.py"])
    assert answer.exit == 126 and decided(json.loads(answer.stdout)) == ("deny", "shell")
    document = ws.json(["exec", *writing("Reports/b", "x")])
    assert decided(document) == ("commit", "rest")


@pytest.mark.parametrize(
    "script, facts",
    [
        ("import sys; sys.exit(3)", set()),
        ("exec(__import__('base64').b64decode('eA=='))", {"exec", "encoded-exec", "dynamic-import"}),
        ("import subprocess as s\ns.Popen('x', shell=True)", {"subprocess", "shell-true"}),
        ("#" + "x" * (1 << 20), {"not-parsed"}),
    ],
)  # fmt: skip
def test_lint_reads_a_script_and_does_not_run_it(
    shared: Cli, script: str, facts: set[str]
) -> None:  # fmt: skip
    """Each makes its change and leaves before what lint is to find."""
    first = "import os; open('/workspace/Reports/lint', 'a').write('x'); os._exit(0)\n"
    document = shared.json(["run", "--mode", "review", "-"], (first + script).encode())
    assert {fact["name"] for fact in document["decision"].get("lint", [])} == facts


def test_what_lint_needs_is_gone_afterwards(ws: Cli) -> None:
    ws.write("Tools/t.py", SCRIPT)
    document = ws.json(["run", "--mode", "review", "Tools/t.py"])
    assert document["decision"]["lint"]
    assert staged(ws) == [document["execution_id"]]
    assert not cgroups_named("lint.") and not list((ws.state / "scratch").iterdir())
    assert len(ws.json(["list"])["executions"]) == 1


# The policies of docs/policy.md


class Try(NamedTuple):
    """One run under an example policy, and what has to become of it."""

    what: str
    code: str
    outcome: str
    rule: str
    by: str = "reviewer"
    case: str = ""
    script: str = ""  # Run as this script; empty: by exec.


LAW_FIRM = [
    Try("notes", touch("projects/A/Notes/n.md"), "commit", "work-product", case="A"),
    Try("new evidence", touch("projects/A/Originals/new.pdf"), "commit", "work-product", case="A"),
    Try("changed evidence", touch("projects/A/Originals/1.pdf"), "deny", "evidence", case="A"),
    Try("deleted evidence", "import os; os.remove('/projects/A/Originals/1.pdf')", "deny",
        "evidence", case="A"),
    Try("its folder moved", "import os; os.rename('/projects/A/Originals', '/projects/A/Old')",
        "deny", "evidence", case="A"),
    Try("another case", touch("projects/B/x"), "deny", "other-case", case="A"),
    Try("a filing", touch("projects/A/Filings/motion.md"), "review", "court-filings", "admin", "A"),
    Try("settings", touch("projects/A/.envrc"), "review", "protected-path", case="A"),
    Try("without a case", touch("Reports/x"), "review", "no-match"),
]  # fmt: skip
DATA_TEAM = [
    Try("a result", touch("data/derived/t.csv", "Reports/t.md"), "commit", "results"),
    Try("raw data", touch("data/raw/t.csv"), "deny", "raw-data"),
    Try("raw data moved", "import os; os.rename('/workspace/data/raw', '/workspace/data/derived/r')",
        "deny", "raw-data"),
    Try("much deleted", "import os\nfor n in range(10): os.remove(f'/workspace/data/derived/{n}')",
        "review", "shrinks"),
    Try("large", "open('/workspace/data/derived/big', 'wb').write(bytes(21 << 20))", "review",
        "large", "admin"),
    Try("speaks to the network", "import socket\n" + touch("data/derived/t.csv"), "review",
        "speaks-to-the-network", script="Tools/net.py"),
    Try("a program", touch("data/derived/x") + "os.chmod('/workspace/data/derived/x', 0o755)",
        "review", "no-match"),
    Try("elsewhere", touch("src/x"), "review", "no-match"),
]  # fmt: skip
REPOSITORY_TRIES = [
    Try("documents", touch("docs/a.md", "README.md", "tests/test_a.py"), "commit",
        "documents-and-tests"),
    Try("a key", touch("docs/server.pem"), "deny", "keys"),
    Try("the environment", touch(".env"), "deny", "keys"),
    Try("the build", touch("Makefile"), "review", "build", "admin"),
    Try("the build below", touch("src/lib/CMakeLists.txt"), "review", "build", "admin"),
    Try("many deleted", "import os\nfor n in range(4): os.remove(f'/workspace/docs/{n}')", "review",
        "many"),
    Try("code", touch("src/main.c"), "review", "no-match"),
    Try("code by the formatter", touch("src/main.c"), "commit", "formatter",
        script="Tools/format.py"),
    Try("more by the formatter", touch("src/main.c", "x.c"), "review", "no-match",
        script="Tools/format.py"),
]  # fmt: skip
TRIES = {"law-firm": LAW_FIRM, "data-team": DATA_TEAM, "repository": REPOSITORY_TRIES}


def test_every_example_is_tried() -> None:
    assert set(EXAMPLES) == set(TRIES)


def fill(cli: Cli) -> None:
    for case in "AB":
        cli.write(f"projects/{case}/Originals/1.pdf", "evidence")
        for number in range(5):
            cli.write(f"projects/{case}/Notes/{number}.md")
    for number in range(20):
        cli.write(f"data/derived/{number}")
        cli.write(f"docs/{number}")
    cli.write("data/raw/t.csv", "1,2\n")
    cli.write("src/main.c", "int x;\n")


@pytest.mark.parametrize("name", sorted(TRIES))
def test_an_example_does_what_it_promises(ws: Cli, name: str) -> None:
    fill(ws)
    configure(ws, EXAMPLES[name])
    ws.ok(["policy", "check", ws.state / "bailiff.toml"])
    for tried in TRIES[name]:
        program = ["exec", *(["--case", tried.case] if tried.case else []), *python(tried.code)]
        if tried.script:
            ws.write(tried.script, tried.code)
            program = ["run", tried.script]
        document = ws.json(program)
        assert document["status"] == "succeeded", (tried.what, document)
        assert decided(document) == (tried.outcome, tried.rule), (tried.what, document["decision"])
        state = {"commit": "committed", "review": "held", "deny": "denied"}[tried.outcome]
        assert document["changes"]["state"] == state, tried.what
        if tried.outcome == "review":
            assert document["decision"]["by"] == tried.by, tried.what
        trial = ws.json(["policy", "test", document["execution_id"]])
        assert trial["now"] == document["decision"], (tried.what, "it is faithful")
