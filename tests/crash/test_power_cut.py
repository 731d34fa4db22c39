"""Power cuts: a User-Mode-Linux machine is killed while it commits and rolls back on an ext4 image of
its own, and boots again. What its page cache had not written is gone.

Each change set moves a directory, changes, makes and removes files, so that a state of the workspace
is told by one number, and anything between two states is seen.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
import uml  # noqa: E402
from bailiff_cli import find_binary  # noqa: E402
from sample import FULL, SEED  # noqa: E402

CUTS_FULL = 20
CUTS_SAMPLE = 2
BOOT_SECONDS_MAX = 180

GUEST = r"""
work = str(WORK)
def bailiff(*words, may_fail=False):
    done = subprocess.run(["BINARY", "--workspace", work + "/ws", "--state", work + "/state",
                           *words], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0 and not may_fail:
        raise Exception(f"bailiff {words}: {done}")
    return done
STEP = '''set -e; n=$(cat Reports/number); m=$((n + 1))
mv projects/at-$n projects/at-$m; echo $m > Reports/number.new; mv Reports/number.new Reports/number
head -c 20000 /dev/zero | tr '\\0' $((m % 10)) > Reports/made-$m; rm -f Reports/made-$((m - 2))
ln -s $m projects/at-$m/link-$m; chmod $((600 + m % 2 * 44)) projects/at-$m/kept
'''
def listed(folder):
    return sorted(os.listdir(work + "/ws/" + folder))
def state():
    # The number, if all that goes with it is as it has to be.
    try:
        n = int(open(work + "/ws/Reports/number").read())
    except OSError as error:
        return str(error)
    made = sorted(["number"] + [f"made-{i}" for i in (n, n - 1) if i > 0])
    inside = f"projects/at-{n}"
    if listed("Reports") != made or listed("projects") != [f"at-{n}"]:
        return f"{n}: {listed('Reports')} {listed('projects')}"
    if listed(inside) != sorted(["kept"] + [f"link-{i + 1}" for i in range(n)]):
        return f"{n}: {listed(inside)}"
    for i in (n, n - 1):
        if i > 0 and open(work + f"/ws/Reports/made-{i}").read() != str(i % 10) * 20000:
            return f"{n}: bytes of made-{i}"
    mode = os.stat(work + "/ws/" + inside + "/kept").st_mode & 0o777
    if n > 0 and mode != (0o644 if n % 2 else 0o600):
        return f"{n}: mode {mode:o}"
    return n
if not os.path.exists(work + "/ws"):
    os.makedirs(work + "/ws/projects/at-0")
    os.makedirs(work + "/ws/Reports")
    open(work + "/ws/projects/at-0/kept", "w").write("kept")
    open(work + "/ws/Reports/number", "w").write("0")
    bailiff("init", work + "/ws")
    os.sync()
bailiff("gc")
documents = json.loads(bailiff("--json", "list").stdout)["executions"]
changes = {d["execution_id"]: d["changes"]["state"] for d in documents if d.get("changes")}
say("BOOTED", json.dumps({
    "state": state(), "changes": changes,
    "stage": os.listdir(work + "/ws/.bailiff/stage"), "undo": os.listdir(work + "/ws/.bailiff/undo"),
    "audit": bailiff("audit", "verify", may_fail=True).returncode}))
if LAST:
    say("OFF")
    power_off()
waiting = [execution for execution, state_of in changes.items() if state_of == "held"]
while True:
    n = state()
    if not waiting:
        done = bailiff("--json", "exec", "--mode", "review", "--memory", "64m", "--scratch", "32m",
                       "--", "sh", "-c", STEP)
        waiting.append(json.loads(done.stdout)["execution_id"])
        say("HELD", waiting[0])
    held = waiting.pop()
    say("BEGIN", n + 1, held, "committed")
    bailiff("approve", held)
    say("ACK", n + 1)
    if n % 3 == 2:
        say("BEGIN", n, held, "rolled_back")
        bailiff("rollback", held)
        say("ACK", n)
"""


class Told:
    """What the guest's console told, over all boots, and what must be true because of it."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.begun: tuple[int, str, str] | None = None  # The state after it, whose, what it becomes.
        self.held: set[str] = set()

    def hear(self, words: str) -> str:
        word, *rest = words.split()
        if word == "HELD":
            self.held.add(rest[0])
        elif word == "BEGIN":
            self.begun = (int(rest[0]), rest[1], rest[2])
        elif word == "ACK":
            self.acknowledged, self.begun = int(rest[0]), None
        return word

    def check(self, booted: dict) -> None:
        found, changes = booted["state"], booted["changes"]
        assert booted["audit"] == 0
        assert self.held <= set(changes), "a held change set is gone"
        if self.begun is None:
            assert found == self.acknowledged
        else:
            target, execution, becomes = self.begun
            assert found in {self.acknowledged, target}
            assert (found == target) == (changes[execution] == becomes), changes[execution]
        held = {execution for execution, state in changes.items() if state == "held"}
        assert set(booted["stage"]) == held
        assert not [name for name in booted["undo"] if name.endswith(".new")]
        self.acknowledged, self.begun = found, None


def boot(place: Path, image: Path, told: Told, last: bool = False) -> uml.Machine:
    guest = GUEST.replace("BINARY", str(place / "bailiff")).replace("LAST", str(last))
    machine = uml.start(place, image, guest)
    told.check(json.loads(machine.wait_for("BOOTED", BOOT_SECONDS_MAX)))
    return machine


def cut_somewhere(machine: uml.Machine, told: Told, chance: random.Random, seconds: float) -> float:
    """Lets some operations pass, and cuts the power during the next one; how long one takes."""
    for _ in range(chance.randint(0, 2)):
        while told.hear(machine.hear(time.monotonic() + BOOT_SECONDS_MAX) or "") != "BEGIN":
            pass
        began = time.monotonic()
        assert told.hear(machine.hear(time.monotonic() + BOOT_SECONDS_MAX) or "") == "ACK"
        seconds = time.monotonic() - began
    word = "BEGIN" if chance.random() < 0.8 else "HELD"
    while told.hear(machine.hear(time.monotonic() + BOOT_SECONDS_MAX) or "") != word:
        pass
    deadline = time.monotonic() + chance.uniform(0, 1.1 * seconds)
    while (words := machine.hear(deadline)) is not None:
        told.hear(words)
    machine.cut_power()
    while (words := machine.hear(time.monotonic())) is not None:  # What was said before the end.
        told.hear(words)
    return seconds


def test_what_was_acknowledged_survives_power_cuts_and_the_rest_is_all_or_nothing(tmp_path):
    uml.require()
    cuts = CUTS_FULL if FULL else CUTS_SAMPLE
    print(f"seed {SEED}, {cuts} cuts")
    chance = random.Random(SEED)
    image = uml.make_image(tmp_path / "disk", 256)
    shutil.copy2(find_binary(), tmp_path / "bailiff")
    told, seconds = Told(), 0.5
    for _ in range(cuts):
        with boot(tmp_path, image, told) as machine:
            seconds = cut_somewhere(machine, told, chance, seconds)
    with boot(tmp_path, image, told, last=True) as machine:
        machine.wait()
    checked = subprocess.run(["e2fsck", "-fn", image], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout.decode()
