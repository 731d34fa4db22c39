"""One attack a row: what a script tries, and what comes of it outside and inside."""

from __future__ import annotations

from typing import NamedTuple

ANY = ""  # Outside, where the outcome depends on the host.

PROLOGUE = """
import ctypes, errno, os, resource, signal, socket, subprocess, tempfile
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    ctypes.set_errno(0)
    wide = [a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(a) for a in args]
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0: raise OSError(ctypes.get_errno(), 'call')
    return result
def own_mounts():
    # Outside: what is mounted next is not for others. Inside this is refused, like what follows.
    try: call(272, 0x20000); call(165, b'none', b'/', 0, 0x44000, 0)
    except OSError: pass
def child():
    # A process to be attacked, which ends with this one.
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        for fd in (ours.detach(), 1, 2): os.close(fd)
        theirs.send(b'x'); theirs.recv(1)
        os._exit(0)
    theirs.close(); ours.recv(1); ours.detach()
    return pid
"""


class Probe(NamedTuple):
    """`script` prints one line, or ends with an OSError, whose name then is the outcome.

    Several outcomes, for layers that not every kernel has, are joined by "|".
    """

    id: str
    name: str
    script: str
    root: str  # Outside, as root.
    user: str  # Outside, as an ordinary user.
    inside: str


