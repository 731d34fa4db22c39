"""CPython's own tests of files fail nowhere in a sandbox where they do not fail outside of it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from bailiff_cli import USER, Bench, cannot_run, remove_tree, require_root

MODULES = ("test_os", "test_shutil", "test_pathlib", "test_tempfile")
COMMAND = ("/usr/bin/python3", "-E", "-s", "-m", "test", "-v", *MODULES)
SECONDS_MAX = 600
PASSED_MIN = 800  # Of about 1,000; the others are for other systems or for root.
LISTED = Path(__file__).with_name("python_differences.txt")
VERDICT = re.compile(r"^\w+ \((?P<name>test\.[\w.]+)\)(?:\n.*)? \.\.\. (?P<verdict>ok|skipped|FAIL|ERROR)",
                     re.MULTILINE)  # fmt: skip

Verdicts = dict[str, str]


def verdicts_of(output: str) -> Verdicts:
    found = {match["name"]: match["verdict"] for match in VERDICT.finditer(output)}
    # A test of several parts has its failures below.
    for word, name in re.findall(r"^(FAIL|ERROR): \w+ \((test\.[\w.]+)\)", output, re.MULTILINE):
        found[name] = word
    for module in MODULES:
        assert any(name.startswith(f"test.{module}.") for name in found), (module, output[-2000:])
    passed = sum(verdict == "ok" for verdict in found.values())
    assert passed >= PASSED_MIN, f"{passed} tests passed\n{output[-2000:]}"
    return found


def listed(landlock: int) -> dict[str, str]:
    """The reasons by test, of those that this kernel gives."""
    lines = [line for line in LISTED.read_text().splitlines() if line and not line.startswith("#")]
    rows = [[part.strip() for part in line.split("|")] for line in lines]
    return {name: reason for name, since, reason in rows if landlock >= int(since)}


@pytest.fixture(scope="session")
def outside(bench: Bench) -> Verdicts:
    """What the same user gets without a sandbox."""
    require_root()  # To be that user.
    if subprocess.run([COMMAND[0], "-c", "import test.test_os"], capture_output=True).returncode:
        cannot_run("needs libpython3.11-testsuite")
    home = bench.folder(USER)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        COMMAND, cwd=home, env=environment, user=USER, group=USER, extra_groups=[], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=SECONDS_MAX, errors="replace", check=False)  # fmt: skip
    remove_tree(home)
    return verdicts_of(done.stdout)


def test_python_finds_no_difference_but_the_listed_ones(
    bench: Bench, tier: str, outside: Verdicts
) -> None:
    cli = bench.cli(tier)
    cli.workspace.mkdir(mode=0o755)
    os.chown(cli.workspace, USER, USER)
    cli.ok(["init", cli.workspace])
    answer = cli.run(["exec", "--mode", "discard", "--timeout", "10m",
                      "--env", "TMPDIR=/workspace/Reports", "--", *COMMAND], seconds=SECONDS_MAX)  # fmt: skip
    inside = verdicts_of((answer.stdout + answer.stderr).decode(errors="replace"))
    landlock = cli.json(["exec", "--", "/bin/true"])["guarantees"]["landlock"]
    passed = {name for name, verdict in outside.items() if verdict == "ok"}
    differing = {name for name in passed if inside.get(name, "missing") != "ok"}
    reasons = listed(landlock)
    unlisted = {name: inside.get(name, "missing") for name in sorted(differing - reasons.keys())}
    assert not unlisted, f"do not pass in a sandbox: {unlisted}"
    over = sorted(reasons.keys() - differing)
    assert not over, f"are listed in {LISTED.name} and pass in a sandbox: {over}"
