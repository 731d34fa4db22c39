"""Each attack of probes.py: that it works outside, fails inside, and leaves nothing on the host."""

from __future__ import annotations

import pytest
from bailiff_cli import USER, Bench, Cli, cannot_run
from host import Host, run_inside, run_outside
from probes import ANY, PROBES, PROLOGUE, Probe


def name_of(probe: Probe) -> str:
    return f"{probe.id} {probe.name}"


SCRIPTS = {name_of(probe): PROLOGUE + probe.script for probe in PROBES}
LACKING = ("ENOSYS", "ENODEV", "ENOENT")


@pytest.mark.parametrize("who", ["root", "user"])
def test_they_work_outside(host: Host, bench: Bench, who: str) -> None:
    uid = 0 if who == "root" else USER
    workplace = bench.folder(uid)
    (workplace / "readonly").write_text("untouched")
    values = {"WORKSPACE": str(workplace), "BINARY": str(bench.binary), "OUTSIDE": True,
              "TARGET": host.process.pid}  # fmt: skip
    found = run_outside(SCRIPTS, host.values | values, workplace, uid, CANARY=host.token)
    expected = {name_of(probe): probe.root if who == "root" else probe.user for probe in PROBES}
    wrong = {name: f"{found[name]}, not {outcome}" for name, outcome in expected.items()
             if outcome not in (ANY, found[name])}  # fmt: skip
    if wrong and all(found[name] in LACKING for name in wrong):
        cannot_run(f"this kernel or host has nothing to attack here: {wrong}")
    assert wrong == {}, "they prove nothing"


def test_they_fail_inside(host: Host, bench: Bench, ws: Cli) -> None:
    ws.write("readonly", "untouched", 0o444)
    program = bench.binary.read_bytes()
    values = {"WORKSPACE": "/workspace", "BINARY": str(bench.binary), "OUTSIDE": False, "TARGET": 1}
    execution, found = run_inside(ws, SCRIPTS, host.values | values)
    wrong = {name_of(probe): f"{found[name_of(probe)]}, not {probe.inside}" for probe in PROBES
             if found[name_of(probe)] not in probe.inside.split("|")}  # fmt: skip
    assert wrong == {}
    host.check(ws, execution)
    assert bench.binary.read_bytes() == program
    assert (ws.workspace / "readonly").read_text() == "untouched"
