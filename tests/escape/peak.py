"""How much memory a command needed, whatever the process that runs the tests holds or has started."""

from __future__ import annotations

import json
from typing import Any

from bailiff_cli import Cli
from e2e_tools import PYTHON

RSS_BYTES_MAX = 256 << 20

# A child counts as its own what its parent held when it began, so a small parent starts the command.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss << 10, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def json_and_peak(cli: Cli, args: list[str]) -> tuple[Any, int]:
    """The document that the command prints, and the most memory in bytes that one process of
    Bailiff's had meanwhile."""
    answer = cli.run(["--json", *args], under=[PYTHON, "-c", MEASURE])
    assert answer.stdout, answer
    return json.loads(answer.stdout), int(answer.stderr.split()[-1])
