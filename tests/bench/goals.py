"""What must not grow: commits with the workspace or with those before them, staging with its files,
moves with their bytes."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from engines import Places
from servers import program

GIB = 1 << 30
MIB = 1 << 20
COMMITS = 2_000
COMMITS_TIMED = 60  # Before those, and after them.


@dataclass
class Goal:
    """A ratio of two times, a time, or an amount, with what it may be at most; no value: not measured."""

    name: str
    value: float | None
    at_most: float
    unit: str  # "x", "MiB", "ms" or "runs"
    detail: str
    samples: dict[str, list[float]]

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.at_most else "**missed**"


def timed(argv: list[str], cwd: pathlib.Path | None = None) -> tuple[float, Any]:
    """Seconds, and the JSON document that the command printed, if it did."""
    begin = time.perf_counter()
    done = subprocess.run(argv, check=True, cwd=cwd, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - begin
    return seconds, json.loads(done.stdout) if done.stdout.startswith(b"{") else None


def run(places: Places, workspace: pathlib.Path, script: str) -> tuple[float, Any]:
    seconds, document = timed([*places.bailiff(workspace), "--json", "run", script])
    state = document["changes"]["state"]
    if state not in ("committed", "none"):
        raise RuntimeError(f"{script}: {state}: {document}")
    return seconds, document


def fill(workspace: pathlib.Path, files: int) -> None:
    for index in range(files):
        folder = workspace / f"projects/case{index % 100:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"{index}.txt").write_bytes(b"x" * 100)


def workspace_size(places: Places, rounds: int) -> list[Goal]:
    code = ("import glob\n"
            "for i in range(10):\n"
            "    with open(f'/workspace/projects/case{i:02}/{i}.txt', 'a') as f: f.write('y')\n")
    spaces = {}
    for files in (1_000, 100_000):
        spaces[files] = places.make_workspace(f"of{files}")
        fill(spaces[files], files)
        Places.put(spaces[files], "ten.py", code)
    os.sync()
    samples: dict[str, list[float]] = {str(files): [] for files in spaces}
    for number in range(rounds + 1):
        for files, workspace in spaces.items():
            commit, document = run(places, workspace, "Tools/ten.py")
            assert document["changes"]["modified"] == 10, document["changes"]
            undo, _ = timed([*places.bailiff(workspace), "rollback", document["execution_id"]])
            if number > 0:
                samples[str(files)].append(commit + undo)
    medians = {files: statistics.median(times) for files, times in samples.items()}
    small, large = medians["1000"], medians["100000"]
    return [Goal("commit and rollback of 10 files, 100,000 files in the workspace to 1,000",
                 large / small, 1.3, "x", f"{large * 1e3:.1f} ms to {small * 1e3:.1f} ms",
                 samples)]  # fmt: skip


def many_files(places: Places, rounds: int) -> list[Goal]:
    workspace = places.make_workspace("many")
    samples: dict[str, list[float]] = {"capture and commit": [], "cp -a and sync -f": []}
    for number in range(rounds + 1):
        folder = f"Reports/round{number}"
        Places.put(workspace, "many.py",
                   f"import os\nos.mkdir('/workspace/{folder}')\n"
                   "for i in range(10_000):\n"
                   f"    with open(f'/workspace/{folder}/{{i}}', 'w') as f: "
                   "f.write(str(i) * 200)\n")  # fmt: skip
        seconds, document = run(places, workspace, "Tools/many.py")
        assert document["changes"]["created"] == 10_001, document["changes"]
        copy = places.top / f"copy{number}"
        plain, _ = timed(["/bin/sh", "-c", f"cp -a '{workspace / folder}' '{copy}'; sync -f '{copy}'"])
        if number > 0:
            samples["capture and commit"].append(seconds - document["duration_seconds"])
            samples["cp -a and sync -f"].append(plain)
    medians = [statistics.median(times) for times in samples.values()]
    return [Goal("capture and commit of 10,000 new files, to cp -a of them and one sync -f",
                 medians[0] / medians[1], 2, "x",
                 f"{medians[0] * 1e3:.0f} ms to {medians[1] * 1e3:.0f} ms", samples)]  # fmt: skip


def moves(places: Places, rounds: int) -> list[Goal]:
    workspace = places.make_workspace("moves")
    Places.put(workspace, "nothing.py", "")
    swap = "import os, sys\nos.chdir('/workspace/projects')\n"
    Places.put(workspace, "there.py", swap + "os.rename('big', 'big2'); os.rename('dir', 'dir2')\n")
    Places.put(workspace, "back.py", swap + "os.rename('big2', 'big'); os.rename('dir2', 'dir')\n")
    make_moved(workspace / "projects")
    native = places.top / "native"
    native.mkdir()
    make_moved(native)
    samples: dict[str, list[float]] = {"moves": [], "renames, empty run and walk": []}
    scratch = 0
    for number in range(rounds + 1):
        for script, suffix in (("Tools/there.py", ("", "2")), ("Tools/back.py", ("2", ""))):
            seconds, document = run(places, workspace, script)
            assert document["changes"]["moved"] == 2, document["changes"]
            scratch = max(scratch, document["usage"]["scratch_bytes"])
            begin = time.perf_counter()
            for name in ("big", "dir"):
                os.rename(native / (name + suffix[0]), native / (name + suffix[1]))
            for folder, _, names in os.walk(native):
                for name in names:
                    os.lstat(os.path.join(folder, name))
            plain = time.perf_counter() - begin
            plain += run(places, workspace, "Tools/nothing.py")[0]
            if number > 0:
                samples["moves"].append(seconds)
                samples["renames, empty run and walk"].append(plain)
    medians = [statistics.median(times) for times in samples.values()]
    return [Goal("moves of a 1 GiB file and of a directory of 5,000 files, committed, as root, to "
                 "the renames, an empty run and a walk", medians[0] / medians[1], 3, "x",
                 f"{medians[0] * 1e3:.1f} ms to {medians[1] * 1e3:.1f} ms", samples),
            Goal("scratch that those moves take", scratch / MIB, 1, "MiB",
                 f"{scratch} bytes", {})]  # fmt: skip


def make_moved(place: pathlib.Path) -> None:
    with open(place / "big", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, GIB)
    (place / "dir").mkdir()
    for index in range(5_000):
        (place / f"dir/{index}").write_bytes(b"x")


def many_commits(places: Places, _: int) -> list[Goal]:
    workspace = places.make_workspace("commits")
    command = ["/bin/bash", "-c", ": > /workspace/Reports/$EPOCHREALTIME"]

    def commands() -> list[float]:
        argv = [*places.bailiff(workspace), "--json", "exec", "--", *command]
        return [timed(argv)[0] for _ in range(COMMITS_TIMED)]

    samples = {"first": commands()}
    with subprocess.Popen([program("bench_engine"), str(workspace), f"{workspace}.state",
                           json.dumps({"command": command})], stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, text=True) as engine:  # fmt: skip
        engine.communicate("\n" * COMMITS)
    samples["last"] = commands()
    assert len(list((workspace / "Reports").iterdir())) == COMMITS + 2 * COMMITS_TIMED
    first, last = (statistics.median(seconds) for seconds in samples.values())
    return [Goal(f"a run that commits a file, after {COMMITS:,} of them to the first ones",
                 last / first, 1.2, "x", f"{last * 1e3:.1f} ms to {first * 1e3:.1f} ms",
                 samples)]  # fmt: skip


GROUPS = {"workspace": workspace_size, "many": many_files, "moves": moves, "commits": many_commits}
