"""Workspaces on FUSE. bindfs stands in for a bucket mount: a folder of the disk without extended
attributes and without the flags of renameat2(2).

As root, `FuseMounts` moves this process to a mount namespace of its own, in which ordinary users
may let others into their mounts: the host sees nothing of it, and the mounts end with the process.
"""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
from pathlib import Path

# Whom the mount of the privileged tier presents as the owner of everything: a sandbox has to be
# that user, so it must not be root.
OWNER = 54322

# Tests of tests/e2e that find something else there, and why that has to be so.
DIFFERENT = {
    "test_workspaces.py::test_a_copy_takes_over_when_the_original_is_gone":
        "FUSE may give other inode numbers with every mount, so a copy whose original is gone "
        "cannot be told from a workspace that was renamed: it works without --adopt",
}  # fmt: skip

CLONE_NEWNS = 0x00020000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000


class FuseMount:
    """One bindfs mount of a fresh folder, served by `uid`; `others` may use it, or only `uid`."""

    def __init__(
        self, root: Path, uid: int, others: bool = True, owner: int | None = None,
        options: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        self.backing = root / "backing"
        self.point = root / "mount"
        root.mkdir(mode=0o755)
        for folder in (self.backing, self.point):
            folder.mkdir(mode=0o755)
            os.chown(folder, uid, uid)
        os.chown(root, uid, uid)
        command = ["bindfs", "--xattr-none", *options]
        if owner is not None:
            command += ["-u", str(owner), "-g", str(owner)]
        command += ["-o", "allow_other"] if others else ["--no-allow-other"]
        who = {} if uid == os.geteuid() else {"user": uid, "group": uid, "extra_groups": []}
        subprocess.run([*command, self.backing, self.point], check=True, cwd="/", **who)

    def close(self) -> None:
        subprocess.run(["fusermount3", "-u", "-z", self.point], check=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


class FuseMounts:
    """The mounts on which the workspaces of a run of the tests lie: one for each tier."""

    def __init__(self, root: Path, user: int) -> None:
        self.root = root
        self._mounts: dict[int, FuseMount] = {}
        if os.geteuid() == 0:
            let_users_mount(root, user)

    def folder(self, uid: int, name: str) -> Path:
        """A fresh folder on the mount of that user's tier."""
        if uid not in self._mounts:
            owner = OWNER if uid == 0 else None
            others = os.geteuid() == 0  # An ordinary user may not, and need not.
            self._mounts[uid] = FuseMount(self.root / f"fuse-{uid}", uid, others, owner)
        path = self._mounts[uid].point / name
        path.mkdir(mode=0o755)
        os.chown(path, uid, uid)
        return path

    def close(self) -> None:
        for mount in self._mounts.values():
            mount.close()


def let_users_mount(scratch: Path, user: int) -> None:
    """From here on `user` may mount FUSE and say allow_other, as seen by this process only."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(CLONE_NEWNS), "unshare")
    _check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    config = scratch / "fuse.conf"
    config.write_text("user_allow_other\n")
    device = scratch / "fuse"  # Containers have it for root only.
    os.mknod(device, stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
    device.chmod(0o666)
    accounts = scratch / "passwd"  # fusermount3 asks for the user's name.
    accounts.write_text(f"{Path('/etc/passwd').read_text()}mounter:x:{user}:{user}::/:/bin/sh\n")
    for ours, place in ((config, "/etc/fuse.conf"), (device, "/dev/fuse"), (accounts, "/etc/passwd")):
        bound = libc.mount(os.fsencode(ours), os.fsencode(place), None, MS_BIND, None)
        _check(bound, f"bind {place}")
