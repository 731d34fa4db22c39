"""Runs programs natively and through Bailiff and tells what differs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bailiff_cli import USER, Bench, Cli, remove_tree
from programs import SET_YEAR, YEAR_NS, Operation, Program
from trees import Entry, Tree, differences, snapshot

INTERPRETER = (Path(__file__).parent / "apply_program.py").read_text()
PYTHON = "/usr/bin/python3"
LAYOUT = ("projects", "Tools", "Database", "Reports")
SECONDS_MAX = 120
RETRIES_MAX = 10
CLOCK_TICK_NS = 20_000_000  # File systems stamp with a clock that is behind by up to a tick.
OPS = ("created", "modified", "deleted", "moved", "metadata")
OP_NAMES = {"create": "created", "modify": "modified", "delete": "deleted", "move": "moved",
            "metadata": "metadata"}  # fmt: skip


class Difference(Exception):
    """What Bailiff did is not what the program does."""


class KernelDiffers(Exception):
    """Operations with which an overlay of this kernel does otherwise: {(program, operation)}."""


def is_kernels(want: int, have: int, before: list[Operation]) -> bool:
    """Whether another outcome is the kernel's doing, given the operations before."""
    # Two names of one file may be two inodes, and one not see that the other got another mode.
    return want == errno.EACCES and have == 0 and any(op[0] == "link" for op in before)


@dataclass
class Trial:
    """Programs that share one workspace, one run and one rollback."""

    programs: list[Program]
    mode: str = "commit"  # Or "review": always held, then approved.
    discard_first: bool = False
    redo: bool = False  # Roll the rollback back too.


def outcome_text(outcome: int | str) -> str:
    return errno.errorcode.get(outcome, str(outcome)) if isinstance(outcome, int) else outcome


def jobs(programs: list[Program], ops: Callable[[Program], list[Operation]]) -> bytes:
    listed = [{"dir": program.dir, "ops": ops(program)} for program in programs]
    return json.dumps({"jobs": listed}).encode()


def outcomes(stdout: bytes, stderr: bytes, what: str) -> list[list[Any]]:
    try:
        return json.loads(stdout)["results"]
    except (ValueError, KeyError, TypeError):
        raise Difference(f"{what} printed no outcomes: {stdout!r} {stderr!r}") from None


