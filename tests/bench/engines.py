"""Ways to run the same script: bare, in Bailiff, and in each of its peers that this machine has."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

PYTHON = "/usr/bin/python3"
SCRIPT = "print('hi')\nopen('bench.txt', 'w').write('bench\\n')\n"
USER = 54321  # Any uid that is not root's.
CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x44000
MNT_DETACH = 2
LIBC = ctypes.CDLL(None, use_errno=True)
LINKS = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}


@dataclass
class Engine:
    """One row: a command, and what its process is before it becomes that."""

    name: str
    argv: list[str]
    workspace: pathlib.Path
    user: int | None = None
    mount_namespace: int | None = None  # A descriptor.
    samples: list[float] = field(default_factory=list)

    def run(self) -> float:
        """Seconds from before the fork until the command is reaped. All rows start the same way."""
        (self.workspace / "bench.txt").unlink(missing_ok=True)
        begin = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            self._become()
        _, status = os.waitpid(pid, 0)
        seconds = time.perf_counter() - begin
        if status != 0:
            raise RuntimeError(f"{self.name}: status {status}: {' '.join(self.argv)}")
        return seconds

    def _become(self) -> None:
        try:
            if self.mount_namespace is not None:
                check(LIBC.setns(self.mount_namespace, CLONE_NEWNS), "setns")
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if self.user is not None:
                os.setgroups([])
                os.setresgid(self.user, self.user, self.user)
                os.setresuid(self.user, self.user, self.user)
            os.chdir(self.workspace)
            os.execv(self.argv[0], self.argv)
        finally:
            os._exit(127)


def check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


class Places:
    """Workspaces, bundles and namespaces that the engines need, below one temporary directory."""

    def __init__(self, top: pathlib.Path, binary: str) -> None:
        self.top = top
        # The repository may lie where another user cannot go.
        self.binary = shutil.copy2(binary, top / "bailiff")
        os.chmod(self.binary, 0o755)
        self.rootfs = top / "rootfs"
        self._holder: int | None = None
        top.chmod(0o755)
        for name in ("usr", "proc", "dev", "tmp", "sys", "etc", "workspace"):
            (self.rootfs / name).mkdir(parents=True)
        for name, target in LINKS.items():
            (self.rootfs / name).symlink_to(target)

    def close(self) -> None:
        if self._holder is not None:
            os.kill(self._holder, signal.SIGKILL)
            os.waitpid(self._holder, 0)

    def bailiff(self, workspace: pathlib.Path) -> list[str]:
        return [str(self.binary), "--workspace", str(workspace), "--state", f"{workspace}.state", "-q"]

    def make_workspace(self, name: str, user: int | None = None) -> pathlib.Path:
        place = self.top / (f"user{user}" if user else "root")
        place.mkdir(exist_ok=True)
        if user:
            os.chown(place, user, user)
        workspace = place / name
        subprocess.run([self.binary, "init", str(workspace), "--state", f"{workspace}.state"],
                       check=True, stdout=subprocess.DEVNULL, user=user, group=user,
                       extra_groups=[] if user else None)  # fmt: skip
        self.put(workspace, "bench.py", SCRIPT)
        return workspace

    @staticmethod
    def put(workspace: pathlib.Path, name: str, text: str) -> str:
        (workspace / "Tools" / name).write_text(text)
        return f"Tools/{name}"

    def without_unified_cgroups(self) -> int | None:
        """A mount namespace for engines that refuse v1 and v2 side by side; none is needed else."""
        if not os.path.ismount("/sys/fs/cgroup/unified"):
            return None
        ready, says = os.pipe()
        self._holder = os.fork()
        if self._holder == 0:
            try:
                check(LIBC.unshare(CLONE_NEWNS), "unshare")
                check(LIBC.mount(None, b"/", None, MS_REC_PRIVATE, None), "make private")
                check(LIBC.umount2(b"/sys/fs/cgroup/unified", MNT_DETACH), "umount")
                os.write(says, b"1")
                signal.pause()
            finally:
                os._exit(1)
        os.close(says)
        if os.read(ready, 1) != b"1":
            raise RuntimeError("could not make a mount namespace")
        return os.open(f"/proc/{self._holder}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def bundle(self, workspace: pathlib.Path) -> pathlib.Path:
        """An OCI bundle whose root is made of the host's own directories."""
        place = self.top / "bundle"
        place.mkdir()
        mounts = [{"destination": "/proc", "type": "proc", "source": "proc"},
                  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                  {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]
        for source, target, mode in (("/usr", "/usr", "ro"), ("/etc", "/etc", "ro"),
                                     (str(workspace), "/workspace", "rw")):
            mounts.append({"destination": target, "type": "bind", "source": source,
                           "options": ["rbind", mode]})
        spaces = ("pid", "mount", "ipc", "uts", "network")
        (place / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.2",
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "cwd": "/workspace",
                        "args": [PYTHON, "/workspace/Tools/bench.py"],
                        "env": ["PATH=/usr/bin:/bin"], "noNewPrivileges": True},
            "root": {"path": str(self.rootfs), "readonly": True}, "hostname": "bench",
            "mounts": mounts,
            "linux": {"namespaces": [{"type": space} for space in spaces]}}))  # fmt: skip
        return place


