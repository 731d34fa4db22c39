#include "engine/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <utility>

#include "engine/clerk.h"
#include "engine/monitor.h"
#include "engine/protocol.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/system_clock.h"

namespace bailiff {
namespace {

constexpr std::size_t kRequestBytesMax = 1UL << 30;
constexpr std::chrono::seconds kEndTime{20};  // Of monitors whose starter is gone.

// The loop of the launcher process. One thread; the state is its children and the jobs.
class LauncherProcess {
 public:
  LauncherProcess(Fd socket, std::map<std::string, ClerkJob> jobs)
      : socket_(std::move(socket)), jobs_(std::move(jobs)) {}

  // Returns when the starter is gone.
  Status Run() {
    sigset_t watched;
    ::sigemptyset(&watched);
    ::sigaddset(&watched, SIGCHLD);
    // A terminal's Ctrl-C goes to the whole group: the starter decides what it means, not we.
    for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT})
      ::signal(ignored, SIG_IGN);
    ::sigprocmask(SIG_BLOCK, &watched, nullptr);
    const int raw = ::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (raw < 0) return Error::FromErrno(errno, "signalfd");
    children_changed_ = Fd(raw);
    for (;;) {
      std::array<pollfd, 2> events = {{{socket_.get(), POLLIN, 0}, {raw, POLLIN, 0}}};
      if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
        return Error::FromErrno(errno, "poll");
      }
      if (events[1].revents != 0) Reap();
      if (events[0].revents == 0) continue;
      std::optional<Message> message = TRY(ReceiveMessage(socket_));
      if (!message.has_value()) return Ok();
      TRY(Handle(std::move(*message)));
    }
  }

  // Ends every child and waits for it: monitors take their sandboxes with them. They have heard
  // that nobody listens any more, and get time to remove what they have on disk.
  void EndChildren() {
    Kill(Child::kClerk);
    const SteadyTime deadline = SystemClock().Steady() + kEndTime;
    while (!children_.empty()) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SystemClock().Steady());
      pollfd event{children_changed_.get(), POLLIN, 0};
      if (left.count() <= 0) break;
      (void)::poll(&event, 1, static_cast<int>(left.count()));
      Reap();
    }
    Kill(Child::kMonitor);
    while (!children_.empty()) {
      const pid_t pid = ::waitpid(-1, nullptr, 0);
      if (pid < 0 && errno != EINTR) return;
      children_.erase(pid);
    }
  }

 private:
  enum class Child { kMonitor, kClerk };

  void Kill(Child kind) {
    for (const auto& [pid, child] : children_) {
      if (child == kind) ::kill(pid, SIGKILL);
    }
  }

  void Reap() {
    signalfd_siginfo info{};
    while (::read(children_changed_.get(), &info, sizeof(info)) > 0) {
    }
    for (;;) {
      const pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
      if (pid <= 0) return;
      children_.erase(pid);
    }
  }

  Status Handle(Message message) {
    const MessageKind kind = TRY(DecodeKind(message.bytes));
    if (kind == MessageKind::kStartMonitor && message.fds.size() == 1) {
      return Fork(Child::kMonitor, [&] { RunMonitor(message.fds[0]); });
    }
    if (kind == MessageKind::kStartClerk && !message.fds.empty()) {
      return Fork(Child::kClerk, [&] { RunClerkProcess(&message); });
    }
    return Error(ErrorCode::kInvalidArgument, "launcher: unexpected message");
  }

  // Confined before it sees what it is asked for.
  void RunClerkProcess(Message* message) {
    const Fd socket = std::move(message->fds[0]);
    const std::vector<Fd> fds(std::make_move_iterator(message->fds.begin() + 1),
                              std::make_move_iterator(message->fds.end()));
    Answer(socket, [&]() -> Result<std::string> {
      const std::string name = TRY(DecodeStartClerk(message->bytes));
      const auto job = jobs_.find(name);
      if (job == jobs_.end()) return Error(ErrorCode::kInternal, "launcher: no job " + name);
      std::vector<const Fd*> places;
      places.reserve(fds.size());
      for (const Fd& fd : fds) places.push_back(&fd);
      TRY(ConfineClerk(Fd(), places));
      std::optional<Message> request = TRY(ReceiveMessage(socket));
      const bool asked = request.has_value() && request->fds.size() == 1 &&
                         request->bytes == EncodeKind(MessageKind::kRequest);
      if (!asked) return Error(ErrorCode::kInvalidArgument, "clerk: expected a request");
      std::string bytes = TRY(ReadAll(request->fds[0], kRequestBytesMax));
      request.reset();  // A large one is in memory once.
      return job->second(std::move(bytes), fds);
    });
  }

  template <typename Body>
  Status Fork(Child kind, const Body& body) {
    const pid_t launcher = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return Error::FromErrno(errno, "fork");
    if (pid > 0) {
      children_.emplace(pid, kind);
      return Ok();
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launcher) ::_exit(1);
    (void)socket_.Close();
    (void)children_changed_.Close();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    body();
    ::_exit(0);
  }

  Fd socket_;
  Fd children_changed_;
  std::map<std::string, ClerkJob> jobs_;
  std::map<pid_t, Child> children_;
};

}  // namespace

