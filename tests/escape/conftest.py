"""Where the attacks find what they are to reach."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from bailiff_cli import Bench, require_root  # noqa: E402
from host import Host  # noqa: E402


@pytest.fixture
def host(bench: Bench) -> Iterator[Host]:
    require_root()  # Else nothing shows that both tiers are confined.
    with Host(bench.folder(0)) as made:
        yield made
