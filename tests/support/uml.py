"""Boots Debian's User-Mode-Linux 6.1, with this machine's files as its root and an ext4 image of its
own to work on.

    with uml.start(place, image, program) as machine:
        word = machine.wait_for("READY")          # what say("READY ...") printed in the guest
        machine.cut_power()

`program` is Python, run as the guest's process 1 after the mounts; it has say(), sh() and WORK.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from bailiff_cli import cannot_run

MODULES = Path("/usr/lib/uml/modules")
BOOT_SECONDS_MAX = 120
WORK = Path("/run/t")  # Where the guest has its image.

# What process 1 does before the program. The files of this machine stay as they are: the guest writes
# to its image and to file systems in memory.
PRELUDE = r"""#!/usr/bin/python3
import json, os, pathlib, subprocess, sys, traceback
os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
WORK = pathlib.Path("WORK_PATH")
def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
def say(*words):
    os.write(1, ("@@ " + " ".join(map(str, words)) + "\n").encode())
def power_off():
    os.chdir("/")
    sh(f"umount {WORK}")
    subprocess.run(["/sbin/poweroff", "-f"])
try:
    sh("mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run")
    sh(f"mkdir -p {WORK}; mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    sh(f"insmod OVERLAY && mount -t ext4 /dev/ubda {WORK}")
    PROGRAM()
except BaseException:
    say("ERROR", json.dumps(traceback.format_exc()))
subprocess.run(["/sbin/poweroff", "-f"])
"""


def require() -> tuple[str, Path]:
    """The kernel and its overlay module; ends the test where they are missing."""
    kernel = shutil.which("linux.uml")
    overlays = sorted(MODULES.glob("*/kernel/fs/overlayfs/overlay.ko*"))
    if kernel is None or not overlays or os.geteuid() != 0:
        cannot_run("needs root and the packages user-mode-linux and kmod")
    return str(kernel), overlays[-1]


def make_image(path: Path, size_mib: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)
    return path


class Machine:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said: list[str] = []  # In order.
        self._console = b""
        self._rest = b""

    def hear(self, deadline: float) -> str | None:
        """The next words of the guest; nothing at the deadline or after its end."""
        assert self.process.stdout is not None
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                if b"@@ " in line:
                    words = line.split(b"@@ ", 1)[1].decode(errors="replace").strip()
                    assert not words.startswith("ERROR"), words
                    self.said.append(words)
                    return words
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                return None
            read = os.read(self.process.stdout.fileno(), 65536)
            if not read:
                return None
            self._console = (self._console + read)[-4000:]
            self._rest += read

    def wait_for(self, word: str, seconds: float = BOOT_SECONDS_MAX) -> str:
        """What the guest says next that begins with `word`, without it."""
        deadline = time.monotonic() + seconds
        while (words := self.hear(deadline)) is not None:
            if words.split(" ", 1)[0] == word:
                return words[len(word) + 1 :]
        raise AssertionError(f"the guest never said {word}: {self._console.decode(errors='replace')}")

    def wait(self, seconds: float = BOOT_SECONDS_MAX) -> None:
        """Until it has turned itself off."""
        deadline = time.monotonic() + seconds
        while self.hear(deadline) is not None:
            pass
        self.process.wait(timeout=10)

    def cut_power(self) -> None:
        """What it had not written to its image is gone."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=60)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()
        assert self.process.stdout is not None
        self.process.stdout.close()


def start(place: Path, image: Path, program: str, memory: str = "1G") -> Machine:
    kernel, overlay = require()
    init = place / "init"
    body = "\n".join("    " + line for line in program.strip().splitlines())
    text = PRELUDE.replace("    PROGRAM()", body).replace("WORK_PATH", str(WORK))
    init.write_text(text.replace("OVERLAY", str(overlay)))
    init.chmod(0o755)
    return Machine(subprocess.Popen(
        [kernel, f"mem={memory}", f"ubda={image}", "root=/dev/root", "rootfstype=hostfs", "rw",
         "quiet", f"init={init}", "con=null", "con0=null,fd:1"],
        cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True))  # fmt: skip