Result<Launcher> Launcher::Start(std::map<std::string, ClerkJob> jobs) {
  auto [ours, theirs] = TRY(MakeMessageSocket());
  const pid_t pid = ::fork();
  if (pid < 0) return Error::FromErrno(errno, "fork launcher");
  if (pid == 0) {
    (void)ours.Close();
    ::prctl(PR_SET_NAME, "bailiff-launch", 0, 0, 0);
    LauncherProcess process(std::move(theirs), std::move(jobs));
    const Status status = process.Run();
    process.EndChildren();
    ::_exit(status.ok() ? 0 : 1);
  }
  return Launcher(std::move(ours), pid);
}

Launcher::Launcher(Launcher&& other) noexcept
    : socket_(std::move(other.socket_)),
      pid_(std::exchange(other.pid_, -1)),
      ready_(std::move(other.ready_)) {}

Launcher::~Launcher() {
  if (pid_ < 0) return;
  (void)socket_.Close();  // The launcher sees the end of file and leaves.
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<Launcher> Launcher::Share() const {
  const int raw = ::fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0);
  if (raw < 0) return Error::FromErrno(errno, "duplicate the launcher's socket");
  return Launcher(Fd(raw), -1);
}

Result<Fd> Launcher::StartMonitor() {
  auto [ours, theirs] = TRY(MakeMessageSocket());
  TRY(SendMessage(socket_, EncodeKind(MessageKind::kStartMonitor), {&theirs}));
  return std::move(ours);
}

Result<Fd> Launcher::StartClerk(const std::string& job, const std::vector<const Fd*>& fds) {
  auto [ours, theirs] = TRY(MakeMessageSocket());
  std::vector<const Fd*> passed = {&theirs};
  passed.insert(passed.end(), fds.begin(), fds.end());
  TRY(SendMessage(socket_, EncodeStartClerk(job), passed));
  return std::move(ours);
}

Status Launcher::ReadyClerk(const std::string& job, const std::vector<const Fd*>& fds) {
  ready_.insert_or_assign(job, TRY(StartClerk(job, fds)));
  return Ok();
}

Result<Fd> Launcher::AskClerk(const std::string& job, std::string_view request,
                              const std::vector<const Fd*>& fds) {
  auto ready = ready_.extract(job);
  if (ready.empty()) {
    TRY(ReadyClerk(job, fds));
    ready = ready_.extract(job);
  }
  Fd clerk = std::move(ready.mapped());
  const Fd body = TRY(MakeMemoryFile("request", request));
  // A clerk that is gone has said why, or its answer is missing: AwaitAnswer() tells.
  (void)SendMessage(clerk, EncodeKind(MessageKind::kRequest), {&body});
  return clerk;
}

Result<std::string> Launcher::RunClerk(const std::string& job, std::string request,
                                       const std::vector<const Fd*>& fds) {
  const Fd clerk = TRY(AskClerk(job, request, fds));
  request = std::string();
  return AwaitAnswer(clerk);
}

}  // namespace bailiff