class Comparison:
    """One trial, carried out. The workspace belongs to an ordinary user in both tiers."""

    def __init__(self, bench: Bench, tier: str, trial: Trial) -> None:
        self.trial = trial
        self.cli = bench.cli(tier)
        self.natives = 0
        self.home = bench.folder(USER)
        self.started_ns = time.time_ns() - CLOCK_TICK_NS

    def close(self) -> None:
        remove_tree(self.home)
        remove_tree(self.cli.home)

    # The native side.

    def natively(self, root: Path, request: bytes) -> list[list[Any]]:
        done = subprocess.run(
            [PYTHON, "-I", "-c", INTERPRETER], input=request, capture_output=True, cwd=root,
            user=USER, group=USER, extra_groups=[], timeout=SECONDS_MAX, check=False)  # fmt: skip
        return outcomes(done.stdout, done.stderr, "the native run")

    def lay_out(self, root: Path) -> None:
        """Makes the trees that the programs start from."""
        lead = [{"dir": [], "ops": self.folders(program)} for program in self.trial.programs]
        self.natively(root, json.dumps({"jobs": lead}).encode())
        made = self.natively(root, jobs(self.trial.programs, lambda p: p.base))
        for program, results in zip(self.trial.programs, made):
            assert not any(results), (program.seed, results)

    @staticmethod
    def folders(program: Program) -> list[Operation]:
        paths = ["/".join(program.dir[: i + 1]) for i in range(len(program.dir))]
        return [["mkdir", path, 0o755] for path in paths]

    def native_root(self) -> Path:
        root = self.home / f"native{self.natives}"
        self.natives += 1
        root.mkdir(mode=0o755)
        for name in LAYOUT:
            (root / name).mkdir(mode=0o755)
            os.chown(root / name, USER, USER)
        os.chown(root, USER, USER)
        self.lay_out(root)
        return root

    def run_natively(self, programs: list[Program]) -> tuple[Path, list[list[Any]]]:
        root = self.native_root()
        return root, self.natively(root, jobs(programs, lambda p: p.ops))

    # Bailiff's side.

    def make_workspace(self) -> Tree:
        workspace = self.cli.workspace
        workspace.mkdir(mode=0o755)
        os.chown(workspace, USER, USER)
        self.cli.ok(["init", workspace])
        self.lay_out(workspace)
        return snapshot(workspace)

    def execute(self, programs: list[Program], mode: str) -> tuple[dict[str, Any], list[list[Any]]]:
        document = self.cli.json(
            ["exec", "--mode", mode, "--stdin", "--", PYTHON, "-I", "-c", INTERPRETER],
            stdin=jobs(programs, lambda p: p.ops))  # fmt: skip
        if document.get("status") != "succeeded":
            raise Difference(f"exec --mode {mode}: {json.dumps(document, indent=1)}")
        results = outcomes(document["stdout"].encode(), document["stderr"].encode(), "the run")
        return document, results

    def expect_unchanged(self, before: Tree, when: str) -> None:
        lines = differences(before, snapshot(self.cli.workspace), exactly)
        if lines:
            raise Difference("\n".join([f"{when} changed the workspace:", *lines]))

    def check_counts(self, document: dict[str, Any]) -> None:
        """What the document counts, what `changes` counts and what it lists are one."""
        listed = self.cli.json(["changes", document["execution_id"]])
        if document["changes"]["state"] == "none":
            if listed["changes"]:
                raise Difference(f"state none, but changes lists {listed['changes']}")
            return
        counts = Counter(OP_NAMES[change["op"]] for change in listed["changes"])
        for op in OPS:
            if not counts[op] == listed[op] == document["changes"][op]:
                raise Difference(
                    f"{op}: {document['changes'][op]} in the document, {listed[op]} in changes, "
                    f"{counts[op]} listed")  # fmt: skip
        if listed["digest"] != document["changes"]["digest"]:
            raise Difference(f"digest: {document['changes']['digest']}, then {listed['digest']}")

    def approve(self, proposal: str, digest: str | None = None) -> None:
        answer = self.cli.json(["approve", proposal, *(["--digest", digest] if digest else [])])
        if answer.get("state") != "committed" or not answer["done"]:
            raise Difference(f"approve {proposal}: {json.dumps(answer)}")

    def settle(self, document: dict[str, Any], before: Tree) -> None:
        """Brings a run's changes into the workspace, whatever policy said of them."""
        state = document["changes"]["state"]
        if state == "held":
            self.expect_unchanged(before, "a held run")
            self.approve(document["execution_id"], document["changes"]["digest"])
        elif state not in ("committed", "none") or self.trial.mode == "review" != state != "none":
            raise Difference(f"state {state}: {json.dumps(document, indent=1)}")

    def roll_back(self, commit: str) -> str:
        answer = self.cli.json(["rollback", commit])
        if answer.get("state") == "held":
            self.approve(answer["id"])
        elif answer.get("state") != "committed" or not answer["done"]:
            raise Difference(f"rollback: {json.dumps(answer)}")
        return answer["id"]

    def run(self) -> None:
        programs = self.trial.programs
        native_root, native = self.run_natively(programs)
        pinned = [{i for i, outcome in enumerate(one) if outcome == "pinned"} for one in native]
        programs = [program.without(skip) for program, skip in zip(programs, pinned)]
        native = [[0 if one == "pinned" else one for one in results] for results in native]

        before = self.make_workspace()
        if self.trial.discard_first:
            document, results = self.execute(programs, "discard")
            self.compare_outcomes(programs, native, results)
            self.check_counts(document)
            self.expect_unchanged(before, "--mode discard")
        document, results = self.execute(programs, self.trial.mode)
        self.compare_outcomes(programs, native, results)
        self.check_counts(document)
        self.settle(document, before)
        expected = snapshot(native_root)
        after = snapshot(self.cli.workspace)
        lines = differences(expected, after, self.as_the_program_left_it)
        if lines:
            raise Difference("\n".join(["commit:", *lines]))
        if document["changes"]["state"] == "none":
            self.expect_unchanged(before, "a run without changes")
            return
        rollback = self.roll_back(document["execution_id"])
        lines = differences(before, snapshot(self.cli.workspace), file_times)
        if lines:
            raise Difference("\n".join(["rollback:", *lines]))
        if self.trial.redo:
            self.roll_back(rollback)
            lines = differences(after, snapshot(self.cli.workspace), file_times)
            if lines:
                raise Difference("\n".join(["rollback of the rollback:", *lines]))

    def compare_outcomes(
        self, programs: list[Program], native: list[list[Any]], inside: list[list[Any]]
    ) -> None:
        lines = []
        kernels = set()
        for number, (program, wants, haves) in enumerate(zip(programs, native, inside)):
            for i, (want, have) in enumerate(zip(wants, haves)):
                if want != have and is_kernels(want, have, program.ops[:i]):
                    kernels.add((number, i))
                elif want != have:
                    lines.append(
                        f"program {program.seed} operation {i} {program.ops[i]}: natively "
                        f"{outcome_text(want)}, in the sandbox {outcome_text(have)}")  # fmt: skip
        if kernels:  # Then what comes after may differ too.
            raise KernelDiffers(kernels)
        if lines:
            raise Difference("\n".join(["outcomes:", *lines]))

    def as_the_program_left_it(self, path: bytes, want: Entry, have: Entry) -> bool:
        """Times that the program set, files' times of the base; new ones are not compared."""
        if want.mtime_ns >= self.started_ns:
            return want.kind == "dir" or have.mtime_ns >= self.started_ns
        was_set = not 0 <= want.mtime_ns < (SET_YEAR - 1970) * YEAR_NS
        return want.mtime_ns == have.mtime_ns or (want.kind == "dir" and not was_set)


