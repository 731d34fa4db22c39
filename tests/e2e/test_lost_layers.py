"""Each system call that puts a layer of a sandbox in place fails once, or does nothing and says that
it worked: the run ends with `error`, and its script has not run. strace answers for the kernel."""

from __future__ import annotations

import collections
import json
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from bailiff_cli import Bench, Cli, cannot_run, remove_tree, require_plain_build
from sample import FULL, SEED

GROUP = 54322  # Without a name.
SCRIPT = ["/bin/sh", "-c", "echo ran-$((40 + 2))"]

# Not keyctl: where the kernel refuses it, as it does to whoever asks first, there is no keyring to
# get away from.
LAYER_CALLS = [
    "capset", "chdir", "clone", "clone3", "close_range", "dup3", "fchdir", "fsconfig", "fsetxattr",
    "fsmount", "fsopen", "ioctl", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "mknodat", "mount", "mount_setattr", "move_mount", "open_tree",
    "pivot_root", "prctl", "prlimit64", "seccomp", "sendmsg", "setgroups", "sethostname",
    "setresgid", "setresuid", "setsid", "umount2", "unshare", "write",
]  # fmt: skip
# Of the process that watches over the sandbox, and which makes other calls for other ends.
MONITOR_CALLS = ["clone3", "mount_setattr", "open_tree"]
# Files whose writing makes a layer. Other controls exist on some kernels only.
LAYER_FILES = re.compile(
    r"/(uid_map|gid_map|setgroups|max_user_namespaces|memory\.limit_in_bytes|memory\.max|pids\.max"
    r"|cpu\.cfs_quota_us|cpu\.max|cgroup\.procs)>")
# Failing is how the kernel says that there is no such capability.
CANNOT_FAIL = re.compile(r"PR_CAPBSET_DROP.*= -1")

LINE = re.compile(r"^(\d+)\s+(\w+)\((.*)$")


class Point(NamedTuple):
    """The n-th call of a name in one process."""

    call: str
    number: int
    shown: str


class Traced:
    """A workspace, and the system calls of one run in it."""

    def __init__(self, cli: Cli) -> None:
        require_plain_build("it makes and checks calls of its own")
        self.cli = cli
        words = cli.json(["doctor"])["can_require"]
        self.require = ",".join(words)
        self.exec = ["--json", "exec", "--require", self.require, "--", *SCRIPT]
        assert cli.run(self.exec).exit == 0  # The proof is made here, and not in each run below.
        self.points = self._points()

    def under_strace(self, options: list[str]) -> tuple[int, bytes]:
        strace = ["strace", "-f", "-qq", "-y", *options]
        with self.cli.start(self.exec, under=strace) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 125), (out, err)
        return process.returncode, out

    def _points(self) -> list[Point]:
        log = self.cli.home / "trace"
        assert self.under_strace(["-o", str(log)])[0] == 0
        calls = collections.defaultdict(list)
        for line in log.read_text(errors="replace").splitlines():
            if found := LINE.match(line):
                calls[found[1]].append((found[2], found[3]))
        found: dict[tuple[str, int], Point] = {}
        for made in calls.values():
            names = {name for name, _ in made}
            # The program's own process, its parent, and the one that mounts. A name, not a path,
            # since strace cannot read what a process of the same user has hidden.
            if names >= {"seccomp", "setsid", "execve"} or names & {"pivot_root", "fsmount"}:
                points = self._layer_calls(made, LAYER_CALLS)
            elif any(name == "write" and LAYER_FILES.search(rest) for name, rest in made):
                points = self._layer_calls(made, MONITOR_CALLS)
            else:
                continue
            found |= {(point.call, point.number): point for point in points}
        assert len(found) > 100, found
        return list(found.values())

    @staticmethod
    def _layer_calls(made: list[tuple[str, str]], wanted: Sequence[str]) -> Iterator[Point]:
        """What a process does for a layer: up to its filter, or to the fork of what has one."""
        ends = [i for i, (name, _) in enumerate(made) if name in ("seccomp", "clone")]
        last = max(ends, default=len(made))
        counts: collections.Counter[str] = collections.Counter()
        for name, rest in made[: last + 1]:
            counts[name] += 1
            layer = name in wanted or (name == "write" and LAYER_FILES.search(rest))
            if layer and not CANNOT_FAIL.search(f"{name}({rest}"):
                yield Point(name, counts[name], f"{name}({rest}"[:100])


