"""Nothing that attack_table.py says is tried is missing, and every attack has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attack_table import ATTACKS, EXCUSED, ROWS, TESTS
from probes import PROBES

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
GTEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)


def gtest_names() -> set[str]:
    return {".".join(found) for folder in ("src", "tests")
            for file in (REPOSITORY / folder).rglob("*.cc") for found in GTEST.findall(file.read_text())}  # fmt: skip


def own_tests() -> dict[str, str]:
    """The tests of this folder, by each id that their name begins with."""
    found = {}
    for file in HERE.glob("test_*.py"):
        for name, ids in re.findall(r"^def (test_((?:[abcd]\d\d_)+)\w+)", file.read_text(), re.MULTILINE):
            found |= {row.upper(): name for row in ids.strip("_").split("_")}
    return found


def attack_names() -> list[str]:
    return re.findall(r'^    \{"(\w+)",', (HERE / "attacks.h").read_text(), re.MULTILINE)


def test_the_rows_are_all_there() -> None:
    counts = {"A": 19, "B": 30, "C": 24, "D": 24}
    assert list(ROWS) == [f"{part}{n:02}" for part, count in counts.items() for n in range(1, count + 1)]


@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_tried_or_excused(row: str) -> None:
    tried = {probe.id for probe in PROBES} | own_tests().keys() | ATTACKS.keys() | TESTS.keys()
    assert (row in tried) != (row in EXCUSED), "exactly one of both"


def test_what_tries_is_known() -> None:
    mentioned = {probe.id for probe in PROBES} | own_tests().keys() | ATTACKS.keys() | TESTS.keys() | EXCUSED.keys()
    assert mentioned - ROWS.keys() == set()
    assert [row for row, reason in EXCUSED.items() if len(reason) < 20] == []


def test_no_probe_hides_another() -> None:
    assert len({(probe.id, probe.name) for probe in PROBES}) == len(PROBES)


def test_each_attack_of_the_table_has_one_row() -> None:
    named = [name for names in ATTACKS.values() for name in names.split()]
    assert sorted(named) == sorted(attack_names())
    assert len(named) == 60


def test_the_tests_that_are_named_exist() -> None:
    gtests, missing = gtest_names(), []
    for name in (name for names in TESTS.values() for name in names):
        path, _, function = name.partition("::")
        if not function:
            missing += [name] if name not in gtests else []
        elif not re.search(rf"^def {function}\(", (REPOSITORY / path).read_text(), re.MULTILINE):
            missing.append(name)
    assert missing == []
