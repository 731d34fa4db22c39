#: ctypes open and write
import ctypes
c = ctypes.CDLL(None)
fd = c.open(FILE.encode(), 0o1); c.write(fd, b"touched", 7)

#: ctypes syscall numbers
import ctypes
c = ctypes.CDLL(None)
c.syscall(76, FILE.encode(), 1)

#: ctypes system
import ctypes
ctypes.CDLL(None).system(f"echo touched > '{FILE}'".encode())

#: ctypes through the interpreter's own interface
import ctypes
ctypes.pythonapi.PyRun_SimpleString(f"open({FILE!r}, 'w').write('touched')".encode())

#: ctypes changes an immutable object
import ctypes
path = "/" * len(FILE)
ctypes.memmove(id(path) + path.__sizeof__() - len(FILE) - 1, FILE.encode(), len(FILE))
open(path, "w").write("touched")

#: machine code in an executable page
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b84c0000000f05c3"))  # mov eax, SYS_truncate; syscall; ret
call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_long)
call(ctypes.addressof(ctypes.c_char.from_buffer(page)))(FILE.encode(), 1)

#: memory of this process by /proc
import ctypes
text = ctypes.create_string_buffer(b"/" * len(FILE))
with open("/proc/self/mem", "r+b", buffering=0) as mem:
    mem.seek(ctypes.addressof(text)); mem.write(FILE.encode())
open(text.value, "w").write("touched")

#: shared mapping of the file
import mmap
with open(FILE, "r+b") as f, mmap.mmap(f.fileno(), 0) as m: m[0:1] = b"T"

#: subprocess
import subprocess
subprocess.run(["/bin/sh", "-c", "echo touched > \"$0\"", FILE])

#: posix_spawn
import os
os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", f"echo touched > '{FILE}'"], {}), 0)

#: spawn with file actions
import os
os.waitpid(os.posix_spawn("/bin/echo", ["echo", "touched"], {},
           file_actions=[(os.POSIX_SPAWN_OPEN, 1, FILE, os.O_WRONLY | os.O_TRUNC, 0)]), 0)

#: fork and exec
import os
pid = os.fork()
if pid == 0: os.execv("/bin/sh", ["sh", "-c", f"echo touched > '{FILE}'"])
os.waitpid(pid, 0)

#: vfork by ctypes in a shell
import os
os.popen(f"cat > '{FILE}' </dev/null").close()

#: daemon by double fork
import os
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        try:
            open(FILE, "w").write("touched")
        finally:
            os.write(w, b"x"); os._exit(0)
    os._exit(0)
os.wait(); os.close(w); os.read(r, 1)

#: signal handler
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: open(FILE, "w").write("touched"))
os.kill(os.getpid(), signal.SIGUSR1)

#: timer signal
import signal
signal.signal(signal.SIGALRM, lambda *_: open(FILE, "w").write("touched"))
signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.pause()

#: fault handler to the file
import faulthandler
faulthandler.dump_traceback(open(FILE, "w"))

#: memfd program
import os
fd = os.memfd_create("x", 0)
os.write(fd, open("/bin/sh", "rb").read())
if (pid := os.fork()) == 0: os.execve(fd, ["sh", "-c", f"echo touched > '{FILE}'"], {})
os.waitpid(pid, 0)

#: directory descriptor and relative path
import os
fd = os.open("/", os.O_RDONLY)
os.close(os.open(FILE[1:], os.O_WRONLY | os.O_TRUNC, dir_fd=fd))

#: dot dot above the root
import os
os.close(os.open("/.." * 20 + FILE, os.O_WRONLY | os.O_TRUNC))

#: from the working directory upwards
import os
up = "../" * 40
open(up + FILE[1:], "w").write("touched")

#: magic link to the root
open("/proc/self/root" + FILE, "w").write("touched")

#: magic link of the working directory
open("/proc/self/cwd/" + "../" * 40 + FILE[1:], "w").write("touched")

#: magic link of a thread
import threading
open(f"/proc/self/task/{threading.get_native_id()}/root{FILE}", "w").write("touched")

#: root of the first process (refused)
open("/proc/1/root" + FILE, "w").write("touched")

#: root of every process
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        open(f"/proc/{pid}/root{FILE}", "w").write("touched")
    except OSError:
        pass

#: working directory of every process
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    for link in ("cwd", "root"):
        try:
            fd = os.open(f"/proc/{pid}/{link}", os.O_PATH)
            os.close(os.open(("../" * 40) + FILE[1:], os.O_WRONLY | os.O_TRUNC, dir_fd=fd))
        except OSError:
            pass

#: descriptors of every process
import os
mine = os.open(FILE.rsplit("/", 1)[0], os.O_PATH) if os.path.exists(FILE) else None
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                os.close(os.open(FILE.rsplit("/", 1)[1], os.O_WRONLY | os.O_TRUNC,
                                 dir_fd=os.open(f"/proc/{pid}/fd/{fd}", os.O_PATH)))
            except OSError:
                pass
    except OSError:
        pass

