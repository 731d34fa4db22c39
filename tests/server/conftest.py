"""Servers for the tests: one that the tests of a module share, and fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from bailiff_cli import Bench, remove_tree
from server_tools import Client, Server


class World(NamedTuple):
    """A server and those who use it."""

    server: Server
    agent: Client
    reviewer: Client
    admin: Client
    workspace: Path


def make_world(bench: Bench, *options: str, config: str = "") -> World:
    cli = bench.workspace("privileged")
    (cli.state / "bailiff.toml").write_text(config)
    server = Server(cli, *options)
    return World(server, server.token("agent", "agent"), server.token("rita", "reviewer"),
                 server.token("root", "admin"), cli.workspace)  # fmt: skip


def end_world(world: World) -> None:
    world.server.close()
    remove_tree(world.server.cli.home)


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
