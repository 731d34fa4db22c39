"""Random programs do through Bailiff exactly what they do natively, and a rollback undoes it."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from bailiff_cli import Bench, require_root
from oracle import Trial, difference_of, shrink
from programs import Program, make_program

TOGETHER = 6  # Programs of one trial.
WORKERS = 3
SHRINK_SECONDS = 25
SHOWN_MAX = 3  # Failures that are looked into.


def make_trial(seeds: list[int]) -> Trial:
    rng = random.Random(seeds[0])
    return Trial(
        [make_program(seed) for seed in seeds],
        mode="review" if rng.random() < 0.2 else "commit",
        discard_first=rng.random() < 0.25,
        redo=rng.random() < 0.3,
    )


def explain(bench: Bench, tier: str, seeds: list[int], text: str) -> str:
    """The one program of a trial that is at fault, made small, with the command that repeats it."""
    replay = "pytest tests/property/test_oracle.py -k 'programs and {}' --seed {} --seeds {}"
    for seed in seeds:
        alone = make_trial([seed])
        found = difference_of(bench, tier, alone)
        if found is None:
            continue

        def difference(program: Program, alone: Trial = alone) -> str:
            try:
                trial = replace(alone, programs=[program])
                return difference_of(bench, tier, trial) or ""
            except AssertionError:
                return ""  # The base could not be made: too much was dropped.

        kind = found.split("\n")[0]
        small = shrink(
            alone.programs[0], lambda p, d=difference, k=kind: d(p).startswith(k), SHRINK_SECONDS)
        found = difference(small) or found
        return "\n".join([
            f"program {seed} [{tier}], repeat with: {replay.format(tier, seed, 1)}",
            f"mode {alone.mode}, in a directory of {len('/'.join(small.dir))} bytes",
            "base:", *(f"  {json.dumps(op)}" for op in small.base),
            "operations:", *(f"  {i} {json.dumps(op)}" for i, op in enumerate(small.ops)), found,
        ])  # fmt: skip
    alone = replay.format(tier, seeds[0], len(seeds))
    return f"programs {seeds[0]} to {seeds[-1]} [{tier}] fail only together: {alone}\n{text}"


def test_programs_do_in_bailiff_what_they_do_natively(
    bench: Bench, tier: str, pytestconfig: pytest.Config
) -> None:
    require_root()  # The native side runs as another user.
    first, count = pytestconfig.getoption("--seed"), pytestconfig.getoption("--seeds")
    numbers = list(range(first, first + count))
    groups = [numbers[i : i + TOGETHER] for i in range(0, count, TOGETHER)]
    with ThreadPoolExecutor(WORKERS) as workers:
        results = workers.map(lambda seeds: difference_of(bench, tier, make_trial(seeds)), groups)
        failed = [(seeds, text) for seeds, text in zip(groups, results) if text is not None]
    if failed:
        explained = [explain(bench, tier, seeds, text) for seeds, text in failed[:SHOWN_MAX]]
        pytest.fail("\n\n".join([f"{len(failed)} of {len(groups)} trials fail", *explained]),
                    pytrace=False)
