"""Change sets of 100,000 files: Bailiff's own memory is bounded, and its work grows with their number.

Time is not looked at, but processor time against that for fewer files, in the same run. The sample of
`make test` has fewer files, and each operation in the tier that the seed chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from bailiff_cli import TIERS, Bench, Cli, remove_tree
from e2e_tools import python
from hostile_tools import Usage, measure
from sample import FULL, SEED

FEW, MANY = (10_000, 100_000) if FULL else (1_000, 5_000)
MEMORY_MAX = 512 << 20
GROWTH = MANY / FEW
# What grows with the square would need GROWTH times as much again; half of that is for noise.
FACTOR_MAX = GROWTH * 2.5
CPU_SECONDS_MIN = 0.05  # Less is noise.
OPTIONS = ["--files", "300000", "--mode", "review", "--timeout", "20m", "--scratch", "1g"]

MAKE = """
import os, sys
top = '/workspace/many'
os.mkdir(top)
for n in range(int(sys.argv[1])):
    folder = f'{top}/{n // 1000:03}'
    if n % 1000 == 0:
        os.mkdir(folder)
    file = os.open(f'{folder}/file {n:06}', os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(file, CONTENT)
    os.close(file)
"""
CREATE = MAKE.replace("CONTENT", "b'%d\\n' % n")
CREATE_EQUAL = MAKE.replace("CONTENT", "b'the same in all\\n'")
WALK = """
import os, shutil
os.chdir('/workspace/many')
for folder in sorted(os.listdir('.')):
    for name in sorted(os.listdir(folder)):
        path = folder + '/' + name
"""
# By operation: what is there before, and what the script does.
OPERATIONS = {
    "create": (None, CREATE),
    "delete": (CREATE, "import shutil; shutil.rmtree('/workspace/many')"),
    "modify": (CREATE, WALK + "        open(path, 'a').write('more')"),
    "metadata": (CREATE, WALK + "        os.chmod(path, 0o600)"),
    "move": (CREATE, "import shutil; shutil.move('/workspace/many', '/workspace/moved')"),
    "scatter": (CREATE_EQUAL, """
import os
os.chdir('/workspace')
os.mkdir('other')
for folder in sorted(os.listdir('many')):
    for name in sorted(os.listdir('many/' + folder), reverse=True):
        old = 'many/' + folder + '/' + name
        open('other/' + name[::-1], 'wb').write(open(old, 'rb').read())
        os.remove(old)
"""),
}  # fmt: skip


def run_all(cli: Cli, operation: str, count: int) -> dict[str, Usage]:
    """Takes one change set through everything that can be done with one."""
    prepare, code = OPERATIONS[operation]
    if prepare is not None:
        done = measure(cli, ["--json", "exec", *OPTIONS[:2], "--timeout", "20m",
                             *python(prepare, str(count))])  # fmt: skip
        document = json.loads(done.answer.stdout)
        if document["changes"]["state"] == "held":
            assert measure(cli, ["approve", document["execution_id"]]).answer.exit == 0
    used: dict[str, Usage] = {}

    def step(name: str, args: Sequence[str]) -> dict:
        used[name] = measure(cli, args)
        answer = used[name].answer
        assert answer.exit == 0, (name, answer.exit, answer.stderr[-2000:], answer.stdout[:2000])
        return json.loads(answer.stdout) if "--json" in args else {}

    document = step("run", ["--json", "exec", *OPTIONS, *python(code, str(count))])
    assert document["changes"]["state"] == "held", document["error"]
    execution = document["execution_id"]
    listed = step("changes --json", ["--json", "changes", execution])["changes"]
    assert len(listed) >= (1 if operation == "move" else count)
    step("changes", ["changes", execution])
    step("diff", ["diff", execution])
    step("show", ["show", execution])
    assert step("approve", ["--json", "approve", execution])["state"] == "committed"
    step("diff of a commit", ["diff", execution])
    step("history", ["--json", "history", "many"])
    rolled = step("rollback", ["--json", "rollback", execution])
    if rolled["state"] == "held":
        step("approve rollback", ["approve", rolled["id"]])
    step("verify", ["audit", "verify"])
    step("gc", ["gc", "--older-than", "1ms"])
    return used


CASES = [(tier, operation) for number, operation in enumerate(OPERATIONS)
         for place, tier in enumerate(TIERS) if FULL or (number + SEED) % len(TIERS) == place]  # fmt: skip


@pytest.mark.parametrize(("tier", "operation"), CASES)
def test_work_and_memory_grow_with_the_number_of_files(
    bench: Bench, tier: str, operation: str
) -> None:
    used: dict[int, dict[str, Usage]] = {}
    for count in (FEW, MANY):
        cli = bench.workspace(tier)
        used[count] = run_all(cli, operation, count)
        remove_tree(cli.home)
    problems = []
    for name, many in used[MANY].items():
        few = used[FEW].get(name)
        factor = many.cpu_seconds / max(few.cpu_seconds, CPU_SECONDS_MIN) if few else 0
        print(f"{operation:9} {name:18} {many.memory_bytes >> 20:5} MiB  {many.cpu_seconds:7.2f} s"
              f"  {factor:5.1f} times that of {FEW:,}")  # fmt: skip
        if many.memory_bytes > MEMORY_MAX:
            problems.append(f"{name}: {many.memory_bytes >> 20} MiB of memory")
        if factor > FACTOR_MAX:
            problems.append(f"{name}: {factor:.1f} times the work for {GROWTH:.0f} times the files")
    assert not problems, problems