def exactly(path: bytes, want: Entry, have: Entry) -> bool:
    return want.mtime_ns == have.mtime_ns


def file_times(path: bytes, want: Entry, have: Entry) -> bool:
    return want.kind == "dir" or want.mtime_ns == have.mtime_ns


def difference_of(bench: Bench, tier: str, trial: Trial) -> str | None:
    """Carries a trial out. Nothing when all is as it should be."""
    for _ in range(RETRIES_MAX):
        comparison = Comparison(bench, tier, trial)
        try:
            comparison.run()
        except Difference as found:
            return str(found)
        except KernelDiffers as differing:
            left_out = differing.args[0]
            programs = [
                program.without({i for n, i in left_out if n == number})
                for number, program in enumerate(trial.programs)
            ]
            trial = replace(trial, programs=programs)
            continue
        finally:
            comparison.close()
        return None
    return f"outcomes:\nmore than {RETRIES_MAX} rounds of operations left out for the kernel"


def shrink(program: Program, fails: Callable[[Program], bool], seconds: float) -> Program:
    """Drops operations as long as what is left still fails: large pieces first, then each."""
    end = time.monotonic() + seconds
    for kind in ("ops", "base"):
        size = max(1, len(getattr(program, kind)) // 2)
        while size:
            at = 0
            while at < len(getattr(program, kind)) and time.monotonic() < end:
                kept = getattr(program, kind)
                smaller = Program(program.seed, program.dir, program.base, program.ops)
                setattr(smaller, kind, kept[:at] + kept[at + size:])
                if fails(smaller):
                    program = smaller
                else:
                    at += size
            size //= 2
    return program