@pytest.fixture(scope="module", params=["privileged", "rootless"])
def traced(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Traced]:
    if shutil.which("strace") is None:
        cannot_run("needs strace")
    cli = bench.workspace(request.param)
    yield Traced(cli)
    remove_tree(cli.home)


def assert_stopped(traced: Traced, options: list[str], point: str) -> str:
    status, out = traced.under_strace(["-o", "/dev/null", *options])
    assert (status, b"ran-42" in out) == (125, False), (point, out)
    if not out:
        return ""  # The call with this number in Bailiff itself was the one that prints.
    document = json.loads(out)
    assert document.get("status", "error") == "error" and document["error"], (point, document)
    return document["error"]


def one_of_each_name(points: list[Point], chance: random.Random) -> list[Point]:
    """What runs without BAILIFF_TESTS_FULL."""
    names = sorted({point.call for point in points})
    return [chance.choice([p for p in points if p.call == name]) for name in names]


def test_a_layer_that_cannot_be_made_stops_the_run(traced: Traced) -> None:
    points = traced.points
    if not FULL:
        points = one_of_each_name(points, random.Random(SEED))
        print(f"seed {SEED}, of {len(traced.points)} calls:", *points, sep="\n")
    for point in points:
        inject = ["-e", f"trace={point.call}",
                  "-e", f"inject={point.call}:error=EPERM:when={point.number}"]
        assert_stopped(traced, inject, point.shown)


# Its parent finds that it is gone, mostly before it reads why.
def test_a_process_that_fails_before_its_parent_is_ready_says_why(traced: Traced) -> None:
    for _ in range(5):
        inject = ["-e", "trace=close_range", "-e", "inject=close_range:error=EACCES:when=1"]
        said = assert_stopped(traced, inject, "close_range")
        assert "start sandbox: close other descriptors: Permission denied" in said


# The call is not made, and its caller is told that it worked.
IGNORED = {
    "seccomp": "seccomp filter",  # The library that writes it finds out first.
    "capset": "prove that no capability is held",
    "landlock_restrict_self": "prove that the landlock ruleset is in force",
    "setgroups": "prove that no other group is held",
    "setresuid": "",  # Without the ids nothing can be made; without privilege they are had already.
    "setresgid": "",
    "mknodat": "hide .bailiff: Operation not permitted",
    "prlimit64": "Operation not permitted",
    "setsid": "Operation not permitted",
    "mount_setattr": "",
    # The next steps find nothing where it should be.
    "unshare": "",
    "move_mount": "",
    "umount2": "",
    "pivot_root": "change root: Operation not permitted",
    "fsconfig": "",
    "fchdir": "",
    "landlock_add_rule": "run /bin/sh: Permission denied",
}
ONLY_PRIVILEGED = {"setgroups", "setresuid", "setresgid"}


@pytest.mark.parametrize("call", IGNORED)
def test_a_layer_that_is_made_in_word_only_stops_the_run(traced: Traced, call: str) -> None:
    if call in ONLY_PRIVILEGED and not traced.cli.is_privileged:
        return
    traced.cli.groups = [GROUP]
    said = assert_stopped(traced, ["-e", f"trace={call}", "-e", f"inject={call}:retval=0"], call)
    assert "start sandbox: " in said and IGNORED[call] in said


def test_no_new_privs_that_is_set_in_word_only_stops_the_run(traced: Traced) -> None:
    (number,) = {p.number for p in traced.points if "PR_SET_NO_NEW_PRIVS" in p.shown}
    said = assert_stopped(
        traced, ["-e", "trace=prctl", "-e", f"inject=prctl:retval=0:when={number}"], "prctl")
    # Landlock and seccomp demand it as well, of whoever has no privilege.
    assert "start sandbox: " in said
