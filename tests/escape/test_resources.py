"""A script that wants to use up the host, or to outlive its limits, with limits that bite at once.

A test's name begins with the attack's id; see attack_table.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bailiff_cli import USER, Bench, Cli
from e2e_tools import PYTHON, Held, is_locked, python, running_ids, wait_until
from host import Host
from leftovers import in_environment
from peak import RSS_BYTES_MAX, json_and_peak
from sample import FULL

RUNS = 100 if FULL else 8
PROCESSES = 3000 if FULL else 300
only_privileged = pytest.mark.parametrize("tier", ["privileged"], indirect=True)


def run(cli: Cli, code: str, *options: str) -> dict[str, Any]:
    return cli.json(["exec", "--mode", "discard", *options, *python("import os, sys\n" + code)])


def test_c01_a_fork_bomb_stays_within_its_limit(host: Host, ws: Cli) -> None:
    """Each child is counted when it begins, and none ends before the count is read."""
    document = run(ws, """
import errno, signal, time
first, refused = os.getpid(), set()
log = os.open('/tmp/log', os.O_CREAT | os.O_WRONLY | os.O_APPEND)
end = time.monotonic() + 1
while time.monotonic() < end:
    try:
        if os.fork() == 0: os.write(log, b'x')
    except OSError as error:
        refused.add(errno.errorcode[error.errno])
        time.sleep(0.01)
    if os.fstat(log).st_size > 500: break
while os.getpid() != first: signal.pause()
print(os.fstat(log).st_size, *refused)
""", "--pids", "24", "--timeout", "20")
    assert document["status"] == "succeeded", document
    count, *refused = document["stdout"].split()
    assert refused == ["EAGAIN"], document
    assert 10 <= int(count) < 24, document
    host.check(ws, document["execution_id"])


HOG = """
import ctypes, fcntl, mmap, socket
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
MIB = 1 << 20
left, held = {bytes_max}, []
def take(size):
    # Nothing has stopped it: it ends by itself.
    global left
    left -= size
    if left < 0:
        print('not limited', flush=True)
        os._exit(0)
def in_each_of(count, action):
    ours, theirs = socket.socketpair()
    if not all(os.fork() for _ in range(count)):
        action()
        theirs.send(b'x')
        while True: os.read(os.pipe()[0], 1)
    for _ in range(count): ours.recv(1)
    take(1 << 40)
def open_all():
    try:
        while True: held.append(socket.socket())
    except OSError: assert len(held) > 4000
def fill(one):
    one.setblocking(False)
    try:
        while True: take(one.send(b'x' * 65536))
    except BlockingIOError: pass
def memory_file():
    fd = os.memfd_create('x')
    os.write(fd, b'x' * MIB)
    take(MIB)
    return fd
"""
HOGS = {
    "memory": "while True: held.append(bytearray(b'x' * MIB)); take(MIB)",
    "memory of many processes": "in_each_of(8, lambda: held.append(bytearray(b'x' * (12 * MIB))))",
    "page tables": """
held = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)
for at in range(0, 1 << 40, 2 * MIB): held[at]; take(4096)
""",
    "files without a name": "while True: memory_file()",
    "files on their way through a socket": """
one, other = socket.socketpair()
while True:
    fd = memory_file()
    socket.send_fds(one, [b'x'], [fd]); os.close(fd)
""",
    "socket buffers": "while True: held.append(socket.socketpair()); fill(held[-1][0])",
    "pipe buffers": """
while True:
    held.append(os.pipe())
    os.set_blocking(held[-1][1], False)
    fcntl.fcntl(held[-1][1], fcntl.F_SETPIPE_SZ, MIB)
    take(os.write(held[-1][1], b'x' * MIB))
""",
    "descriptors": """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
in_each_of(4, open_all)
""",
    "segments of System V": """
while True:
    segment = libc.shmget(0, MIB, 0o1600)
    assert segment >= 0
    at = libc.shmat(segment, None, 0)
    ctypes.memset(at, 120, MIB); libc.shmdt(ctypes.c_void_p(at)); take(MIB)
""",
}  # fmt: skip
# Without a cgroup, a watchdog adds up what the processes have mapped. SECURITY.md says that this is
# not limited then; a test that finds it limited, or cannot take it at all, fails.
NOT_LIMITED_WITHOUT_A_CGROUP = {
    "page tables": "memory of the kernel",
    "files without a name": "not mapped by any process",
    "files on their way through a socket": "not mapped by any process",
    "socket buffers": "memory of the kernel",
    "pipe buffers": "memory of the kernel",
    "descriptors": "memory of the kernel",
    "segments of System V": "not mapped by any process",
}
MEMORY_MIB = 32


@pytest.mark.parametrize("hog", HOGS)
def test_c02_c03_memory_of_every_kind_is_limited(host: Host, ws: Cli, hog: str) -> None:
    limits = run(ws, "")["guarantees"]["limits"]
    assert limits != "rlimits" or not ws.is_privileged
    is_limited = limits != "rlimits" or hog not in NOT_LIMITED_WITHOUT_A_CGROUP
    bytes_max = 1 << 40 if is_limited else (MEMORY_MIB + 8) << 20
    code = HOG.replace("{bytes_max}", str(bytes_max)) + HOGS[hog]
    document = run(ws, code, "--memory", f"{MEMORY_MIB}m", "--scratch", "8m", "--timeout", "30", "--pids", "64")
    if is_limited:
        assert document["status"] == "oom_killed", document
    else:
        assert (document["status"], document["stdout"]) == ("succeeded", "not limited\n"), document
    if ws.is_privileged:
        assert document["usage"]["memory_peak_bytes"] <= 48 << 20, document["usage"]
    host.check(ws, document["execution_id"])


def test_c04_c05_scratch_ends_where_it_should(host: Host, ws: Cli) -> None:
    document = run(ws, """
