"""The end-to-end tests, with their workspaces on FUSE: a sample, or with BAILIFF_TESTS_FULL all."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bailiff_cli import REPOSITORY
from fuse_mounts import DIFFERENT
from sample import FULL, of_the_e2e_suite

SAMPLE = 60
# Goes through the calls of a launch, which are the same elsewhere.
OF_THE_LAUNCH = "tests/e2e/test_lost_layers.py"
SECONDS_MAX = 4 * 3600 if FULL else 1400


def test_the_end_to_end_tests_pass_on_fuse(tmp_path: Path) -> None:
    sampling = of_the_e2e_suite(SAMPLE)
    environment = {**os.environ, "BAILIFF_TESTS_WORKSPACES": "fuse", **sampling}
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider",
         f"--junitxml={report}", f"--ignore={OF_THE_LAUNCH}", "tests/e2e"],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX)  # fmt: skip
    print(sampling, done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout[-6000:]
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert int(suite.get("tests")) >= SAMPLE
    skipped = [case.get("name") for case in suite.iter("testcase") if case.find("skipped") is not None]
    different = {name.partition("::")[2] for name in DIFFERENT}
    assert {name.partition("[")[0] for name in skipped} <= different, skipped
    if FULL:
        assert {name.partition("[")[0] for name in skipped} == different, "the list is out of date"
