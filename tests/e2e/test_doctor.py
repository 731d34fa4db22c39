"""What `bailiff doctor` proves on this host, and what it says where a layer was taken away for real;
what a run may demand, and that a layer which was proved and is lost later stops the run."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from bailiff_cli import (
    ON_FUSE,
    SECONDS_MAX,
    USER,
    Answer,
    Bench,
    Cli,
    remove_tree,
    require_plain_build,
)
from e2e_tools import cgroups_named, processes_with, wait_until

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
MS_REC_PRIVATE = 0x4000 | 0x40000
MNT_DETACH = 2
PR_SET_DUMPABLE = 4

LAYERS = [
    "user-namespace", "own-uid", "mounts", "overlay", "pid-namespace", "network-namespace",
    "ipc-namespace", "uts-namespace", "privileges", "seccomp", "landlock", "memory", "pids", "cpu",
    "scratch", "kill",
]  # fmt: skip
SAYS_IT_RAN = ["/bin/sh", "-c", "echo ran-$((40 + 2))"]


def call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


# Each takes something away from the process that runs it, and from what that executes.


def without_user_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    call(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")  # A change of uid has cleared it.
    call(libc.unshare(CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{USER} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{USER} {gid} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def without_cgroups() -> None:
    call(libc.unshare(CLONE_NEWNS), "unshare")
    call(libc.mount(None, b"/", None, MS_REC_PRIVATE, None), "make mounts private")
    call(libc.umount2(b"/sys/fs/cgroup", MNT_DETACH), "umount")


def refusing(calls: dict[str, int]) -> Callable[[], None]:
    """Under a seccomp filter that answers these calls with these errnos."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    seccomp.seccomp_rule_add.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]  # fmt: skip
    allow, refuse = 0x7FFF0000, 0x00050000

    def install() -> None:
        context = seccomp.seccomp_init(allow)
        for name, number in calls.items():
            nr = seccomp.seccomp_syscall_resolve_name(name.encode())
            call(seccomp.seccomp_rule_add(context, refuse | number, nr, 0), name)
        call(seccomp.seccomp_load(context), "seccomp")

    return install


ENOSYS, EPERM = 38, 1
AS_A_CONTAINER = {"clone3": ENOSYS, "unshare": EPERM, "mount": EPERM, "setns": EPERM}
WITHOUT_LANDLOCK = {"landlock_create_ruleset": ENOSYS}


def run_after(setup: Callable[[], None], cli: Cli, args: Sequence[str]) -> Answer:
    """A command of Bailiff, after `setup` in its process."""
    with cli.start(args, preexec_fn=setup) as process:
        out, err = process.communicate(timeout=SECONDS_MAX)
    return Answer(process.returncode, out, err)


def doctor_after(setup: Callable[[], None], cli: Cli) -> tuple[int, dict[str, Any]]:
    answer = run_after(setup, cli, ["--json", "doctor"])
    assert answer.stdout, answer
    return answer.exit, json.loads(answer.stdout)


