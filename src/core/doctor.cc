#include "core/doctor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <sstream>
#include <utility>

#include "core/canaries.h"
#include "core/doctor_layers.h"
#include "core/probe.h"
#include "core/side_run.h"
#include "core/supervise.h"
#include "engine/protocol.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/pipe.h"

namespace bailiff {
namespace {

constexpr std::int64_t kProbeOutputMax = 64LL * 1024;
constexpr std::size_t kProcBytesMax = 64UL * 1024;
constexpr std::int64_t kLittleMemory = 128LL << 20;
constexpr double kFewCpus = 0.25;
constexpr const char* kNamespaces[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};

SandboxSpec ProbeSpec() {
  SandboxSpec spec;
  spec.id = "doctor";
  spec.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
  spec.cwd = "/workspace";
  spec.limits.timeout = std::chrono::seconds(60);
  spec.limits.memory_bytes = 1LL << 30;
  spec.limits.pids = 32;
  spec.limits.scratch_bytes = 8LL << 20;
  spec.limits.files = 1;
  return spec;
}

struct Hello {
  char who = 0;  // 'P', the probe; 'D', what detached itself from it.
  ucred from = {};
};

// A byte and who sent it, as the kernel says. It was sent already.
Result<Hello> ReceiveHello(const Fd& socket) {
  Hello hello;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
  iovec part{&hello.who, sizeof(hello.who)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  if (::recvmsg(socket.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) {
    return Error::FromErrno(errno, "doctor: hear of the probe");
  }
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  if (rights == nullptr || rights->cmsg_type != SCM_CREDENTIALS) {
    return Error(ErrorCode::kInternal, "doctor: the probe's message has no sender");
  }
  std::copy_n(CMSG_DATA(rights), sizeof(ucred), reinterpret_cast<unsigned char*>(&hello.from));
  return hello;
}

Result<std::string> ReadProc(pid_t pid, const char* name) {
  const Fd file = TRY(OpenPath("/proc/" + std::to_string(pid) + "/" + name, O_RDONLY));
  return ReadAll(file, kProcBytesMax);
}

// Whether a line of an id map covers uid 0 of the host. As seen by us: the kernel translates.
bool MapsRoot(const std::string& map) {
  std::istringstream lines(map);
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  bool any = false;
  while (lines >> inside >> outside >> count) {
    if (outside == 0) return true;
    any = true;
  }
  return !any;
}

std::string Field(const std::string& status, const std::string& key) {
  const std::size_t at = status.find("\n" + key + ":\t");
  if (at == std::string::npos) return "";
  const std::size_t begin = at + key.size() + 3;
  return status.substr(begin, status.find('\n', begin) - begin);
}

Result<Look> LookAt(const ucred& process) {
  Look look;
  look.uid = process.uid;
  look.root_mapped = MapsRoot(TRY(ReadProc(process.pid, "uid_map"))) ||
                     MapsRoot(TRY(ReadProc(process.pid, "gid_map")));
  const std::string status = TRY(ReadProc(process.pid, "status"));
  look.no_new_privs = Field(status, "NoNewPrivs") == "1";
  look.filtered = Field(status, "Seccomp") == "2";
  look.no_capabilities = true;
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    const std::string bits = Field(status, set);
    const bool none = !bits.empty() && bits.find_first_not_of('0') == std::string::npos;
    look.no_capabilities = look.no_capabilities && none;
  }
  const Fd ours = TRY(OpenPath("/proc/self/ns", O_RDONLY | O_DIRECTORY));
  const Fd theirs =
      TRY(OpenPath("/proc/" + std::to_string(process.pid) + "/ns", O_RDONLY | O_DIRECTORY));
  for (const char* name : kNamespaces) {
    if (TRY(ReadLink(ours, name)) == TRY(ReadLink(theirs, name))) look.shared.emplace_back(name);
  }
  look.cgroup = TRY(ReadProc(process.pid, "cgroup"));
  return look;
}

// Follows the first probe: when it is ready, looks at it from outside and lets it go on.
class Examiner {
 public:
  explicit Examiner(const Canaries& canaries) : canaries_(canaries) {}

  Result<Fd> MakeSocket() {
    auto [ours, theirs] = TRY(MakeMessageSocket());
    const int on = 1;
    if (::setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) {
      return Error::FromErrno(errno, "SO_PASSCRED");
    }
    socket_ = std::move(ours);
    return std::move(theirs);
  }

  void OnOutput(std::string_view bytes) {
    if (seen_) return;
    out_ += bytes;
    if (out_.find('\n') == std::string::npos) return;
    seen_ = true;
    status_ = Examine();
    // Without a go-ahead it ends by itself.
    socket_ = Fd();
  }

  const Status& status() const { return status_; }
  std::optional<Look> look() const { return look_; }
  bool detached_ran() const { return detached_.valid(); }

  bool detached_ended() const {
    pollfd watched{detached_.get(), POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  }

 private:
  Status Examine() {
    for (int i = 0; i < 2; ++i) {
      const Hello hello = TRY(ReceiveHello(socket_));
      if (hello.who == 'P') look_ = TRY(LookAt(hello.from));
      if (hello.who != 'D') continue;
      const long raw = ::syscall(SYS_pidfd_open, hello.from.pid, 0);
      if (raw < 0) return Error::FromErrno(errno, "pidfd_open");
      detached_ = Fd(static_cast<int>(raw));
    }
    return SendMessage(socket_, "G", {&canaries_.dir()});
  }

  const Canaries& canaries_;
  Fd socket_;
  Fd detached_;
  std::string out_;
  bool seen_ = false;
  std::optional<Look> look_;
  Status status_ = Ok();
};

void ReadTold(const std::string& out, Evidence* evidence) {
  std::istringstream lines(out);
  std::string name;
  Told told;
  while (lines >> name >> told.number >> told.sys_errno) {
    const auto index = static_cast<std::size_t>(told.number);
    if (name != kProbeAttempt) {
      evidence->told[name] = told;
    } else if (index < evidence->inside.size()) {
      evidence->inside[index] = told.sys_errno;
    }
  }
}

// Why a run says nothing; empty when it came to its end.
std::string WhyNot(const SideRun& run) {
  if (run.supervised.failure.has_value()) return run.supervised.failure->message();
  const Ending& ending = *run.supervised.ending;
  if (ending.exit_code == 0 && ending.signal == 0) return "";
  return "the probe did not come to its end: " +
         (run.err.empty() ? "exit status " + std::to_string(ending.exit_code) + ", signal " +
                                std::to_string(ending.signal)
                          : run.err);
}

Status Explore(Launcher& launcher, const Canaries& canaries, Evidence* evidence) {
  // The control comes first, and its connections do not count.
  evidence->outside = TRY(TryAll(canaries.places(), canaries.dir()));
  (void)canaries.Connections();
  SandboxSpec spec = ProbeSpec();
  spec.argv = ProbeCommand(canaries.places());
  evidence->limits = spec.limits;
  Examiner examiner(canaries);
  const RunObserver observer{[&](Stream stream, std::string_view bytes) {
                               if (stream == Stream::kOut) examiner.OnOutput(bytes);
                             },
                             nullptr};
  Fd in = TRY(examiner.MakeSocket());
  const SideRun run = TRY(RunAside(launcher, spec, {canaries.workspace(), in, canaries.scratch()},
                                   observer, kProbeOutputMax));
  evidence->guarantees = run.supervised.guarantees;
  evidence->failure = WhyNot(run);
  if (!evidence->failure.empty()) return Ok();
  TRY(examiner.status());
  evidence->inside.assign(Attempts().size(), 0);
  ReadTold(run.out, evidence);
  evidence->look = examiner.look();
  evidence->detached_ran = examiner.detached_ran();
  evidence->detached_ended = examiner.detached_ran() && examiner.detached_ended();
  evidence->connections = canaries.Connections();
  return Ok();
}

Status Exhaust(Launcher& launcher, const Canaries& canaries, Evidence* evidence) {
  if (!evidence->failure.empty()) return Ok();
  SandboxSpec spec = ProbeSpec();
  spec.limits.memory_bytes = kLittleMemory;
  spec.limits.cpus = kFewCpus;
  spec.argv = ExhaustCommand(4 * kLittleMemory);
  evidence->few_cpus = kFewCpus;
  const Fd in = TRY(OpenPath("/dev/null", O_RDONLY));
  const SideRun run = TRY(RunAside(launcher, spec, {canaries.workspace(), in, canaries.scratch()},
                                   RunObserver{}, kProbeOutputMax));
  if (run.supervised.failure.has_value()) {
    evidence->failure = run.supervised.failure->message();
    return Ok();
  }
  ReadTold(run.out, evidence);
  evidence->memory_killed = run.supervised.ending->reason == EndReason::kOutOfMemory &&
                            !evidence->told.contains(kProbeSurvived);
  return Ok();
}

// Prepared as for a run of the user's, by the same code.
Result<There> AskThere(Launcher& launcher, const UserWorkspace& workspace, const Fd& scratch) {
  SandboxSpec spec = ProbeSpec();
  spec.scratch_on_disk = workspace.scratch_on_disk;
  spec.argv = {"/nothing"};  // Never started.
  const Fd idle = TRY(OpenPath("/dev/null", O_RDWR));
  const Fd monitor = TRY(launcher.StartMonitor());
  TRY(SendMessage(monitor, EncodeLaunch(spec, MessageKind::kPrepare),
                  {&workspace.root, &idle, &idle, &idle, &scratch}));
  // When it has failed already, its answer says why.
  (void)SendMessage(monitor, EncodeKind(MessageKind::kDescribe));
  const std::optional<Message> message = TRY(ReceiveMessage(monitor));
  There there;
  if (!message.has_value()) {
    return Error(ErrorCode::kInternal, "doctor: the process that held the sandbox died");
  }
  if (TRY(DecodeKind(message->bytes)) == MessageKind::kLaunched) {
    there.guarantees = TRY(DecodeLaunched(message->bytes));
  } else {
    there.failure = DecodeFailed(message->bytes).message();
  }
  return there;
}

}  // namespace

bool Diagnosis::healthy() const {
  return !layers.empty() && std::none_of(layers.begin(), layers.end(), [](const Layer& layer) {
    return layer.holds == Holds::kNo;
  });
}

const Layer* Diagnosis::Find(const std::string& name) const {
  const auto found = std::find_if(layers.begin(), layers.end(),
                                  [&](const Layer& layer) { return layer.name == name; });
  return found == layers.end() ? nullptr : &*found;
}

Result<Diagnosis> Diagnose(Launcher& launcher, const std::optional<UserWorkspace>& workspace) {
  Diagnosis diagnosis;
  diagnosis.host = TRY(ReadHostFacts());
  Evidence evidence;
  {
    const std::unique_ptr<Canaries> canaries = TRY(Canaries::Make());
    TRY(Explore(launcher, *canaries, &evidence));
    TRY(Exhaust(launcher, *canaries, &evidence));
    if (workspace.has_value() && evidence.failure.empty()) {
      evidence.there = TRY(AskThere(launcher, *workspace, canaries->scratch()));
    }
    evidence.damage = canaries->Damage();
  }
  diagnosis.guarantees = evidence.guarantees;
  diagnosis.failure = evidence.failure;
  if (evidence.there.has_value()) {
    diagnosis.guarantees = evidence.there->guarantees;
    diagnosis.failure = evidence.there->failure;
  }
  diagnosis.layers = JudgeLayers(evidence, diagnosis.host);
  diagnosis.probes = JudgeProbes(evidence);
  return diagnosis;
}

}  // namespace bailiff
