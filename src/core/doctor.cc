#include "core/doctor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "core/supervise.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/pipe.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::int64_t kProbeOutputMax = 64LL * 1024;

// Tries each forbidden thing and prints one line of JSON about it. What it tries on the network is
// an address of the loopback inside its own namespace, where nothing listens, and one that is
// reserved for documentation.
constexpr const char* kProbeScript = R"py(
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def tell(name, holds, detail):
    print(json.dumps({"name": name, "holds": bool(holds), "detail": str(detail)}))

def refused(name, action):
    try:
        tell(name, False, action())
    except OSError as error:
        tell(name, True, os.strerror(error.errno) if error.errno else error)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "it worked"

def connect():
    with socket.socket() as s:
        s.settimeout(3)
        s.connect(("192.0.2.1", 80))
    return "connected"

def status(key):
    with open("/proc/self/status") as f:
        return next(line.split()[1] for line in f if line.startswith(key + ":"))

refused("read /etc/shadow", lambda: open("/etc/shadow").read(1))
refused("write below /usr", lambda: open("/usr/bailiff-probe", "w"))
refused("write outside the workspace", lambda: open("/bailiff-probe", "w"))
refused("connect to the network", connect)
refused("make a netlink socket", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
refused("make a user namespace", lambda: call(272, 0x10000000))
refused("mount a file system", lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, None))
refused("use a key ring", lambda: call(250, 0, -3, 0))
refused("set up io_uring", lambda: call(425, 1, None))
refused("load a BPF program", lambda: call(321, 0, None, 0))
refused("trace process 1", lambda: call(101, 16, 1, 0, 0))
refused("read a kernel setting", lambda: open("/proc/sys/kernel/core_pattern").read())
refused("list /sys", lambda: os.listdir("/sys"))
tell("see other processes", sorted(p for p in os.listdir("/proc") if p.isdigit()) in
     ([str(os.getpid())], ["1", str(os.getpid())]), "only its own are there")
tell("hold a capability", int(status("CapEff"), 16) == 0 and int(status("CapBnd"), 16) == 0,
     "none is held or can be had")
tell("gain privilege by a program", status("NoNewPrivs") == "1", "no_new_privs is set")
tell("escape the system call filter", status("Seccomp") == "2", "the filter is installed")
tell("see Bailiff's own folder", ".bailiff" not in os.listdir("/workspace"), "it is hidden")
tell("inherit a descriptor", all(not os.path.exists(f"/proc/self/fd/{n}") for n in range(4, 256)),
     "only 0, 1 and 2 are open")
)py";

Result<Probe> ParseProbe(std::string_view line) {
  boost::system::error_code error;
  const json::value value = json::parse(line, error);
  const Error malformed(ErrorCode::kInternal, "doctor: the probe printed something else");
  if (error || !value.is_object()) return malformed;
  const json::object& object = value.as_object();
  const json::value* name = object.if_contains("name");
  const json::value* holds = object.if_contains("holds");
  const json::value* detail = object.if_contains("detail");
  if (name == nullptr || holds == nullptr || detail == nullptr) return malformed;
  if (!name->is_string() || !holds->is_bool() || !detail->is_string()) return malformed;
  return Probe{std::string(name->as_string()), holds->as_bool(), std::string(detail->as_string())};
}

Result<std::vector<Probe>> ParseProbes(std::string_view output) {
  std::vector<Probe> probes;
  while (!output.empty()) {
    const std::size_t end = output.find('\n');
    probes.push_back(TRY(ParseProbe(output.substr(0, end))));
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
  }
  return probes;
}

SandboxSpec ProbeSpec() {
  SandboxSpec spec;
  spec.id = "doctor";
  spec.argv = {"/usr/bin/python3", "-I", "-"};
  spec.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
  spec.cwd = "/workspace";
  spec.limits.timeout = std::chrono::seconds(30);
  spec.limits.memory_bytes = 256LL << 20;
  spec.limits.scratch_bytes = 16LL << 20;
  spec.limits.files = 1000;
  return spec;
}

// A socket that nothing ever connects to: this run is not to be cancelled by others.
Result<Fd> UnusedSocket() {
  const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (raw < 0) return Error::FromErrno(errno, "socket");
  Fd socket(raw);
  const sockaddr address{AF_UNIX, {}};
  if (::bind(raw, &address, sizeof(address.sa_family)) != 0) return Error::FromErrno(errno, "bind");
  if (::listen(raw, 1) != 0) return Error::FromErrno(errno, "listen");
  return socket;
}

}  // namespace

bool Diagnosis::healthy() const {
  return guarantees.has_value() && !probes.empty() &&
         std::all_of(probes.begin(), probes.end(), [](const Probe& probe) { return probe.holds; });
}

Result<Diagnosis> Diagnose(Launcher& launcher, const std::string& scratch) {
  const Fd workspace = TRY(OpenPath(scratch, O_RDONLY | O_DIRECTORY));
  const Fd script = TRY(MakeMemoryFile("probe", kProbeScript));
  const Fd idle = TRY(UnusedSocket());
  const Fd monitor = TRY(launcher.StartMonitor());
  Pipe out = TRY(MakePipe());
  Pipe err = TRY(MakePipe());
  TRY(SendMessage(monitor, EncodeLaunch(ProbeSpec()),
                  {&workspace, &script, &out.write, &err.write}));
  TRY(out.write.Close());
  TRY(err.write.Close());
  KeptOutput kept_out(kProbeOutputMax);
  KeptOutput kept_err(kProbeOutputMax);
  const Supervised run = TRY(Supervise(monitor, {std::move(out.read), std::move(err.read)}, idle,
                                       RunObserver{}, &kept_out, &kept_err));
  Diagnosis diagnosis;
  if (run.failure.has_value()) {
    diagnosis.failure = run.failure->message();
    return diagnosis;
  }
  if (run.ending->exit_code != 0 || run.ending->signal != 0) {
    diagnosis.failure = "the probe did not come to its end: " + kept_err.kept();
    return diagnosis;
  }
  diagnosis.guarantees = run.guarantees;
  diagnosis.probes = TRY(ParseProbes(kept_out.kept()));
  return diagnosis;
}

}  // namespace bailiff