def layer(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [layer for layer in document["layers"] if layer["name"] == name]
    return found


def has_advice(document: dict[str, Any], name: str, words: str) -> bool:
    return any(words in line for line in layer(document, name)["advice"])


@pytest.fixture
def privileged(bench: Bench) -> Any:
    cli = bench.workspace("privileged")
    yield cli
    remove_tree(cli.home)


def test_every_layer_is_proved_on_this_host(shared: Cli) -> None:
    document = shared.json(["doctor"])
    assert document["healthy"] is True, document
    assert [layer["name"] for layer in document["layers"]] == LAYERS
    weaker = [layer["name"] for layer in document["layers"] if layer["holds"] == "weaker"]
    if shared.is_privileged:
        assert weaker == (["own-uid"] if ON_FUSE else []), document
    assert set(weaker) <= {"own-uid", "memory", "pids", "cpu"}, document
    for found in document["layers"]:
        assert found["holds"] is not False
        assert (found["holds"] == "weaker") == bool(found["why"])
    for name in weaker:
        assert layer(document, name)["advice"], name
    tried = {probe["name"]: probe for probe in document["probes"]}
    assert tried["open a file of the host"]["outside"] == "it worked"
    assert tried["connect to a port of the host"]["outside"] == "it worked"
    same = [name for name, probe in tried.items() if probe["detail"] == probe["outside"]]
    # What only root can do proves nothing where a user tries it.
    of_root = {"open a file by its handle", "set an attribute of the overlay"}
    assert set(same) <= (set() if shared.is_privileged else of_root)
    words = shared.ok(["doctor"]).stdout.decode()
    for name in LAYERS:
        assert f" {name} " in words


def test_nothing_of_a_probe_stays(shared: Cli) -> None:
    def traces() -> set[str]:
        folders = {name for name in os.listdir("/tmp") if name.startswith("bailiff-doctor-")}
        return folders | {line[:40] for line in Path("/proc/sysvipc/shm").read_text().splitlines()}

    before = traces()
    shared.ok(["doctor"])
    # Another doctor may be at work at the same time, whose traces go as well.
    wait_until(lambda: traces() <= before, "the end of the canaries")
    wait_until(lambda: not processes_with("/workspace/probe"), "the end of the probe")
    wait_until(lambda: not cgroups_named("doctor."), "the end of its cgroups")


def test_without_user_namespaces_it_says_which_setting_helps(bench: Bench) -> None:
    cli = bench.cli("rootless")
    status, document = doctor_after(without_user_namespaces, cli)
    assert (status, document["healthy"], document["guarantees"]) == (1, False, None)
    assert all(found["holds"] is False for found in document["layers"])
    assert "user.max_user_namespaces is 0" in layer(document, "user-namespace")["why"]
    assert has_advice(document, "user-namespace", "sysctl -w user.max_user_namespaces=")
    assert document["can_require"] == ["none"]


def test_under_the_filter_of_a_container_it_names_the_filter(bench: Bench, tier: str) -> None:
    cli = bench.cli(tier)
    status, document = doctor_after(refusing(AS_A_CONTAINER), cli)
    assert (status, document["healthy"]) == (1, False)
    assert "seccomp filter" in layer(document, "user-namespace")["why"]
    assert has_advice(document, "user-namespace", "--security-opt seccomp=unconfined")


def test_without_cgroups_the_limits_are_weaker(bench: Bench) -> None:
    cli = bench.cli("privileged")
    status, document = doctor_after(without_cgroups, cli)
    assert (status, document["healthy"]) == (0, True), document
    assert document["guarantees"]["limits"] == "rlimits"
    for name in ("memory", "pids", "cpu"):
        assert layer(document, name)["holds"] == "weaker"
        assert has_advice(document, name, "mount -t cgroup2")
    assert "cgroup" not in document["can_require"]


def test_without_landlock_it_is_weaker_and_cannot_be_demanded(ws: Cli) -> None:
    lost = refusing(WITHOUT_LANDLOCK)
    status, document = doctor_after(lost, ws)
    assert (status, document["guarantees"]["landlock"]) == (0, 0), document
    assert layer(document, "landlock")["holds"] == "weaker"
    assert layer(document, "landlock")["advice"]
    assert "landlock" not in document["can_require"]
    answer = run_after(lost, ws, ["exec", "--require", "landlock", "--", *SAYS_IT_RAN])
    assert answer.exit == 125 and b"ran-42" not in answer.stdout
    assert b"--require 'landlock': 'landlock' does not hold here" in answer.stderr
    document = json.loads(run_after(lost, ws, ["--json", "exec", "--", *SAYS_IT_RAN]).stdout)
    assert (document["stdout"], document["guarantees"]["landlock"]) == ("ran-42\n", 0)


def test_what_holds_can_be_demanded(ws: Cli) -> None:
    found = ws.json(["doctor"])
    words = found["can_require"]
    assert words[:2] == ["none", "ns"] and "landlock" in words
    # FUSE cannot map ids, so nobody has one of their own there.
    own = ws.is_privileged and not ON_FUSE
    assert ("own-uid" in words, "cgroup" in words) == (own, ws.is_privileged)
    document = ws.json(["exec", "--require", ",".join(words), "--", *SAYS_IT_RAN])
    assert document["stdout"] == "ran-42\n", document
    assert found["guarantees"] == document["guarantees"]
    if not own:
        demand = ["--json", "exec", "--require", "own-uid", "--", *SAYS_IT_RAN]
        assert_stopped(ws.run(demand), "own-uid: there is no uid of its own")
        assert layer(found, "own-uid")["holds"] == "weaker"
    if ws.is_privileged and ON_FUSE:
        why = "this workspace is on a file system that cannot map ids"
        assert layer(found, "own-uid")["why"] == why
        assert has_advice(found, "own-uid", "ext4, xfs or btrfs")


@pytest.mark.parametrize(
    ("level", "says"),
    [
        ("vm", "needs an engine that is not here"),
        ("gvisor", "needs an engine that is not here"),
        ("strong", "'strong' is not known; write none, ns, own-uid, cgroup or landlock"),
        ("ns,", "'' is not known"),
        ("ns,vm", "needs an engine that is not here"),
    ],
)
def test_a_level_that_is_not_there_is_refused(shared: Cli, level: str, says: str) -> None:
    answer = shared.run(["exec", "--require", level, "--", *SAYS_IT_RAN])
    assert answer.exit == 125 and answer.stdout == b""
    assert f"--require '{level}'" in answer.stderr.decode() and says in answer.stderr.decode()


def test_a_user_without_cgroups_cannot_demand_them(bench: Bench) -> None:
    cli = bench.workspace("rootless")
    if cli.json(["doctor"])["guarantees"]["limits"] != "rlimits":
        pytest.fail("this user has a cgroup; the test needs one that has none")
    answer = cli.run(["exec", "--require", "ns,cgroup", "--", *SAYS_IT_RAN])
    assert answer.exit == 125 and answer.stdout == b""
    assert b"'cgroup' does not hold here (memory: no cgroup with the controllers" in answer.stderr
    assert b"what does: none, ns, landlock" in answer.stderr
    own = cli.run(["--json", "exec", "--require", "own-uid", "--", *SAYS_IT_RAN])
    assert_stopped(own, "own-uid: there is no uid of its own, which this run demands")
    remove_tree(cli.home)


def with_little_address_space() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (450 << 20, 450 << 20))