import errno
def attempt(name, action):
    try: action()
    except OSError as error: print(name, errno.errorcode[error.errno])
def write(path):
    with open(path, 'wb', buffering=0) as file:
        while True: file.write(b'x' * 65536)
def names(folder):
    for n in range(1 << 20): os.close(os.open(f'{folder}/{n}', os.O_CREAT))
for path in ('/workspace/a', '/tmp/a', '/dev/shm/a'):
    attempt(path, lambda: write(path))
    attempt(path, lambda: os.posix_fallocate(os.open(path, os.O_RDWR), 0, 1 << 30))
    os.unlink(path)
attempt('names', lambda: names('/tmp'))
""", "--scratch", "4m", "--files", "100")
    lines = document["stdout"].split()
    assert lines[1::2] == ["ENOSPC"] * 7, document
    assert document["usage"]["scratch_bytes"] <= 4 << 20
    host.check(ws, document["execution_id"])


def test_c06_a_file_of_four_terabytes_of_nothing_costs_nothing(host: Host, ws: Cli) -> None:
    document, peak = json_and_peak(ws, ["exec", "--mode", "review", *python(
        "import os; os.truncate(os.open('/workspace/Reports/huge', os.O_CREAT | os.O_RDWR), 4 << 40)")])
    refused = [entry["path"] for entry in document["changes"]["refused"]]
    assert (document["changes"]["state"], refused) == ("none", ["Reports/huge"]), document
    kept = sum(path.stat().st_blocks for path in (ws.workspace / ".bailiff").rglob("*") if path.is_file())
    assert kept * 512 < 1 << 20
    assert 1 << 20 < peak < RSS_BYTES_MAX
    host.check(ws, document["execution_id"])


def test_c07_copying_a_large_file_up_meets_the_limit(host: Host, ws: Cli) -> None:
    large = ws.write("projects/large", b"x" * (16 << 20))
    document = run(ws, """
import errno
path = '/workspace/projects/large'
try: os.chmod(path, 0o600); print('done')
except OSError as error: print(errno.errorcode[error.errno])
try: os.open(path, os.O_RDWR); print('done')
except OSError as error: print(errno.errorcode[error.errno])
""", "--scratch", "8m")
    # A change of mode copies nothing where the overlay keeps attributes apart.
    expected = "done\nENOSPC\n" if ws.is_privileged else "ENOSPC\nENOSPC\n"
    assert document["stdout"] == expected, document
    assert large.stat().st_size == 16 << 20
    host.check(ws, document["execution_id"])


@pytest.mark.parametrize("flood", ["yes | head -c 100M", "head -c 100M /dev/zero", "yes | head -c 100M >&2"])
def test_c08_a_flood_of_output_is_counted_and_not_kept(host: Host, ws: Cli, flood: str) -> None:
    command = ["exec", "--mode", "discard", "--output", "64k", "--", "/bin/sh", "-c", flood]
    document, peak = json_and_peak(ws, command)
    assert document["status"] == "succeeded", document
    assert document["stdout_truncated"] or document["stderr_truncated"]
    assert 1 << 20 < peak < RSS_BYTES_MAX
    host.check(ws, document["execution_id"])


def test_c09_a_descendant_that_keeps_the_output_open_ends_with_the_run(host: Host, ws: Cli) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(1000)
    os._exit(0)
print('done', flush=True)
"""
    marker = f"{host.token}-c09"
    with subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, env={"MARKER": marker}) as outside:
        assert outside.wait(timeout=60) == 0
        with pytest.raises(subprocess.TimeoutExpired):
            outside.communicate(timeout=0.5)
        for left in in_environment(marker):
            os.kill(left, signal.SIGKILL)
    document = run(ws, code, "--timeout", "60")
    assert (document["status"], document["stdout"]) == ("succeeded", "done\n"), document
    assert document["duration_seconds"] < 30
    host.check(ws, document["execution_id"])


