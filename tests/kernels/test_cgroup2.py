"""Bailiff on an older kernel that has cgroup v2 alone: Debian's User-Mode-Linux 6.1, booted with
this machine's files as its root and an ext4 image of its own to work on."""

import json
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
import uml  # noqa: E402
from bailiff_cli import find_binary  # noqa: E402

# One command per line of the plan, results as JSON.
GUEST = r"""
results = {}
sh(f"BINARY init {WORK}/ws --state {WORK}/state")
os.chdir(f"{WORK}/ws")
for name, arguments in json.loads(PLAN).items():
    run = subprocess.run(["BINARY", "exec", "--json", *arguments], capture_output=True,
                         stdin=subprocess.DEVNULL)
    results[name] = {"exit": run.returncode, "document": json.loads(run.stdout)}
sh(f"cp BINARY {WORK}/bailiff && chmod 755 {WORK}/bailiff")
# A /tmp of this kernel, not of the machine below.
own = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /tmp && exec "$@"', "sh"]
user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
for name, prefix in {"doctor": [], "rootless doctor": user}.items():
    run = subprocess.run([*own, *prefix, f"{WORK}/bailiff", "doctor", "--json"], capture_output=True,
                         stdin=subprocess.DEVNULL)
    results[name] = {"exit": run.returncode, "document": json.loads(run.stdout)}
run = subprocess.run([*own, f"{WORK}/bailiff", "exec", "--require", "landlock", "--", "echo", "ran"],
                     capture_output=True, stdin=subprocess.DEVNULL)
results["landlock"] = {"exit": run.returncode, "out": run.stdout.decode(),
                       "err": run.stderr.decode()}
left = subprocess.run("find /sys/fs/cgroup -name 'exec_*'", shell=True, capture_output=True)
results["cgroups left"] = left.stdout.decode().split()
pathlib.Path("RESULTS").write_text(json.dumps(results))
say("DONE")
"""

SMALL = ["--memory", "256m", "--scratch", "64m"]
PLAN = {
    "moves": [*SMALL, "--", "bash", "-c", "mv projects cases && echo x > Reports/a"],
    "memory": ["--memory", "64m", "--scratch", "32m", "--", "python3", "-c", "x = b'a' * 400_000_000"],
    "pids": [*SMALL, "--pids", "8", "--", "bash", "-c",
             "for i in $(seq 20); do sleep 0.2 & done; wait; exit 3"],
    "timeout": [*SMALL, "--timeout", "1", "--", "sleep", "60"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    place = tmp_path_factory.mktemp("uml")
    out = place / "results.json"
    guest = GUEST.replace("PLAN", repr(json.dumps(PLAN))).replace("RESULTS", str(out))
    uml.require()
    with uml.start(place, uml.make_image(place / "disk", 256),
                   guest.replace("BINARY", str(find_binary())), memory="2G") as machine:
        machine.wait_for("DONE")
    return json.loads(out.read_text())


def test_its_limits_are_cgroup_v2_and_its_overlay_privileged(results):
    guarantees = results["moves"]["document"]["guarantees"]
    assert guarantees["limits"] == "cgroup2"
    assert guarantees["overlay"] == "privileged"
    assert guarantees["uid"] == "own"


def test_a_moved_directory_is_one_move_and_is_committed(results):
    changes = results["moves"]["document"]["changes"]
    assert changes["state"] == "committed"
    assert (changes["moved"], changes["created"]) == (1, 1)


def test_too_much_memory_is_killed(results):
    assert results["memory"]["exit"] == 137
    assert results["memory"]["document"]["status"] == "oom_killed"


def test_too_many_processes_are_refused(results):
    assert results["pids"]["document"]["status"] == "limit_exceeded"


def test_the_wall_clock_ends_a_run(results):
    assert results["timeout"]["exit"] == 124


def test_no_cgroup_is_left(results):
    assert results["cgroups left"] == []


def layers(document):
    return {layer["name"]: layer for layer in document["layers"]}


def test_doctor_says_what_is_weaker_without_landlock(results):
    document = results["doctor"]["document"]
    assert results["doctor"]["exit"] == 0, document
    assert document["guarantees"]["landlock"] == 0
    found = layers(document)
    assert found["landlock"]["holds"] == "weaker" and found["landlock"]["advice"]
    assert document["can_require"][:2] == ["none", "ns"]
    assert "landlock" not in document["can_require"]


def test_landlock_that_is_demanded_is_refused(results):
    assert (results["landlock"]["exit"], results["landlock"]["out"]) == (125, "")
    assert "'landlock' does not hold here" in results["landlock"]["err"]


def test_doctor_tells_a_user_that_this_kernel_is_too_old(results):
    document = results["rootless doctor"]["document"]
    assert (results["rootless doctor"]["exit"], document["healthy"]) == (1, False)
    overlay = layers(document)["overlay"]
    assert "has no user attributes" in overlay["why"]
    assert "run Bailiff as root" in overlay["advice"]