def test_an_own_uid_is_not_had_without_the_layers(privileged: Cli) -> None:
    """Too little for the probe that would show what holds of memory: nothing is proved."""
    require_plain_build("the address space is bounded")
    demand = ["exec", "--require", "own-uid", "--", *SAYS_IT_RAN]
    for _ in range(2):  # What the first one left behind is no proof for the second.
        answer = run_after(with_little_address_space, privileged, demand)
        assert answer.exit == 125 and answer.stdout == b"", answer
        assert b"--require 'own-uid': 'ns' does not hold here" in answer.stderr, answer
    privileged.ok(["exec", "--require", "ns", "--", *SAYS_IT_RAN])


def assert_stopped(answer: Answer, says: str) -> None:
    document = json.loads(answer.stdout)
    assert answer.exit == 125, answer
    assert (document["status"], document["stdout"]) == ("error", ""), document
    assert says in document["error"] and document["changes"]["state"] == "none"


def test_cgroups_that_were_proved_and_are_lost_stop_the_run(privileged: Cli) -> None:
    plain = ["--json", "exec", "--", *SAYS_IT_RAN]
    before = json.loads(run_after(without_cgroups, privileged, plain).stdout)
    assert before["guarantees"]["limits"] == "rlimits"  # Nobody has asked for more yet.
    privileged.ok(["exec", "--require", "cgroup", "--", *SAYS_IT_RAN])
    assert_stopped(run_after(without_cgroups, privileged, plain), "cgroup: not every limit")
    assert privileged.json(plain[1:])["stdout"] == "ran-42\n"


