"""What the seccomp filter says to every system call, as a table that a change of the filter changes.

golden/*.txt hold one line per call. After a change of the filter that is meant:

    BAILIFF_TESTS_UPDATE=1 python3 -m pytest tests/escape/test_verdicts.py

writes them anew; the difference is part of the change.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from bailiff_cli import USER, Bench, Cli

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
NUMBERS = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
TABLES = {"syscall": "syscalls", "int80": "arguments", "x32": "arguments", "socket": "sockets",
          "socketpair": "sockets", "protocol": "sockets"}  # fmt: skip
NEWER = """cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat
removexattrat open_tree_attr file_getattr file_setattr listns""".split()  # From 451 on.


def names() -> dict[str, str]:
    """The calls by number: of the headers, and those that Debian's are too old for."""
    found = re.findall(r"#define __NR_(\w+) (\d+)", Path(NUMBERS).read_text())
    by_number = {number: name for name, number in found}
    return by_number | {str(number): name for number, name in enumerate(NEWER, 451)}


def build(folder: Path) -> Path:
    program = folder / "verdicts"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, HERE / "verdicts.c"],
                   check=True)
    return program


def parse(output: bytes) -> dict[str, str]:
    """The verdicts by what they are about, as in "syscall 0 read"."""
    calls, verdicts = names(), {}
    for line in output.decode().splitlines():
        table, rest = line.split(" ", 1)
        found = re.fullmatch(r"(.*?) ((?:allowed )?(?:E[A-Z0-9]+|done|ended)|allowed|killed)", rest)
        assert found, line
        name, verdict = found.groups()
        if table in ("syscall", "x32"):
            name = f"{name} {calls.get(name, '-')}"
        verdicts[f"{table} {name}"] = verdict
    return verdicts


def read_golden() -> dict[str, str]:
    verdicts = {}
    for file in sorted(GOLDEN.glob("*.txt")):
        for line in file.read_text().splitlines():
            name, verdict = line.split(": ")
            verdicts[name] = verdict
    return verdicts


def write_golden(verdicts: dict[str, str]) -> None:
    texts: dict[str, str] = {}
    for name, verdict in verdicts.items():
        file = TABLES.get(name.split()[0], "arguments")
        texts[file] = texts.get(file, "") + f"{name}: {verdict}\n"
    for file, text in texts.items():
        (GOLDEN / f"{file}.txt").write_text(text)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("verdicts"))


@pytest.fixture(scope="module")
def outside(program: Path, bench: Bench) -> dict[str, str]:
    """The same without a filter, as an ordinary user."""
    copy = bench.folder(os.geteuid()) / "verdicts"
    copy.write_bytes(program.read_bytes())
    copy.chmod(0o755)
    who = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run([copy], stdout=subprocess.PIPE, cwd="/", timeout=120, check=True, **who)
    return parse(done.stdout)


def test_nothing_is_refused_where_there_is_no_filter(outside: dict[str, str]) -> None:
    """Else a verdict inside would say nothing of the filter."""
    is_call = re.compile("syscall|ioctl|clone|unshare|setns|personality|mknod|prlimit")
    found = {name: verdict for name, verdict in outside.items() if is_call.match(name)}
    assert {name for name, verdict in found.items() if verdict not in ("allowed", "ENOSYS")} == set()
    lacking = {name for name, verdict in found.items() if verdict == "ENOSYS"}
    assert len(lacking) < 80, f"this kernel lacks a suspicious number of calls: {sorted(lacking)}"


def test_every_call_has_the_verdict_of_the_table(
    ws: Cli, program: Path, outside: dict[str, str]
) -> None:
    ws.write("verdicts", program.read_bytes(), 0o755)
    answer = ws.run(["-q", "exec", "--mode", "discard", "--", "/workspace/verdicts"])
    assert answer.exit == 0, answer
    golden, found = read_golden(), parse(answer.stdout)
    # The kernel's own ENOSYS says nothing of the filter: such a line stays what it was.
    lacking = {name for name, verdict in found.items() if verdict == outside[name] == "ENOSYS"}
    print(f"{len(lacking)} calls that this kernel does not have: {sorted(lacking)}")
    for name in lacking & golden.keys():
        assert golden[name] in ("allowed", "ENOSYS"), f"{name}: {golden[name]} expected"
        found[name] = golden[name]
    if os.environ.get("BAILIFF_TESTS_UPDATE"):
        write_golden(found)
        golden = read_golden()
    assert found.keys() == golden.keys()
    changed = [f"{name}: {golden[name]} in the table, {verdict} here"
               for name, verdict in found.items() if verdict != golden[name]]  # fmt: skip
    assert changed == [], "\n".join(changed)
