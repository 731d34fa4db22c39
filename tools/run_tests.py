#!/usr/bin/env python3
"""Runs ctest and the pytest suites and ends with one line that sums them all.

usage: run_tests.py --build-dir DIR [--alone PYTEST_FOLDER]... [PYTEST_FOLDER...]
A folder that does not exist is left out. The tests of a folder run side by side, since most of them
wait for the kernel or the disk; those of --alone, which look at the whole machine, one by one. The
exit status is 0 when something ran and all of it passed. Long suites run a sample that the number
BAILIFF_TESTS_SEED chooses; unset, it is taken from the commit, so that each commit tries others and a
failure can be tried again. BAILIFF_TESTS_FULL=1 runs them whole, with other limits of time.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

GTEST_COUNT = {
    "passed": re.compile(r"^\[  PASSED  \] (\d+) tests?\.", re.MULTILINE),
    "failed": re.compile(r"^ ?(\d+) FAILED TESTS?", re.MULTILINE),
    "skipped": re.compile(r"^\[  SKIPPED \] (\d+) tests?, listed below", re.MULTILINE),
}
OUTPUT_BYTES_MAX = 16 << 20


def counts_of_gtest(output):
    """The counts that a GoogleTest binary printed, or None where it did not get that far."""
    if not GTEST_COUNT["passed"].search(output):
        return None
    found = {name: pattern.search(output) for name, pattern in GTEST_COUNT.items()}
    return {name: int(match.group(1)) if match else 0 for name, match in found.items()}


def verdict_of_case(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.get("status") in {"fail", "disabled"}:
        return "failed"
    if case.find("skipped") is not None or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def counts_of_junit(path):
    """Sums a JUnit file. A ctest case that is a GoogleTest binary counts as its own tests."""
    total = {"passed": 0, "failed": 0, "skipped": 0}
    if not path.exists():
        return total
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        verdict = verdict_of_case(case)
        inner = counts_of_gtest(case.findtext("system-out") or "")
        if inner is None:
            total[verdict] += 1
            continue
        for name, number in inner.items():
            total[name] += number
        if verdict == "failed" and inner["failed"] == 0:
            total["failed"] += 1  # All tests passed and the program still failed: a leak, a crash.
    return total


def run(command, seconds_max):
    """Runs a command in its own process group; returns its status, 124 when it took too long."""
    print("+ " + " ".join(command), flush=True)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return process.wait(timeout=seconds_max)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                print(f"error: not done after {seconds_max} s: {' '.join(command)}", flush=True)
                return 124
            raise


def run_suite(command, junit, args, empty_status=0):
    """Runs one suite; a bad exit status that its report does not explain is one failure."""
    junit.unlink(missing_ok=True)
    status = run(command, args.suite_seconds)
    counts = counts_of_junit(junit)
    if status not in {0, empty_status} and counts["failed"] == 0:
        counts["failed"] = 1
    return counts


def ctest(args):
    junit = args.build_dir.resolve() / "ctest.xml"
    return run_suite(
        ["ctest", "--test-dir", str(args.build_dir), "--output-on-failure", f"-j{args.jobs}",
         "--timeout", str(args.test_seconds), "--output-junit", str(junit),
         "--test-output-size-passed", str(OUTPUT_BYTES_MAX),
         "--test-output-size-failed", str(OUTPUT_BYTES_MAX), *args.ctest_arg], junit, args)


def pytest(folder, args):
    junit = args.build_dir.resolve() / f"pytest-{str(folder).replace('/', '-')}.xml"
    no_tests_collected = 5
    workers = 0 if folder in args.alone else args.jobs + 1
    # A program under strace cannot be searched for leaks; those of ctest are.
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")
    return run_suite(
        [sys.executable, "-m", "pytest", "-q", "-ra", "--color=no", "-p", "no:cacheprovider",
         "-n", str(workers), "-o", "python_files=test_*.py *_test.py", f"--junitxml={junit}", str(folder)],
        junit, args, no_tests_collected)


def seed_of_commit():
    done = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True,
                          check=False)
    return int(done.stdout[:7], 16) if done.returncode == 0 else 1


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    hours = 4 * 3600 if os.environ.get("BAILIFF_TESTS_FULL") else 0
    parser.add_argument("--test-seconds", type=int, default=hours or 300, help="limit of one ctest test")
    parser.add_argument("--suite-seconds", type=int, default=hours or 1500, help="limit of one suite")
    parser.add_argument("--ctest-arg", action="append", default=[])
    parser.add_argument("--alone", type=pathlib.Path, action="append", default=[])
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    args = parser.parse_args(argv)

    seed = os.environ.setdefault("BAILIFF_TESTS_SEED", str(seed_of_commit()))
    print(f"== BAILIFF_TESTS_SEED={seed} chooses the samples of long suites", flush=True)
    results = []
    for name, suite in [("ctest", lambda: ctest(args))] + [
            (str(folder), lambda folder=folder: pytest(folder, args))
            for folder in [*args.folders, *args.alone] if folder.is_dir()]:
        start = time.monotonic()
        results.append((name, suite(), time.monotonic() - start))

    print()
    for name, counts, seconds in results:
        print(f"{name:20} {counts['passed']:5} passed {counts['failed']:4} failed "
              f"{counts['skipped']:4} skipped {seconds:7.1f} s")
    total = {key: sum(counts[key] for _, counts, _ in results)
             for key in ("passed", "failed", "skipped")}
    closing = f"{total['passed']} passed, {total['failed']} failed"
    if total["skipped"]:
        closing += f", {total['skipped']} skipped"
    print(closing, flush=True)
    return 0 if total["failed"] == 0 and total["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
