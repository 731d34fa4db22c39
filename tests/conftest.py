"""What all suites that drive the binary share: see support/bailiff_cli.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

from bailiff_cli import bench, privileged_ws, tier, ws  # noqa: E402, F401