#: every number of a descriptor
import os
name = FILE.rsplit("/", 1)
extra = os.open(name[0], os.O_PATH) if os.path.isdir(name[0]) else None
for fd in range(3, 4096):
    try:
        os.truncate(os.open(name[1], os.O_WRONLY, dir_fd=fd), 0)
    except OSError:
        pass

#: symbolic link in the workspace
import os, tempfile
link = tempfile.mkdtemp() + "/link"
os.symlink(FILE, link)
open(link, "w").write("touched")

#: hard link to the file
import os, tempfile
os.link(FILE, os.path.dirname(FILE) + "/linked-" + os.path.basename(FILE))
open(os.path.dirname(FILE) + "/linked-" + os.path.basename(FILE), "w").write("touched")

#: rename over the file
import os, tempfile
fd, path = tempfile.mkstemp(dir=os.path.dirname(FILE))
os.rename(path, FILE)

#: rename away
import os
os.rename(FILE, FILE + ".gone")

#: times and mode
import os
os.chmod(FILE, 0o600); os.utime(FILE, (1, 1)); os.truncate(FILE, 3)

#: extended attribute
import os
os.setxattr(FILE, "user.touched", b"x"); os.truncate(FILE, 3)

#: copy_file_range
import os
source = os.open("/etc/passwd", os.O_RDONLY)
os.copy_file_range(source, os.open(FILE, os.O_WRONLY), 16)

#: sendfile
import os
os.sendfile(os.open(FILE, os.O_WRONLY), os.open("/etc/passwd", os.O_RDONLY), 0, 16)

#: splice
import os
r, w = os.pipe()
os.write(w, b"touched")
os.splice(r, os.open(FILE, os.O_WRONLY), 7)

#: fallocate
import os
os.posix_fallocate(os.open(FILE, os.O_WRONLY), 0, 9999)

#: openat2 without resolution limits
import ctypes, os, struct
how = struct.pack("QQQ", os.O_WRONLY | os.O_TRUNC, 0, 0)
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(437, -100, FILE.encode(), how, len(how))

#: file by handle (refused)
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
handle = ctypes.create_string_buffer(struct.pack("II", 128, 0) + bytes(128))
mount = ctypes.c_int()
if libc.name_to_handle_at(-100, FILE.encode(), handle, ctypes.byref(mount), 0) == 0:
    fd = libc.open_by_handle_at(os.open("/", os.O_RDONLY), handle, os.O_WRONLY | os.O_TRUNC)
    print(fd)

#: chroot to where the host is (refused)
import os
os.chroot("/proc/self/root/.."); open(FILE, "w").write("touched")

#: user and mount namespace
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000 | 0x20000) == 0:
    libc.umount2(b"/", 2)
    open(FILE, "w").write("touched")

#: namespaces of the first process (refused)
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/proc/1/ns/mnt", os.O_RDONLY)
if libc.setns(fd, 0) == 0: open(FILE, "w").write("touched")

#: setuid shell tricks
import subprocess
subprocess.run(["/bin/sh", "-pc", f"exec 3>'{FILE}'; echo touched >&3"])

#: bash network path and redirections
import subprocess
subprocess.run(["bash", "-c", f"exec 7<>'{FILE}'; echo touched >&7"])

#: loader runs a program
import subprocess
subprocess.run(["/lib64/ld-linux-x86-64.so.2", "/bin/dd", "if=/dev/zero", f"of={FILE}", "bs=1", "count=9"])

#: preload of a library path (refused)
import subprocess
subprocess.run(["/bin/true"], env={"LD_PRELOAD": FILE, "LD_DEBUG": "all", "LD_DEBUG_OUTPUT": FILE})

#: perl
import subprocess
subprocess.run(["perl", "-e", "open(F, '>', $ARGV[0]); print F 'touched'", FILE])

#: awk and sed in place
import subprocess
subprocess.run(["sed", "-i", "s/.*/touched/", FILE])

#: tar extraction over the file
import io, tarfile, os
data = io.BytesIO()
with tarfile.open(fileobj=data, mode="w") as t:
    info = tarfile.TarInfo(FILE[1:]); info.size = 7
    t.addfile(info, io.BytesIO(b"touched"))
data.seek(0)
tarfile.open(fileobj=data).extractall("/")

#: zip extraction with dot dot
import os, zipfile, io
b = io.BytesIO()
zipfile.ZipFile(b, "w").writestr("x", "touched")
open(os.path.join("/tmp", "../" * 9 + FILE[1:]), "wb").write(b.getvalue())

#: inotify watches the host
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(0)
if libc.inotify_add_watch(fd, os.path.dirname(FILE).encode(), 0xfff) >= 0: os.truncate(FILE, 1)

#: terminal of the host
import os
for tty in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/pts/0"):
    try:
        os.write(os.open(tty, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK), b"")
    except OSError:
        pass
open(FILE, "w").write("touched")
