"""Servers for the tests: one that the tests of a module share, and fresh ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bailiff_cli import Bench

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from server_tools import World, end_world, make_world  # noqa: E402


@pytest.fixture(scope="module")
def shared(bench: Bench) -> Iterator[World]:
    """One server for all tests of a module that do each other no harm."""
    world = make_world(bench)
    yield world
    end_world(world)


@pytest.fixture
def serve(bench: Bench) -> Iterator[Callable[..., World]]:
    """Makes servers for one test: options of `bailiff serve`, and `config`, its bailiff.toml."""
    made: list[World] = []

    def make(*options: str, config: str = "") -> World:
        made.append(make_world(bench, *options, config=config))
        return made[-1]

    yield make
    for world in made:
        end_world(world)
