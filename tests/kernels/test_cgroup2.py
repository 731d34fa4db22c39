"""Bailiff on an older kernel that has cgroup v2 alone: Debian's User-Mode-Linux 6.1, booted with
this machine's files as its root and an ext4 image of its own to work on."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("BAILIFF_BINARY", REPO / "build/bailiff"))
MODULES = pathlib.Path("/usr/lib/uml/modules")
BOOT_SECONDS = 120

# What process 1 of that kernel does: one command per line of the plan, results as JSON.
INIT = r"""#!/usr/bin/python3
import json, os, subprocess, sys
os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
results = {}
try:
    sh("mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run")
    sh("mkdir -p /run/t && mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    sh("insmod OVERLAY && mount -t ext4 /dev/ubda /run/t")
    sh("BINARY init /run/t/ws --state /run/t/state")
    os.chdir("/run/t/ws")
    for name, arguments in json.loads(PLAN).items():
        run = subprocess.run(["BINARY", "exec", "--json", *arguments], capture_output=True,
                             stdin=subprocess.DEVNULL)
        results[name] = {"exit": run.returncode, "document": json.loads(run.stdout)}
    sh("cp BINARY /run/t/bailiff && chmod 755 /run/t/bailiff")
    # A /tmp of this kernel, not of the machine below.
    own = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /tmp && exec "$@"', "sh"]
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    for name, prefix in {"doctor": [], "rootless doctor": user}.items():
        run = subprocess.run([*own, *prefix, "/run/t/bailiff", "doctor", "--json"], capture_output=True,
                             stdin=subprocess.DEVNULL)
        results[name] = {"exit": run.returncode, "document": json.loads(run.stdout)}
    run = subprocess.run([*own, "/run/t/bailiff", "exec", "--require", "landlock", "--", "echo", "ran"],
                         capture_output=True, stdin=subprocess.DEVNULL)
    results["landlock"] = {"exit": run.returncode, "out": run.stdout.decode(),
                           "err": run.stderr.decode()}
    left = subprocess.run("find /sys/fs/cgroup -name 'exec_*'", shell=True, capture_output=True)
    results["cgroups left"] = left.stdout.decode().split()
except BaseException as error:
    results["error"] = repr(error)
with open("RESULTS", "w") as file:
    json.dump(results, file)
    file.flush()
    os.fsync(file.fileno())
subprocess.run(["/sbin/poweroff", "-f"])
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
    kernel = shutil.which("linux.uml")
    overlays = sorted(MODULES.glob("*/kernel/fs/overlayfs/overlay.ko*"))
    if kernel is None or not overlays or os.geteuid() != 0:
        why = "needs root and the packages user-mode-linux and kmod"
        if os.environ.get("BAILIFF_TESTS_MUST_RUN"):
            pytest.fail(why)
        pytest.skip(why)
    place = tmp_path_factory.mktemp("uml")
    image, init, out = place / "disk", place / "init", place / "results.json"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    text = INIT.replace("PLAN", repr(json.dumps(PLAN))).replace("OVERLAY", str(overlays[-1]))
    init.write_text(text.replace("BINARY", str(BINARY.resolve())).replace("RESULTS", str(out)))
    init.chmod(0o755)
    subprocess.run([kernel, "mem=2G", f"ubda={image}", "root=/dev/root", "rootfstype=hostfs", "rw",
                    f"init={init}", "con=null", "con0=null,fd:1"], cwd=place, check=False,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=BOOT_SECONDS)
    found = json.loads(out.read_text())
    assert "error" not in found, found["error"]
    return found


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
