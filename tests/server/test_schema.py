"""What /openapi.json says is what the server does: schemathesis tries it on every route."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bailiff_cli import cannot_run, find_binary
from sample import FULL, SEED
from server_tools import World

HERE = Path(__file__).resolve().parent
EXAMPLES = 200 if FULL else 15
# An event stream of something queued has no end while the queue is stopped, which other calls do:
# test_events.py has those. The plans' routes have their own tests.
LEFT_OUT = r"^(/v1/plans|/plans|/file-ops/|/execute/)|/events$"


def schemathesis() -> Path:
    """The program, in an environment of its own beside the binary; made once."""
    requirements = HERE / "requirements.txt"
    name = "schemathesis-" + hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    place = find_binary().parent / name
    with (place.parent / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            shutil.rmtree(place, ignore_errors=True)
            install = [place / "bin/pip", "install", "--quiet", "--require-hashes",
                       "--disable-pip-version-check", "--only-binary=:all:", "-r", requirements]  # fmt: skip
            for command in ([sys.executable, "-m", "venv", place], install):
                made = subprocess.run(command, capture_output=True, text=True, check=False)
                if made.returncode != 0:
                    cannot_run(f"schemathesis cannot be installed: {made.stdout}{made.stderr}")
            (place / "done").touch()
    return place / "bin/schemathesis"


def test_the_server_does_what_its_openapi_document_says(serve, tmp_path: Path) -> None:
    world: World = serve("--workers", "2", "--queue", "100000")
    held = [world.agent.held(f"held-{i}.txt")["execution_id"] for i in range(4)]
    committed = [world.agent.run(f"echo {i} > /workspace/c{i}")["execution_id"] for i in range(2)]
    failed = world.agent.run("echo out; echo err >&2; false")["execution_id"]
    command = [
        schemathesis(), "--config-file", HERE / "schemathesis.toml", "run",
        f"http://127.0.0.1:{world.server.port}/openapi.json", "-c", "all",
        "-H", f"Authorization: Bearer {world.admin.token}", "--exclude-path-regex", LEFT_OUT,
        "-n", str(EXAMPLES), "--seed", str(SEED), "--no-color", "--continue-on-failure",
    ]  # fmt: skip
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schema_hooks", "PYTHONDONTWRITEBYTECODE": "1",
        "BAILIFF_SCHEMA_IDS": ",".join([*held, *committed, failed]),
    }  # fmt: skip
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True,
                          timeout=600, check=False)  # fmt: skip
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-40_000:]}{done.stderr}"
    assert "Unable to" not in done.stdout
    world.server.anybody().get("/health").of(200)
    world.server.cli.ok(["audit", "verify"])
    assert b"the server failed" not in world.server.log and b"what()" not in world.server.log
