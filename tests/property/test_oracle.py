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
    programs = [make_program(seed) for seed in seeds]
    redo = rng.random() < 0.25
    if redo:
        # Of a file with two names the one that is put aside changes with the one that is not. To
        # undo a rollback then ends with a conflict at times, and nothing is changed.
        programs = [
            program.without({i for i, op in enumerate(program.ops) if op[0] == "link"})
            for program in programs
        ]
    mode = "review" if rng.random() < 0.2 else "commit"
    return Trial(programs, mode, discard_first=rng.random() < 0.25, redo=redo)


def explain(bench: Bench, tier: str, seeds: list[int], text: str) -> str:
    """The one program of a trial that is at fault, made small, with the command that repeats it."""
    replay = (f"pytest tests/property/test_oracle.py -k 'programs and {tier}' "
              f"--seed {seeds[0]} --seeds {len(seeds)}")  # fmt: skip
    trial = make_trial(seeds)
    for program in trial.programs:
        alone = replace(trial, programs=[program])
        found = difference_of(bench, tier, alone)
        if found is None:
            continue

        def difference(smaller: Program, alone: Trial = alone) -> str:
            try:
                return difference_of(bench, tier, replace(alone, programs=[smaller])) or ""
            except AssertionError:
                return ""  # The base could not be made: too much was dropped.

        kind = found.split(":")[0]
        small = shrink(
            alone.programs[0], lambda p, d=difference, k=kind: d(p).startswith(k), SHRINK_SECONDS)
        found = difference(small) or found
        return "\n".join([
            f"program {program.seed} [{tier}], repeat with: {replay}",
            f"mode {alone.mode}, discard first {alone.discard_first}, redo {alone.redo}, in a "
            f"directory of {len('/'.join(small.dir))} bytes",
            "base:", *(f"  {json.dumps(op)}" for op in small.base),
            "operations:", *(f"  {i} {json.dumps(op)}" for i, op in enumerate(small.ops)), found,
        ])  # fmt: skip
    return f"programs {seeds[0]} to {seeds[-1]} [{tier}] fail only together: {replay}\n{text}"


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
