"""Ways out of a confined Python, whose only expectation is that they reach nothing.

Bailiff does not confine Python: it lets a script do in the interpreter what it wants. So each of
these does what its class does to break out of a restricted one, and then tries to write a file of the
host or to send its name to a socket of the host. Outside, as an ordinary user, it must succeed, but
for those that are marked "(refused)", which the kernel refuses such a user too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bailiff_cli import USER, Cli
from host import Host, run_inside, run_outside

SNIPPETS = Path(__file__).resolve().parent / "jail"
COUNT_MIN = 100


def snippets() -> dict[str, str]:
    """The source of each by its name, which is made of the comment above it."""
    found: dict[str, str] = {}
    for file in sorted(SNIPPETS.glob("*.py")):
        for part in re.split(r"^#: ", file.read_text(), flags=re.MULTILINE)[1:]:
            title, source = part.split("\n", 1)
            name = re.sub("[^a-z0-9]+", "-", f"{file.stem} {title}".lower()).strip("-")
            assert name not in found, name
            found[name] = source
    return found


def place(host: Host, names: list[str]) -> dict[str, str]:
    """A file of the host for each; returns what a snippet knows of the host."""
    for name in names:
        file = host.tree / name
        file.write_text(host.token)
        os.chown(file, USER, USER)
    host.remember()
    return host.values | {"FILE": f"{host.tree}/{{name}}"}


def touched(host: Host) -> set[str]:
    """The names of those that have reached a file or a socket of the host."""
    names = {message.split(": ", 1)[1] for message in host.received()}
    for path, entry in host.before.items():
        file = host.tree / path.decode()
        if not file.exists() or file.read_text(errors="replace") != host.token:
            names.add(path.decode())
        assert entry.kind == "file"
    return names


def test_outside_they_reach_the_host(host: Host) -> None:
    scripts = snippets()
    assert len(scripts) >= COUNT_MIN
    values = place(host, list(scripts))
    workplace = host.folder / "workplace"
    workplace.mkdir()
    workplace.chmod(0o777)
    outcome = run_outside(scripts, values, workplace, USER)
    reached = touched(host)
    expected = {name for name in scripts if not name.endswith("-refused")}
    missing = {name: outcome[name] for name in sorted(expected - reached)}
    assert missing == {}, "these prove nothing, as they fail without a sandbox too"
    assert reached - expected == set(), "these are not refused: their mark is wrong"


def test_inside_they_reach_nothing(host: Host, ws: Cli) -> None:
    scripts = snippets()
    values = place(host, list(scripts))
    execution, outcome = run_inside(ws, scripts, values)
    assert outcome.keys() == scripts.keys(), "an attack has ended the one that tries them"
    assert touched(host) == set()
    host.check(ws, execution)