def find_engines(places: Places) -> tuple[list[Engine], dict[str, str]]:
    """The rows that this machine can have, and why it cannot have the others."""
    root, user = places.make_workspace("ws"), places.make_workspace("ws", USER)
    script = "Tools/bench.py"
    engines = [Engine("bare python3", [PYTHON, script], root),
               Engine("bare python3, ordinary user", [PYTHON, script], user, USER)]
    for mode in ("discard", "commit"):
        run = ["run", "--mode", mode, script]
        engines += [Engine(f"bailiff --mode {mode}, root", places.bailiff(root) + run, root),
                    Engine(f"bailiff --mode {mode}, ordinary user", places.bailiff(user) + run,
                           user, USER)]  # fmt: skip
    peers = {
        "bwrap --unshare-all": bwrap,
        "crun run": oci,
        "runc run": oci,
        "podman run --network none": podman,
        "docker run --network none": docker,
    }
    absent: dict[str, str] = {}
    namespace = places.without_unified_cgroups()
    bundle = places.bundle(root)
    for name, make in peers.items():
        program = shutil.which(name.split()[0])
        if program is None:
            absent[name] = "not installed"
            continue
        try:
            engine = Engine(name, make(program, root, bundle, places), root)
            if name.split()[0] in ("crun", "podman"):
                engine.mount_namespace = namespace
            engine.run()
            engines.append(engine)
        except (RuntimeError, OSError) as error:
            absent[name] = str(error)
    return engines, absent


def bwrap(program: str, workspace: pathlib.Path, _bundle: pathlib.Path, _: Places) -> list[str]:
    links = [word for name, to in LINKS.items() for word in ("--symlink", to, f"/{name}")]
    return [program, "--unshare-all", "--ro-bind", "/usr", "/usr", *links, "--proc", "/proc",
            "--dev", "/dev", "--tmpfs", "/tmp", "--bind", str(workspace), "/workspace",
            "--chdir", "/workspace", PYTHON, "/workspace/Tools/bench.py"]  # fmt: skip


def oci(program: str, _workspace: pathlib.Path, bundle: pathlib.Path, _: Places) -> list[str]:
    return [program, "run", "--bundle", str(bundle), f"bailiff-bench-{os.getpid()}"]


def podman(program: str, workspace: pathlib.Path, _bundle: pathlib.Path,
           places: Places) -> list[str]:  # fmt: skip
    return [program, "--runtime", "crun", "--cgroup-manager", "cgroupfs", "run", "--rm",
            "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
            "-v", "/usr:/usr:ro", "-v", f"{workspace}:/workspace", "-w", "/workspace", "--rootfs",
            str(places.rootfs), PYTHON, "/workspace/Tools/bench.py"]  # fmt: skip


def docker(program: str, workspace: pathlib.Path, _bundle: pathlib.Path,
           places: Places) -> list[str]:  # fmt: skip
    if subprocess.run([program, "info"], capture_output=True, check=False).returncode != 0:
        raise RuntimeError("no daemon answers")
    tar = subprocess.run(["tar", "-C", str(places.rootfs), "-c", "."], check=True,
                         capture_output=True)  # fmt: skip
    subprocess.run([program, "import", "-", "bailiff-bench"], input=tar.stdout, check=True,
                   capture_output=True)  # fmt: skip
    return [program, "run", "--rm", "--network", "none", "-v", "/usr:/usr:ro", "-v",
            f"{workspace}:/workspace", "-w", "/workspace", "bailiff-bench", PYTHON,
            "/workspace/Tools/bench.py"]  # fmt: skip
