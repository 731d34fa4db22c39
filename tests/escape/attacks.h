#pragma once

#include <ostream>

namespace bailiff {

// One thing that a script must not be able to do. `script` is Python; it prints one line. Outside
// it must print `outside`, or the row proves nothing; inside it must print `inside`.
struct Attack {
  const char* name;
  const char* layer;
  const char* script;
  const char* outside;
  const char* inside;
};

inline void PrintTo(const Attack& attack, std::ostream* os) {
  *os << attack.name;
}

// Above every script. attempt() prints "done" or the error's name; call() makes a system call and
// prints "done" or the error's name.
inline constexpr const char* kPrologue = R"(
import ctypes, errno, os, resource, signal, socket, subprocess, tempfile
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def attempt(action):
    try:
        action()
        print('done')
    except OSError as error:
        print(errno.errorcode.get(error.errno, str(error.errno)))
def raw(number, *args):
    ctypes.set_errno(0)
    wide = [a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(a) for a in args]
    return libc.syscall(ctypes.c_long(number), *wide)
def call(number, *args):
    result = raw(number, *args)
    print('done' if result >= 0 else errno.errorcode[ctypes.get_errno()])
def connect(family, address):
    with socket.socket(family) as s: s.connect(address)
def socket_of(family):
    kind = socket.SOCK_RAW if family == 17 else socket.SOCK_DGRAM
    attempt(lambda: socket.socket(family, kind).close())
)";

