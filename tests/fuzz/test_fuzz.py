"""Builds every fuzz target with clang and lets it search for some seconds, from the kept corpus on.

What a target finds is a failure; its input is printed, and belongs into corpus/<target> with the
repair. BAILIFF_FUZZ_SECONDS sets the seconds for each target, BAILIFF_FUZZ_BUILD where they are built.
"""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sample import FULL, SEED

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TARGETS = sorted(path.name.removesuffix("_fuzzer.cc") for path in HERE.glob("*_fuzzer.cc"))
SEARCH_SECONDS = int(os.environ.get("BAILIFF_FUZZ_SECONDS") or (60 if FULL else 5))
BUILD_SECONDS_MAX = 1200
AT_ONCE = 2
# Bounds of one input: everything that is parsed takes memory in proportion to its bytes.
BOUNDS = ["-max_len=65536", "-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256"]


@pytest.fixture(scope="session")
def fuzzers() -> Path:
    """The folder with the built targets."""
    build = Path(os.environ.get("BAILIFF_FUZZ_BUILD") or REPOSITORY / "build-fuzz")
    for command in (
        ["cmake", "-S", REPOSITORY, "-B", build, "-G", "Ninja", "-DCMAKE_CXX_COMPILER=clang++",
         "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBAILIFF_FUZZ=ON"],
        ["cmake", "--build", build, "--target", "fuzzers", "-j", str(AT_ONCE)],
    ):  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=BUILD_SECONDS_MAX, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-8000:]
    return build / "tests" / "fuzz"


def run(fuzzer: Path, folder: Path, *args: str | Path) -> tuple[int, str]:
    done = subprocess.run([fuzzer, *BOUNDS, f"-artifact_prefix={folder}/", *args], cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=SEARCH_SECONDS + 120, check=False)  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace")


def found_in(folder: Path) -> str:
    """The inputs that failed, in a form that can be copied."""
    inputs = [path for path in folder.iterdir() if path.is_file()]
    return "\n".join(f"{path.name}: base64 {base64.b64encode(path.read_bytes()).decode()}" for path in inputs)


def search(fuzzer: Path, corpus: Path) -> str:
    """What a search of SEARCH_SECONDS finds, in words; nothing when it finds nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        new = folder / "new"
        new.mkdir()
        status, output = run(fuzzer, folder, f"-max_total_time={SEARCH_SECONDS}", f"-seed={SEED}",
                             "-print_final_stats=1", new, corpus)  # fmt: skip
        if status == 0 and "stat::number_of_executed_units" in output:
            return ""
        return f"{output[-6000:]}\n{found_in(folder)}"


@pytest.fixture(scope="session")
def searches(fuzzers: Path) -> Iterator[dict[str, Future[str]]]:
    """All searches, AT_ONCE at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {target: pool.submit(search, fuzzers / f"{target}_fuzzer", HERE / "corpus" / target)
               for target in TARGETS}  # fmt: skip


def test_every_target_has_a_corpus() -> None:
    assert TARGETS
    assert sorted(path.name for path in (HERE / "corpus").iterdir()) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_the_kept_corpus_passes(fuzzers: Path, target: str, tmp_path: Path) -> None:
    files = sorted((HERE / "corpus" / target).iterdir())
    assert files
    status, output = run(fuzzers / f"{target}_fuzzer", tmp_path, "-runs=0", *files)
    assert status == 0, output[-6000:]


@pytest.mark.parametrize("target", TARGETS)
def test_a_search_finds_nothing(searches: dict[str, Future[str]], target: str) -> None:
    found = searches[target].result()
    assert not found, found
