"""Workspaces on FUSE for the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from bailiff_cli import USER, Bench, Cli, cannot_run  # noqa: E402
from fuse_mounts import OWNER, FuseMount, let_users_mount  # noqa: E402


@pytest.fixture(scope="session")
def mounting(bench: Bench) -> Bench:
    """A bench in whose process an ordinary user may mount."""
    if not Path("/dev/fuse").exists():
        cannot_run("needs FUSE")
    let_users_mount(bench.root, USER)
    return bench


@pytest.fixture
def fuse_ws(mounting: Bench, tier: str) -> Iterator[Cli]:
    """A fresh workspace on a mount of its own, once in each tier."""
    cli = mounting.cli(tier)
    owner = OWNER if cli.is_privileged else None
    mount = FuseMount(cli.home / "fuse", cli.uid, owner=owner)
    cli.workspace = mount.point / "workspace"
    cli.ok(["init", cli.workspace])
    yield cli
    mount.close()


@pytest.fixture
def own_mount(mounting: Bench) -> Iterator[tuple[Cli, FuseMount]]:
    """An ordinary user's workspace on a mount that nobody else may use, root included."""
    cli = mounting.cli("rootless")
    mount = FuseMount(cli.home / "fuse", cli.uid, others=False)
    cli.workspace = mount.point / "workspace"
    cli.ok(["init", cli.workspace])
    yield cli, mount
    mount.close()
