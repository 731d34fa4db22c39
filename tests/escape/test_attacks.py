"""The attacks of attacks.h through the program itself: they fail, and leave nothing on the host.

That each works outside is shown by EscapeTest.WorksOutsideAndFailsInside, which runs the same table.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from bailiff_cli import Cli
from host import Host, run_inside

TABLE = (Path(__file__).resolve().parent / "attacks.h").read_text()
SETUID_OWNER = 7777
COUNT = 60


class Attack(NamedTuple):
    script: str
    inside: str


def attacks() -> dict[str, Attack]:
    """The rows of the table by name. Its strings are written as Python's are."""
    text = r'"(?:[^"\\\n]|\\.)*"'
    row = rf"^    \{{{text}, {text},\s+(?:{text}\s*)+,\s+{text},\s+{text}\}}"
    found = {}
    for match in re.finditer(row, TABLE, re.MULTILINE):
        name, _, script, _, inside = ast.literal_eval(f"({match.group().strip()[1:-1]})")
        found[name] = Attack(script, inside)
    return found


def test_inside_they_fail_and_leave_nothing(host: Host, ws: Cli) -> None:
    found = attacks()
    assert len(found) == COUNT
    ws.write("projects/A/f", "hello\n")
    program = ws.workspace / "setuid-id"
    shutil.copy("/usr/bin/id", program)
    os.chown(program, SETUID_OWNER, SETUID_OWNER)
    program.chmod(0o4755)
    values = host.values | {"WORKSPACE": "/workspace", "TARGET": 1}
    prologue = re.search(r'kPrologue = R"\((.*?)\)"', TABLE, re.DOTALL).group(1)
    scripts = {name: re.sub("@([A-Z]+)@", lambda name: str(values[name.group(1)]), prologue + attack.script)
               for name, attack in found.items()}  # fmt: skip
    execution, outcome = run_inside(ws, scripts, {})
    assert outcome == {name: attack.inside for name, attack in found.items()}
    host.check(ws, execution)