def test_c14_nothing_that_a_script_writes_goes_to_a_disk(host: Host, ws: Cli) -> None:
    code = """
written = lambda: int(open('/proc/self/io').read().split('\\nwrite_bytes: ')[1].split()[0])
before = written()
for n in range(4):
    for folder in sys.argv[1:]:
        with open(f'{folder}/{n}', 'wb') as file:
            file.write(b'x' * (1 << 20)); file.flush(); os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    os.sync()
print(written() - before)
"""
    code = f"import os, sys\n{code}"
    outside = subprocess.check_output([PYTHON, "-c", code, host.folder])
    assert int(outside) >= 4 << 20, "the tests' folder lies in memory: nothing is shown"
    document = ws.json(["exec", "--mode", "discard", *python(code, "/workspace/Reports", "/tmp", "/dev/shm")])
    assert document["stdout"] == "0\n", document
    host.check(ws, document["execution_id"])


def test_c10_c18_nothing_outlives_the_timeout(host: Host, ws: Cli) -> None:
    """Stopped, deaf, detached, in a new session, parked in vfork; and after blows at the supervisor."""
    document = run(ws, """
import ctypes, resource, signal, time
libc = ctypes.CDLL(None)
for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM):
    for pid in (1, os.getppid()):
        try: os.kill(pid or 1, number)
        except OSError: pass
for limit in (resource.RLIMIT_CPU,): resource.setrlimit(limit, (1000, 1000))
signal.setitimer(signal.ITIMER_REAL, 1000)
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
def idle():
    while True: time.sleep(1000)
if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP); idle()
if os.fork() == 0: os.setsid(); idle()
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    os.close(1); os.close(2); idle()
if os.fork() == 0: libc.syscall(58); libc.pause()
print('started', flush=True)
idle()
""", "--timeout", "1")
    assert (document["status"], document["stdout"]) == ("timed_out", "started\n"), document
    host.check(ws, document["execution_id"])


def is_killed(pid: int) -> bool:
    """Whether a process is gone, or would be if it did not wait for something else."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask & 1 << signal.SIGKILL - 1 for mask in pending) or "State:\tZ" in status


def test_c11_a_file_system_that_never_answers_holds_up_nothing_else(
    host: Host, bench: Bench, tier: str
) -> None:
    """Nothing ends a process whose request the file system has taken and does not answer: it is
    killed in time, and gone, with its run, when the file system goes on."""
    cli, other = bench.cli(tier), bench.workspace(tier)
    source = cli.own(bench.folder(USER))
    cli.workspace.mkdir()
    command = ["bindfs", "-f", "-o", "allow_other", source, cli.workspace]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as bindfs:
        try:
            wait_until(lambda: os.path.ismount(cli.workspace), "bindfs")
            cli.ok(["init", cli.workspace])
            (source / "file").write_text("x")
            code = "print(open('/workspace/file').read())"
            with Held(cli, code, ["--mode", "discard", "--timeout", "2"]) as held:
                execution = running_ids(cli)[0]
                bindfs.send_signal(signal.SIGSTOP)
                held.process.stdin.close()
                held.process.stdin = None
                wait_until(lambda: all(map(is_killed, in_environment(execution))), "the timeout")
                assert run(other, "print('fine')")["stdout"] == "fine\n"
                bindfs.send_signal(signal.SIGCONT)
                held.process.communicate(timeout=60)
            assert cli.json(["show", execution])["status"] == "timed_out"
        finally:
            bindfs.send_signal(signal.SIGCONT)
            subprocess.run(["umount", cli.workspace], check=False)
    host.check(cli, execution)


def test_c12_a_storm_of_short_processes_ends_nothing_else(host: Host, ws: Cli) -> None:
    document = run(ws, f"""
for _ in range({PROCESSES}):
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
print('done')
""")
    assert document["stdout"] == "done\n", document
    host.check(ws, document["execution_id"])


@only_privileged
def test_c16_what_a_user_has_once_is_not_shared_between_runs(host: Host, ws: Cli) -> None:
    """A rootless sandbox shares its user's; that is said in SECURITY.md."""
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
count = 0
while libc.inotify_init1(0) >= 0: count += 1
print(count, flush=True)
"""
    with Held(ws, code + "sys.stdin.read()\n") as first:
        uid = uid_of_sandbox(first)
        assert uid >= 2_000_000_000
        second = run(ws, code)
        answer = first.let_go()
    assert int(second["stdout"]) > 0
    assert int(answer.stdout.split()[1]) == int(second["stdout"]), "one has taken from the other"
    wait_until(lambda: not is_locked(Path(f"/run/bailiff/uid/{uid}")), "the end of the uid's lease")
    host.check(ws, second["execution_id"])


def uid_of_sandbox(held: Held) -> int:
    """The host's uid of a program that is held."""
    listed = held.cli.json(["list", "--status", "running"])["executions"]
    pids = in_environment(listed[0]["execution_id"])
    assert pids
    return os.stat(f"/proc/{pids[0]}").st_uid


def test_nothing_adds_up_over_many_runs(host: Host, ws: Cli) -> None:
    """Of what lies outside of Bailiff's processes; ConfinementTest looks at what is inside one."""
    ids = [run(ws, "open('/tmp/x', 'w'); os.fork()")["execution_id"] for _ in range(RUNS)]
    for execution in ids:
        host.check(ws, execution)
    assert not any(execution in name for execution in ids for name in os.listdir("/tmp"))
