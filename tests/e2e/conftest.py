"""Workspaces that the tests of a module share, where they do each other no harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bailiff_cli import TIERS, Bench, Cli, remove_tree


@pytest.fixture(scope="module", params=TIERS)
def shared(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Cli]:
    """One workspace for all tests of a module, once in each tier."""
    cli = bench.workspace(request.param)
    yield cli
    remove_tree(cli.home)
