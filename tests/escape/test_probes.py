"""Each attack of probes.py: that it works outside, fails inside, and leaves nothing on the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bailiff_cli import TIERS, USER, Bench, cannot_run, remove_tree, require_root
from host import Host, run_inside, run_outside
from probes import ANY, PROBES, PROLOGUE, Probe

SCRIPTS = {f"{probe.id} {probe.name}": PROLOGUE + probe.script for probe in PROBES}
LACKING = ("ENOSYS", "ENODEV", "ENOENT")
each_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: f"{probe.id}-{probe.name}")


@pytest.fixture(scope="module")
def host(bench: Bench) -> Iterator[Host]:
    require_root()
    with Host(bench.folder(0)) as made:
        yield made


@pytest.fixture(scope="module", params=["root", "user"])
def outside(host: Host, bench: Bench, request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """What each came to without a sandbox, as root and as an ordinary user."""
    uid = 0 if request.param == "root" else USER
    workplace = bench.folder(uid)
    (workplace / "readonly").write_text("untouched")
    values = {"WORKSPACE": str(workplace), "BINARY": str(bench.binary), "OUTSIDE": True,
              "TARGET": host.process.pid}  # fmt: skip
    outcome = run_outside(SCRIPTS, host.values | values, workplace, uid, CANARY=host.token)
    return request.param, outcome


@pytest.fixture(scope="module", params=TIERS)
def inside(host: Host, bench: Bench, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What each came to in one sandbox; and what the host shows afterwards."""
    host.remember()
    cli = bench.workspace(request.param)
    cli.write("readonly", "untouched", 0o444)
    program = bench.binary.read_bytes()
    values = {"WORKSPACE": "/workspace", "BINARY": str(bench.binary), "OUTSIDE": False, "TARGET": 1}
    execution, outcome = run_inside(cli, SCRIPTS, host.values | values)
    host.check(cli, execution)
    assert bench.binary.read_bytes() == program
    assert (cli.workspace / "readonly").read_text() == "untouched"
    yield outcome
    remove_tree(cli.home)


@each_probe
def test_it_works_outside(outside: tuple[str, dict[str, str]], probe: Probe) -> None:
    who, outcome = outside
    expected = probe.root if who == "root" else probe.user
    found = outcome[f"{probe.id} {probe.name}"]
    if found != expected and found in LACKING:
        cannot_run(f"this kernel or host has nothing to attack here ({found})")
    assert expected in (ANY, found)


@each_probe
def test_it_fails_inside(inside: dict[str, str], probe: Probe) -> None:
    assert inside[f"{probe.id} {probe.name}"] in probe.inside.split("|")
