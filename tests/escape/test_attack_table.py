"""Nothing that attack_table.py says is tried is missing, and every attack has its row."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
from attack_table import ATTACKS, EXCUSED, NO_CONTROL, ROWS, TESTS
from probes import PROBES

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
GTEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)


def gtest_names() -> set[str]:
    return {".".join(found) for folder in ("src", "tests")
            for file in (REPOSITORY / folder).rglob("*.cc") for found in GTEST.findall(file.read_text())}  # fmt: skip


CONTROL = re.compile(r"\b(run_outside|run_on_a_copy|run_bare|does_what_it_does_outside)\("
                     r"|\boutside = subprocess\.|\) as outside:")
LOOKS = re.compile(r"\bhost\.check\(|\bdoes_what_it_does_outside\(")


@functools.cache
def own_tests() -> dict[str, list[str]]:
    """The tests of this folder in full, by each id that their name begins with."""
    found: dict[str, list[str]] = {}
    for file in HERE.glob("test_*.py"):
        source = file.read_text()
        for node in ast.parse(source).body:
            name = re.match(r"test_((?:[abcd]\d\d_)+)", getattr(node, "name", ""))
            for row in name.group(1).upper().strip("_").split("_") if name else ():
                found.setdefault(row, []).append(ast.get_source_segment(source, node))
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


def test_each_row_is_shown_to_work_outside_or_says_why_not() -> None:
    shown = {probe.id for probe in PROBES} | ATTACKS.keys()
    shown |= {row for row, tests in own_tests().items() if any(map(CONTROL.search, tests))}
    lacking = ROWS.keys() - EXCUSED.keys() - shown
    assert sorted(lacking) == sorted(NO_CONTROL)
    assert [row for row, reason in NO_CONTROL.items() if len(reason) < 20] == []


def test_after_each_row_the_host_is_looked_at() -> None:
    """By a test of this folder: what is tried elsewhere only is not enough."""
    looked = {probe.id for probe in PROBES} | ATTACKS.keys() | own_tests().keys()
    assert sorted(ROWS.keys() - EXCUSED.keys() - looked) == []
    assert [test.split("(")[0] for tests in own_tests().values() for test in tests
            if not LOOKS.search(test)] == []  # fmt: skip


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