inline constexpr Attack kAttacks[] = {
    {"NestedUserNamespace", "seccomp", "call(272, 0x10000000)", "done", "EPERM"},
    {"NewMountNamespace", "seccomp", "call(272, 0x20000)", "done", "EPERM"},
    {"CloneWithUserNamespace", "seccomp",
     "pid = raw(56, 0x10000000 | 17, 0, 0, 0, 0)\n"
     "if pid == 0: os._exit(0)\n"
     "print('done' if pid > 0 else errno.errorcode[ctypes.get_errno()])",
     "done", "EPERM"},
    {"Clone3", "seccomp", "call(435, 0, 0)", "EINVAL", "ENOSYS"},
    {"JoinNamespace", "seccomp", "fd = os.open('/proc/self/ns/net', os.O_RDONLY); call(308, fd, 0)",
     "done", "EPERM"},
    {"Chroot", "seccomp", "attempt(lambda: os.chroot('.'))", "done", "EPERM"},
    {"OpenMountContext", "seccomp", "call(430, b'tmpfs', 0)", "done", "EPERM"},
    {"OpenTree", "seccomp", "call(428, -100, b'/', 0)", "done", "EPERM"},
    {"ChangeMountFlags", "seccomp", "call(442, -100, b'/', 0, ctypes.create_string_buffer(32), 32)",
     "done", "EPERM"},
    {"Mount", "seccomp",
     "d = tempfile.mkdtemp()\n"
     "call(165, b'x', d.encode(), b'tmpfs', 0, 0)\n"
     "raw(166, d.encode(), 0); os.rmdir(d)",
     "done", "EPERM"},
    {"SeeHostProcess", "pid namespace", "attempt(lambda: os.stat('/proc/@PID@/status'))", "done",
     "ENOENT"},
    {"SignalHostProcess", "pid namespace", "attempt(lambda: os.kill(@PID@, 0))", "done", "ESRCH"},
    {"SignalInit", "landlock", "attempt(lambda: os.kill(@TARGET@, 0))", "done", "EPERM"},
    {"SeeInit", "hidepid", "attempt(lambda: os.stat('/proc/@TARGET@/status'))", "done", "ENOENT"},
    {"TraceInit", "seccomp", "call(101, 0x4206, @TARGET@, 0, 0)", "done", "EPERM"},
    {"LimitInit", "seccomp", "attempt(lambda: resource.prlimit(@TARGET@, resource.RLIMIT_NOFILE))",
     "done", "EPERM"},
    {"ReadMemoryOfInit", "seccomp", "call(310, @TARGET@, 0, 0, 0, 0, 0)", "done", "EPERM"},
    {"TakeDescriptorOfInit", "seccomp", "call(438, -1, 0, 0)", "EBADF", "EPERM"},
    {"ConnectToHostPort", "landlock",
     "attempt(lambda: connect(socket.AF_INET, ('127.0.0.1', @TCP@)))", "done", "EACCES"},
    {"ListenOnPort", "landlock", "attempt(lambda: socket.socket().bind(('127.0.0.1', 0)))", "done",
     "EACCES"},
    {"ConnectToAbstractSocket", "network namespace",
     "attempt(lambda: connect(socket.AF_UNIX, '\\0@ABSTRACT@'))", "done", "ECONNREFUSED"},
    {"ConnectToPathSocket", "mount namespace",
     "attempt(lambda: connect(socket.AF_UNIX, '@SOCKET@'))", "done", "ENOENT"},
    {"SharedMemoryOfHost", "ipc namespace", "call(29, @KEY@, 0, 0)", "done", "ENOENT"},
    {"SetHostName", "seccomp", "name = os.uname().nodename.encode(); call(170, name, len(name))",
     "done", "EPERM"},
    {"ReadHostName", "uts namespace", "print(os.uname().nodename == 'bailiff')", "False", "True"},
    {"SeeCgroups", "cgroup namespace",
     "print(all(l.strip().endswith(':/') for l in open('/proc/self/cgroup')))", "False", "True"},
    {"ListCgroups", "mount namespace", "attempt(lambda: os.listdir('/sys/fs/cgroup'))", "done",
     "ENOENT"},
    {"Keyring", "seccomp", "call(250, 0, -3, 1)", "done", "EPERM"},
    {"AddKey", "seccomp", "call(248, b'user', b'bailiff-test', b'x', 1, -1)", "done", "EPERM"},
    {"IoUring", "seccomp", "call(425, 1, 0)", "EFAULT", "ENOSYS"},
    {"UserFaultFd", "seccomp", "call(323, 1)", "done", "EPERM"},
    {"Bpf", "seccomp", "call(321, 0, 0, 0)", "EINVAL", "EPERM"},
    {"PerfEvents", "seccomp", "call(298, 0, 0, -1, -1, 0)", "EFAULT", "EPERM"},
    {"FileByHandle", "seccomp", "call(304, -100, 0, 0)", "EFAULT", "EPERM"},
    {"Reboot", "seccomp", "call(169, 0, 0, 0, 0)", "EINVAL", "EPERM"},
    {"Swap", "seccomp", "call(168, b'/nonexistent')", "ENOENT", "EPERM"},
    {"NoRandomAddresses", "seccomp", "call(135, 0x40000)", "done", "ENOSYS"},
    {"TypeIntoTerminal", "seccomp", "call(16, 0, 0x5412, b'x')", "ENOTTY", "EPERM"},
    {"TypeIntoTerminalWithHighBits", "seccomp", "call(16, 0, 0x100005412, b'x')", "ENOTTY",
     "EPERM"},
    {"VsockSocket", "seccomp", "attempt(lambda: socket.socket(40, socket.SOCK_STREAM).close())",
     "done", "EAFNOSUPPORT"},
    {"NetlinkSocket", "seccomp", "socket_of(16)", "done", "EAFNOSUPPORT"},
    {"PacketSocket", "seccomp", "socket_of(17)", "done", "EAFNOSUPPORT"},
    {"BecomeRoot", "user namespace", "attempt(lambda: os.setuid(0))", "done", "EINVAL"},
    {"ReadPasswords", "mount namespace", "attempt(lambda: open('/etc/shadow'))", "done", "ENOENT"},
    {"ReadFileOfHost", "mount namespace", "attempt(lambda: open('@FILE@'))", "done", "ENOENT"},
    {"ReadState", "mask layer", "attempt(lambda: os.stat('@WORKSPACE@/.bailiff'))", "done",
     "ENOENT"},
    {"ReadCorePattern", "proc subset", "attempt(lambda: open('/proc/sys/kernel/core_pattern'))",
     "done", "ENOENT"},
    {"SeeKernelSymbols", "proc subset", "attempt(lambda: os.stat('/proc/kallsyms'))", "done",
     "ENOENT"},
    {"SeeInterrupts", "proc subset", "attempt(lambda: os.stat('/proc/interrupts'))", "done",
     "ENOENT"},
    {"ListSys", "mount namespace", "attempt(lambda: os.listdir('/sys'))", "done", "ENOENT"},
    {"WriteUsr", "read-only mount",
     "attempt(lambda: open('/usr/bailiff-probe', 'x')); os.path.exists('/usr/bailiff-probe') and "
     "os.remove('/usr/bailiff-probe')",
     "done", "EROFS"},
    {"WriteEtc", "read-only mount",
     "attempt(lambda: open('/etc/bailiff-probe', 'x')); os.path.exists('/etc/bailiff-probe') and "
     "os.remove('/etc/bailiff-probe')",
     "done", "EROFS"},
    {"ReadEnvironment", "constructed environment", "print(os.environ.get('BAILIFF_CANARY'))",
     "seen", "None"},
    {"MakeDevice", "seccomp",
     "d = tempfile.mkdtemp()\n"
     "attempt(lambda: os.mknod(d + '/null', 0o20666, os.makedev(1, 3)))\n"
     "subprocess.run(['rm', '-rf', d])",
     "done", "EPERM"},
    {"ReadKernelLog", "device nodes", "attempt(lambda: open('/dev/kmsg'))", "done", "ENOENT"},
    {"OpenTty", "device nodes", "attempt(lambda: os.stat('/dev/ptmx'))", "done", "ENOENT"},
    {"TrustedAttribute", "capabilities",
     "attempt(lambda: os.setxattr('@WORKSPACE@/projects/A/f', 'trusted.overlay.redirect', b'/x'))",
     "done", "EPERM"},
    {"FileCapability", "capabilities",
     "attempt(lambda: os.setxattr('@WORKSPACE@/projects/A/f', 'security.capability',\n"
     "    bytes.fromhex('0000000201000000000000000000000000000000')))",
     "done", "EPERM"},
    {"GiveFileAway", "capabilities", "attempt(lambda: os.chown('@WORKSPACE@/projects/A/f', 1, 1))",
     "done", "EINVAL"},
    {"SetuidProgram", "no_new_privs",
     "print(subprocess.run(['@WORKSPACE@/setuid-id', '-u'], capture_output=True, user=None)\n"
     "    .stdout.decode().strip() == '7777')",
     "True", "False"},
};

}  // namespace bailiff
