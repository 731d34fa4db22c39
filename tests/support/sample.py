"""How much of a long suite runs: all of it under BAILIFF_TESTS_FULL, else a sample that
BAILIFF_TESTS_SEED chooses."""

from __future__ import annotations

import os

FULL = bool(os.environ.get("BAILIFF_TESTS_FULL"))
SEED = int(os.environ.get("BAILIFF_TESTS_SEED") or 1)


def of_the_e2e_suite(size: int) -> dict[str, str]:
    """The variables by which tests/e2e/conftest.py runs all of its tests, or `size` of them."""
    sampled = {} if FULL else {"BAILIFF_TESTS_SAMPLE": str(size)}
    return {"BAILIFF_TESTS_SEED": str(SEED), **sampled}
