"""The sessions that README.md and docs/server.md show, typed as they stand there.

What a guide shows of an answer has to come, in that order; "..." stands for anything, and ids, times,
digests and figures may be others. An id of the guide, whole or cut short, becomes the one that came.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from bailiff_cli import REPOSITORY, Bench, Cli, remove_tree
from e2e_tools import wait_until

FIRST_STEPS = ("README.md", ("Five minutes", "How a person decides", "Agents and reviewers over HTTP"))
OF_THE_SERVER = ("docs/server.md", ("An agent proposes, a reviewer approves",))
ID = re.compile(r"\b(?:exec|plan|roll|ws)_(?:[0-9a-f_]+|\.\.\.)")
DIGEST = re.compile(r"sha256:(?:[0-9a-f]+(?:\.\.\.)?)")
# What of a shown line may be otherwise: ids and digests, states of workspaces, times, figures.
FREE = re.compile(rf"{ID.pattern}|{DIGEST.pattern}|/var/lib/bailiff\S*|\b[0-9a-f]{{64}}\b|\.\.\.|\d(?:[\d.,:-]*\d)?")

DONE = "[the command has ended]"


class Step(NamedTuple):
    command: str
    shown: list[str]


def steps_of(guide: str, sections: tuple[str, ...]) -> list[Step]:
    """The commands behind "$ " in these sections, each with the lines that are shown below it."""
    text = (REPOSITORY / guide).read_text()
    parts = {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)}
    steps: list[Step] = []
    for section in sections:
        for block in re.findall(r"(?:^    .*\n)+", parts[section], flags=re.MULTILINE):
            lines = [line.removeprefix("    ") for line in block.splitlines()]
            if not lines[0].startswith("$ "):
                continue
            for line in lines:
                if line.startswith("$ "):
                    steps.append(Step(line[2:], []))
                elif steps[-1].command.endswith("\\"):
                    steps[-1] = Step(steps[-1].command + "\n" + line, [])
                else:
                    steps[-1].shown.append(line)
    return steps


def expected(line: str) -> re.Pattern[str]:
    """What fits a line of a guide."""
    pieces, at = [], 0
    for found in FREE.finditer(line):
        pieces.append(re.escape(line[at:found.start()]))
        pieces.append(r"(\S+)" if ID.fullmatch(found[0]) or DIGEST.fullmatch(found[0]) else
                      r".*" if found[0] == "..." else r"\S+")  # fmt: skip
        at = found.end()
    return re.compile("".join(pieces) + re.escape(line[at:]))


class Shell:
    """A shell that stays the same from command to command."""

    def __init__(self, cli: Cli, programs: Path) -> None:
        self.home = cli.home
        environment = cli.environment() | {"PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin",
                                           "BAILIFF_STATE": str(cli.state)}  # fmt: skip
        self.process = subprocess.Popen(
            ["/bin/bash", "-m"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.home, env=environment, text=True, start_new_session=True)  # fmt: skip
        self.ids: dict[str, str] = {}  # By that of the guide.
        self.last_id = self.last_digest = ""

    def type(self, command: str) -> str:
        """What the command prints; it has to succeed."""
        self.process.stdin.write(f'{command}\necho "{DONE} $?"\n')
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(DONE):
                assert line == f"{DONE} 0\n", (command, lines)
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell has ended: {command}: {lines}")

    def with_real_ids(self, command: str) -> str:
        def real(found: re.Match[str]) -> str:
            if found[0].endswith("..."):
                return self.last_id
            whole = [name for name in self.ids if name.startswith(found[0])]
            assert len(whole) == 1, f"{found[0]} was not shown before: {self.ids}"
            return self.ids[whole[0]]

        return DIGEST.sub(lambda _: self.last_digest, ID.sub(real, command))

    def learn(self, shown: str, came: str) -> None:
        """The ids that the guide has in this line, by those that came."""
        for name, real in zip(ID.findall(shown), ID.findall(came)):
            self.ids.setdefault(name, real)

    def step(self, step: Step) -> None:
        output = self.type(self.with_real_ids(step.command))
        shows, lines = step.shown, iter(re.sub(" +", " ", output).splitlines())
        if shows and shows[0].startswith("{"):  # Shown in a line or two, and answered in many.
            shows, lines = ["".join("".join(shows).split())], iter(["".join(output.split())])
        for shown in shows:
            if shown == "...":
                continue
            pattern = expected(re.sub(" +", " ", shown))
            for line in lines:
                if pattern.search(line):
                    self.learn(shown, line)
                    break
            else:
                raise AssertionError(f"{step.command}\nhas not shown\n{shown}\nbut\n{output}")
        if found := re.findall(r"\bexec_[0-9a-f_]+", output):
            self.last_id = found[0]
        if found := DIGEST.findall(output):
            self.last_digest = found[0]


@pytest.fixture
def shell(bench: Bench) -> Iterator[Shell]:
    cli = bench.cli("privileged")
    programs = cli.home / "bin"
    programs.mkdir()
    shutil.copy2(bench.binary, programs / "bailiff")
    made = Shell(cli, programs)
    yield made
    made.process.stdin.close()
    made.process.wait(timeout=60)
    made.process.stdout.close()
    remove_tree(cli.home)


@pytest.mark.parametrize(("guide", "sections"), [FIRST_STEPS, OF_THE_SERVER], ids=["README", "server"])
def test_a_guide_works_as_it_stands(shell: Shell, guide: str, sections: tuple[str, ...]) -> None:
    home = shell.home
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if guide != "README.md":
        shell.type(f"/usr/bin/python3 {REPOSITORY}/examples/make_workspace.py {home}/sample && "
                   f"bailiff init {home}/sample && cd {home}/sample")  # fmt: skip
    serves = False
    try:
        for command, shown in steps_of(guide, sections):
            command = command.replace("/tmp/sample", f"{home}/sample").replace(":8124", f":{port}")
            command = command.replace(" examples/", f" {REPOSITORY}/examples/")
            if command.startswith("export PATH="):
                continue  # The shell has it, of the binary that is tested.
            if command == "bailiff serve &":
                serves = True
                shell.type(f"bailiff serve --listen 127.0.0.1:{port} &")

                def answers() -> bool:
                    try:
                        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health").status == 200
                    except OSError:
                        return False

                wait_until(answers, "the server answers")
                continue
            shown = [line.replace("/tmp/sample", f"{home}/sample") for line in shown]
            shell.step(Step(command, shown))
        assert serves, "the guide starts no server"
    finally:
        if serves:
            shell.type(f"kill -{signal.SIGTERM.value} %1 && wait %1")