PROBES = [
    Probe("B02", "program of pid 1", "os.open(f'/proc/{TARGET}/exe', os.O_PATH); print('done')",
          "done", "EACCES", "ENOENT"),
    Probe("B02", "program of the host", "open('/usr/bin/id', 'r+b').close(); print('done')",
          "done", "EACCES", "EACCES|EROFS"),
    Probe("B02", "program of Bailiff", "open(BINARY, 'r+b').close(); print('done')",
          "done", "EACCES", "ENOENT"),
    Probe("B04", "core pattern", "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY); print('done')",
          "done", "EACCES", "ENOENT"),
    Probe("B04", "caches", "os.open('/proc/sys/vm/drop_caches', os.O_WRONLY); print('done')",
          "done", "EACCES", "ENOENT"),
    Probe("B04", "limits of all", "os.open('/proc/sys/kernel/pid_max', os.O_WRONLY); print('done')",
          "done", "EACCES", "ENOENT"),
    Probe("B05", "see a cgroup mount",
          "print(any(' - cgroup' in line for line in open('/proc/self/mountinfo')))",
          "True", "True", "False"),
    Probe("B05", "mount cgroups",
          "own_mounts()\n"
          "call(165, b'none', tempfile.mkdtemp().encode(), b'cgroup2', 0, 0); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("B06", "kernel memory and logs",
          "print(any(os.path.exists('/proc/' + name) for name in\n"
          "    'kcore kallsyms keys timer_list sched_debug config.gz kmsg modules iomem slabinfo'.split()))",
          "True", "True", "False"),
    Probe("B06", "paths of the host in mounts",
          "print(any(os.path.dirname(TREE) in open('/proc/self/' + name).read()\n"
          "    or '/tmp/bailiff' in open('/proc/self/' + name).read() for name in ('mounts', 'mountinfo')))",
          ANY, ANY, "False"),  # Outside: whether something is mounted there at the moment.
    Probe("B07", "put a link into /dev",
          "os.symlink('/etc', '/dev/' + TOKEN); os.unlink('/dev/' + TOKEN); print('done')",
          "done", "EACCES", "EROFS"),
    Probe("B07", "devices are what they are called",
          "print(*[f'{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}' for s in (os.fstat(os.open('/dev/' + n,\n"
          "    os.O_RDONLY | os.O_NOFOLLOW)) for n in ('null', 'zero', 'full', 'random', 'urandom'))])",
          "1:3 1:5 1:7 1:8 1:9", "1:3 1:5 1:7 1:8 1:9", "1:3 1:5 1:7 1:8 1:9"),
    Probe("B08", "see other processes",
          "print(any(int(name) not in (os.getpid(), os.getppid())\n"
          "    for name in os.listdir('/proc') if name.isdigit()))",
          "True", "True", "False"),
    Probe("B08", "environment of a process",
          "open(f'/proc/{PID}/environ').read(); print('done')", "done", "EACCES", "ENOENT"),
    Probe("B08", "memory of pid 1",
          "open(f'/proc/{TARGET}/mem', 'rb').close(); print('done')", "done", "EACCES", "ENOENT"),
    Probe("B09", "trace a child", "call(101, 0x4206, child(), 0, 0); print('done')",
          "done", "done", "EPERM"),
    Probe("B09", "read a child's memory",
          "iov = (ctypes.c_ulong * 2)(id(iov := None), 8)\n"
          "call(310, child(), iov, 1, iov, 1, 0); print('done')",
          "done", "done", "EPERM"),
    Probe("B09", "take a child's descriptor",
          "call(438, os.pidfd_open(child()), 0, 0); print('done')", "done", "done", "EPERM"),
    Probe("B09", "compare with a child", "call(312, os.getpid(), child(), 1, 0, 0); print('done')",
          "done", "done", "EPERM"),
    Probe("B10", "signal a process of the host", "os.kill(PID, 0); print('done')",
          "done", "EPERM", "ESRCH"),
    Probe("B10", "signal a process group of the host", "os.killpg(PID, 0); print('done')",
          "done", "EPERM", "ESRCH"),
    Probe("B11", "setuid program of the host",
          "print(any(os.stat(path).st_mode & 0o4000 and not os.statvfs(path).f_flag & os.ST_NOSUID\n"
          "    for path in ('/usr/bin/su', '/usr/bin/passwd', '/usr/bin/mount')))",
          "True", "True", "False"),
    Probe("B13", "core file",
          "try: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))\n"
          "except ValueError: pass\n"
          "pid = os.fork()\n"
          "if pid == 0: os.abort()\n"
          "print(os.WCOREDUMP(os.waitpid(pid, 0)[1]))",
          "True", ANY, "False"),
    Probe("B15", "keep a key", "call(248, b'user', TOKEN.encode(), b'x', 1, -2); print('done')",
          "done", "done", "EPERM"),
    Probe("B15", "ask for a key of another", "call(249, b'user', TOKEN.encode(), 0, 0); print('done')",
          "ENOKEY", "ENOKEY", "EPERM"),
    Probe("B15", "take the session's keyring", "call(250, 0, -3, 1); print('done')",
          "done", "done", "EPERM"),
    Probe("B16", "make a ring", "call(425, 1, ctypes.create_string_buffer(120)); print('done')",
          "done", ANY, "ENOSYS"),  # Outside, a setting may keep ordinary users from it.
    Probe("B16", "enter a ring", "call(426, -1, 0, 0, 0, 0, 0); print('done')",
          "EBADF", "EBADF", "ENOSYS"),
    Probe("B16", "change a ring", "call(427, -1, 0xffff, 0, 0); print('done')",
          "EINVAL", "EINVAL", "ENOSYS"),
    Probe("B17", "file systems in user space", "os.open('/dev/fuse', os.O_RDWR); print('done')",
          "done", ANY, "ENOENT"),
    Probe("B18", "kernel log", "call(103, 10, 0, 0); print('done')", "done", ANY, "EPERM"),
    Probe("B19", "count of user namespaces",
          "print(open('/proc/sys/user/max_user_namespaces').read() != '0\\n')", "True", "True", "ENOENT"),
    Probe("B20", "call by the i386 table",
          "import mmap\n"
          "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
          "page.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20; int 0x80; ret\n"
          "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()\n"
          "print('done')",
          "done", "done", "signal 31"),
    Probe("B20", "call by the x32 table",
          "libc.syscall(ctypes.c_long(0x40000000 + 39)); print('done')",  # Which few kernels have.
          "done", "done", "signal 31"),
    Probe("B21", "addresses that can be foretold",
          "call(135, 0x40000)\n"
          "print(len({subprocess.check_output(['/usr/bin/grep', 'stack', '/proc/self/maps']) for _ in '12345'}))",
          "1", "1", "ENOSYS"),
    Probe("B21", "all that can be read can be run", "call(135, 0x400000); print('done')",
          "done", "done", "ENOSYS"),
    Probe("B22", "program without a file reads the host",
          "fd = os.memfd_create('x', 0); os.write(fd, open('/bin/cat', 'rb').read())\n"
          "reader, writer = os.pipe()\n"
          "if os.fork() == 0:\n"
          "    os.dup2(writer, 1); os.execve(fd, ['cat', FILE], {})\n"
          "os.close(writer); print(os.read(reader, 100).decode() == TOKEN)",
          "True", "True", "False"),
    Probe("B23", "register an interpreter", "os.stat('/proc/sys/fs'); print('done')",
          "done", "done", "ENOENT"),
    Probe("B24", "segment of the host", "call(29, KEY, 0, 0); print('done')", "done", "done", "ENOENT"),
    Probe("B24", "shared memory by name", "open('/dev/shm/' + TOKEN).read(); print('done')",
          "done", "done", "ENOENT"),
    Probe("B24", "temporary file of the host", "open('/tmp/' + TOKEN).read(); print('done')",
          "done", "done", "ENOENT"),
    Probe("B25", "set the clock",
          "call(227, 0, (ctypes.c_long * 2)(1, -1)); print('done')", "EINVAL", "EINVAL", "EPERM"),
    Probe("B25", "adjust the clock", "call(159, ctypes.create_string_buffer(512)); print('done')",
          "done", "done", "EPERM"),
    Probe("B26", "name of this boot", "open('/proc/sys/kernel/random/boot_id').read(); print('done')",
          "done", "done", "ENOENT"),
    Probe("B26", "the host's machine id", "print(open('/etc/machine-id').read() == '0' * 32 + '\\n')",
          "False", "False", "True"),
    Probe("B27", "make a mount writable again",
          "own_mounts(); call(165, 0, b'/', 0, 0x1020, 0); print('done')", "done", "EPERM", "EPERM"),
    Probe("B27", "unmount the root", "own_mounts(); call(166, b'/', 2); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("B28", "out of a root by a second one",
          "d = tempfile.mkdtemp(); os.mkdir(d + '/1'); up = os.open('/', os.O_RDONLY)\n"
          "os.chroot(d); os.chroot('/1'); os.fchdir(up); os.chroot('.'); os.stat(FILE); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("B29", "write to a file that is only read, by a pipe",
          "path = WORKSPACE + '/readonly'; fd = os.open(path, os.O_RDONLY); r, w = os.pipe()\n"
          "for _ in range(16): os.write(w, bytes(4096))\n"
          "for _ in range(16): os.read(r, 4096)\n"
          "os.splice(fd, w, 1, offset_src=0); os.write(w, b'X' * 8)\n"
          "print(open(path).read(9))",
          "untouched", "untouched", "untouched"),
    Probe("B29", "write to a private mapping that is dropped meanwhile",
          "import mmap\n"
          "path = WORKSPACE + '/readonly'; fd = os.open(path, os.O_RDONLY)\n"
          "for _ in range(100):\n"
          "    page = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)\n"
          "    page[0:1] = b'X'; page.madvise(mmap.MADV_DONTNEED); page.close()\n"
          "print(open(path).read(9))",
          "untouched", "untouched", "untouched"),
    Probe("B30", "mount an overlay",
          "own_mounts(); d = tempfile.mkdtemp(dir='/dev/shm')\n"
          "for n in 'luwm': os.mkdir(f'{d}/{n}')\n"
          "try: call(165, b'x', f'{d}/m'.encode(), b'overlay', 0,\n"
          "          f'lowerdir={d}/l,upperdir={d}/u,workdir={d}/w'.encode()); print('done')\n"
          "finally: libc.umount2(f'{d}/m'.encode(), 2); subprocess.run(['rm', '-rf', d])",
          "done", "EPERM", "EPERM"),
    Probe("C02", "lock memory",
          "import mmap\n"
          "page = mmap.mmap(-1, 1 << 20)\n"
          "call(149, ctypes.addressof(ctypes.c_char.from_buffer(page)), 1 << 20); print('done')",
          "done", ANY, "ENOMEM"),
    Probe("C02", "lock all memory", "call(151, 1); print('done')", "done", ANY, "ENOMEM"),
    Probe("C13", "realtime priority",
          "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("C13", "higher priority", "os.setpriority(os.PRIO_PROCESS, 0, -5); print('done')",
          "done", "EACCES", "EACCES"),
    Probe("C14", "highest priority at the disk", "call(251, 1, 0, 1 << 13); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("C18", "stop the supervisor", "os.kill(TARGET, 0 if OUTSIDE else signal.SIGSTOP); print('done')",
          "done", "EPERM", "EPERM|done"),  # "done" on a kernel before 6.12: pid 1 ignores it.
    Probe("D01", "make a whiteout",
          "os.mknod(WORKSPACE + '/whiteout', 0o20000, 0); os.unlink(WORKSPACE + '/whiteout'); print('done')",
          "done", ANY, "EPERM"),
    Probe("D01", "leave a whiteout by renaming",
          "open('w1', 'w'); call(316, -100, b'w1', -100, b'w2', 4)\n"
          "os.unlink('w1'); os.unlink('w2'); print('done')",
          "done", "done", "EINVAL"),
    Probe("D05", "set a redirect",
          "open('r', 'w'); os.setxattr('r', 'trusted.overlay.redirect', b'/x'); os.unlink('r'); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("D09", "capability of a file",
          "open('c', 'w')\n"
          "os.setxattr('c', 'security.capability', bytes.fromhex('0000000201' + '00' * 15)); print('done')",
          "done", "EPERM", "EPERM"),
    Probe("D11", "give a file away", "open('o', 'w'); os.chown('o', 1, 1); print('done')",
          "done", "EPERM", "EINVAL"),
]  # fmt: skip