def test_landlock_that_was_proved_and_is_lost_stops_the_run(ws: Cli) -> None:
    ws.ok(["exec", "--require", "ns", "--", *SAYS_IT_RAN])
    answer = run_after(refusing(WITHOUT_LANDLOCK), ws, ["--json", "exec", "--", *SAYS_IT_RAN])
    assert_stopped(answer, "landlock: ABI 0 is below ABI")


def test_what_doctor_proved_and_is_lost_stops_the_run(ws: Cli) -> None:
    lost, plain = refusing(WITHOUT_LANDLOCK), ["--json", "exec", "--", *SAYS_IT_RAN]
    ws.ok(["doctor"])
    assert_stopped(run_after(lost, ws, plain), "landlock: ABI 0 is below ABI")
    # To look again is no consent to less.
    status, document = doctor_after(lost, ws)
    assert (status, document["healthy"], document["can_require"]) == (1, False, ["none"])
    assert layer(document, "landlock")["holds"] is False
    assert "more was proved here before" in layer(document, "landlock")["why"]
    assert has_advice(document, "landlock", "delete proof.json")
    assert_stopped(run_after(lost, ws, plain), "landlock: ABI 0 is below ABI")
    assert ws.json(["doctor"])["healthy"] is True
    assert ws.json(plain[1:])["stdout"] == "ran-42\n"
    (ws.state / "proof.json").unlink()
    assert json.loads(run_after(lost, ws, plain).stdout)["stdout"] == "ran-42\n"


def test_doctor_examines_the_host_where_no_workspace_is(bench: Bench) -> None:
    cli = bench.cli("rootless")
    answer = cli.run(["--json", "doctor"])
    assert json.loads(answer.stdout)["healthy"] is True
    assert b"this is not kept as a proof for runs: " in answer.stderr
    command = [cli.binary, "doctor"]
    bare = subprocess.run(command, cwd="/", env=cli.environment(), capture_output=True, timeout=60)
    assert (bare.returncode, bare.stderr) == (0, b""), bare
    assert not cli.state.exists()


def test_what_doctor_proved_counts_in_the_next_login_session(privileged: Cli) -> None:
    """systemd gives each session a cgroup of its own."""
    places = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
    (root,) = [place for place in places if (place / "cgroup.procs").exists()][:1]
    session = root / f"session-{os.getpid()}.scope"
    session.mkdir()

    def elsewhere_without_landlock() -> None:
        (session / "cgroup.procs").write_text("0")
        refusing(WITHOUT_LANDLOCK)()

    try:
        privileged.ok(["doctor"])
        plain = ["--json", "exec", "--", *SAYS_IT_RAN]
        answer = run_after(elsewhere_without_landlock, privileged, plain)
        assert_stopped(answer, "landlock: ABI 0 is below ABI")
    finally:
        wait_until(lambda: not (session / "cgroup.procs").read_text(), "the end of the session")
        session.rmdir()


def test_a_proof_counts_for_one_binary_and_boot(ws: Cli) -> None:
    ws.ok(["exec", "--require", "ns", "--", *SAYS_IT_RAN])
    proof = ws.state / "proof.json"
    made = json.loads(proof.read_text())
    (one,) = made["proofs"]
    other = one | {"circumstances": "0" * 64}
    proof.write_text(json.dumps({"proofs": [other]}))
    answer = run_after(refusing(WITHOUT_LANDLOCK), ws, ["--json", "exec", "--", *SAYS_IT_RAN])
    assert json.loads(answer.stdout)["stdout"] == "ran-42\n"
    ws.ok(["exec", "--require", "ns", "--", *SAYS_IT_RAN])
    # Those of other circumstances stay: they may be had again.
    assert json.loads(proof.read_text()) == {"proofs": [other, one]}


def test_the_probe_is_of_no_use_by_itself(shared: Cli) -> None:
    done = subprocess.run([shared.binary, "probe"], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=SECONDS_MAX, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (22, b"")
