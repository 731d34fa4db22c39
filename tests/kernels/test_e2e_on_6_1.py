"""The e2e suite on an older kernel that has cgroup v2 alone: Debian's User-Mode-Linux 6.1. What is
weaker there is listed, with its reason, and the list is checked both ways: what is on it must fail, and
nothing else may."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
import uml  # noqa: E402
from bailiff_cli import find_binary  # noqa: E402
from sample import FULL, of_the_e2e_suite  # noqa: E402

SAMPLE = 12  # Tests, of more than 900.
SECONDS_MAX = 4 * 3600 if FULL else 1400

# By the test that says so, why it is otherwise there.
WEAKER = {
    "test_a_script_that_writes_too_much_fails_by_it[rootless]":
        "changes are on disk and counted: one file that is too large gets EFBIG, not ENOSPC",
    "test_a_full_disk_while_staging_is_explained[privileged]":
        "the workspace is a tmpfs of root's, and tmpfs maps no ids before Linux 6.3",
    "test_a_record_that_finds_no_room_is_a_warning[privileged]":
        "the workspace is a tmpfs of root's, and tmpfs maps no ids before Linux 6.3",
}  # fmt: skip

# They take the launch on this machine's kernel apart; what doctor says of 6.1 is in test_cgroup2.py.
OF_THIS_KERNEL = ("test_doctor.py", "test_lost_layers.py", "test_speed.py")

# The image is /tmp, where the tests make their workspaces; what they read of this machine is put where
# that does not hide it.
GUEST = r"""
for name, path in {"repository": "REPOSITORY", "place": "PLACE"}.items():
    sh(f"mkdir -p /run/{name} && mount --bind {path} /run/{name}")
sh(f"mount -t tmpfs tmpfs /var/lib; mount --move {WORK} /tmp; mount -t tmpfs tmpfs /dev/shm || true")
sh("chmod 1777 /tmp; cp /run/place/bailiff /run/bailiff-under-test; ip link set lo up || true")
os.environ |= {"BAILIFF_BINARY": "/run/bailiff-under-test", "PYTHONDONTWRITEBYTECODE": "1",
               "HOME": "/tmp", "LC_ALL": "C.UTF-8", **SAMPLING}
sh("mkdir -p /tmp/rootless && chown 54321:54321 /tmp/rootless")
user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env",
        "XDG_STATE_HOME=/tmp/rootless", "/run/bailiff-under-test", "--workspace", "/tmp/rootless/ws"]
subprocess.run([*user, "init", "/tmp/rootless/ws"], check=True)
ran = subprocess.run([*user, "--json", "exec", "--", "/bin/true"], capture_output=True)
say("SCRATCH", json.loads(ran.stdout)["guarantees"]["scratch"] if ran.stdout else ran.stderr)
say("BEGIN")
os.chdir("/run/repository")
others = [f"--ignore=tests/e2e/{name}" for name in OF_THIS_KERNEL]
subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header",
                "--junitxml=/run/place/junit.xml", *others, "tests/e2e"],
               stdin=subprocess.DEVNULL, stdout=open("/run/place/log", "w"), stderr=subprocess.STDOUT)
say("END")
subprocess.run(["/sbin/poweroff", "-f"])
"""


def is_weaker(name: str) -> bool:
    return any(part in name for part in WEAKER)


def verdicts(report: Path) -> dict[str, str]:
    """By the test's own name, "" for one that passed, else what it said."""
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        trouble = [
            part.get("message") or part.tag
            for part in case
            if part.tag in {"failure", "error", "skipped"}
        ]
        module = case.get("classname", "").replace(".", "/")
        found[f"{module}.py::{case.get('name')}"] = "; ".join(trouble)
    return found


def test_the_e2e_suite_passes_but_for_what_is_listed(tmp_path: Path) -> None:
    uml.require()
    sampling = of_the_e2e_suite(SAMPLE)
    shutil.copy2(find_binary(), tmp_path / "bailiff")
    image = uml.make_image(tmp_path / "disk", 2048)
    guest = GUEST
    for word, meant in {"REPOSITORY": REPOSITORY, "PLACE": tmp_path, "SAMPLING": sampling,
                        "OF_THIS_KERNEL": OF_THIS_KERNEL}.items():  # fmt: skip
        guest = guest.replace(word, str(meant))
    with uml.start(tmp_path, image, guest, memory="6G") as machine:
        scratch = machine.wait_for("SCRATCH")
        machine.wait_for("END", SECONDS_MAX)
    assert scratch == "polled"
    found = verdicts(tmp_path / "junit.xml")
    print(sampling, *found, sep="\n")
    assert len(found) >= SAMPLE, (tmp_path / "log").read_text()[-4000:]
    unexpected = {name: said for name, said in found.items() if said and not is_weaker(name)}
    assert not unexpected
    stale = [name for name, said in found.items() if not said and is_weaker(name)]
    assert not stale, "listed as weaker on 6.1, but it passes"
