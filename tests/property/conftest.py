"""How many programs the oracle tries, and which."""

from __future__ import annotations

import os
import time

import pytest
from sample import FULL, SEED

SEEDS, SEEDS_FULL = 300, 3000


def pytest_addoption(parser: pytest.Parser) -> None:
    seeds = os.environ.get("BAILIFF_ORACLE_SEEDS") or (SEEDS_FULL if FULL else SEEDS)
    seed = os.environ.get("BAILIFF_TESTS_SEED") or (time.time_ns() // 1000 if FULL else SEED)
    group = parser.getgroup("oracle")
    group.addoption("--seeds", type=int, default=int(seeds), help="programs per tier")
    group.addoption("--seed", type=int, default=int(seed), help="number of the first program")


def pytest_report_header(config: pytest.Config) -> str:
    first, count = config.getoption("--seed"), config.getoption("--seeds")
    return f"oracle: programs {first} to {first + count - 1} (--seed {first} --seeds {count})"
