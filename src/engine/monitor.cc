#include "engine/monitor.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <utility>

#include "changeset/capture.h"
#include "engine/clerk.h"
#include "engine/protocol.h"
#include "sandbox/sandbox.h"
#include "sys/file.h"
#include "sys/message.h"

namespace bailiff {
namespace {

Error Unexpected(std::string_view what) {
  return Error(ErrorCode::kInvalidArgument, "monitor: expected " + std::string(what));
}

Result<Sandbox> Prepare(const Message& message) {
  const SandboxSpec spec = TRY(DecodeLaunch(message.bytes));
  if (message.fds.size() != 5) return Unexpected("five descriptors to launch with");
  return Sandbox::Prepare(spec, SandboxFds{message.fds[0], message.fds[1], message.fds[2],
                                           message.fds[3], &message.fds[4]});
}

std::optional<CaptureView> ViewOf(const Sandbox& sandbox) {
  if (!sandbox.view().has_value()) return std::nullopt;
  const SeenView& seen = *sandbox.view();
  const auto set = [](const std::vector<std::string>& paths) {
    return CaptureView::Paths(paths.begin(), paths.end());
  };
  return CaptureView{.whole = set(seen.whole),
                     .hollow = set(seen.hollow),
                     .closed = set(seen.asked.closed),
                     .allowed = set(seen.asked.whole)};
}

// The clerk that captures: a child of the monitor, since only the monitor has the upper layer. It
// is forked while the script runs, and confined when it is asked. Destruction ends it.
class CaptureClerk {
 public:
  static Result<CaptureClerk> Start(const Sandbox& sandbox) {
    auto [ours, theirs] = TRY(MakeMessageSocket());
    const pid_t monitor = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return Error::FromErrno(errno, "fork");
    if (pid > 0) return CaptureClerk(std::move(ours), pid);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != monitor) ::_exit(1);
    (void)ours.Close();
    Work(theirs, sandbox);
    ::_exit(0);
  }

  CaptureClerk(CaptureClerk&& other) noexcept
      : socket_(std::move(other.socket_)), pid_(std::exchange(other.pid_, -1)) {}
  CaptureClerk& operator=(CaptureClerk&&) = delete;
  ~CaptureClerk() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  Result<std::string> Capture(const Message& message) {
    if (message.fds.size() != 2) return Unexpected("two descriptors to capture with");
    // A clerk that is gone gives no answer.
    (void)SendMessage(socket_, message.bytes, {&message.fds[0], &message.fds[1]});
    return AwaitAnswer(socket_);
  }

 private:
  CaptureClerk(Fd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  static void Work(const Fd& socket, const Sandbox& sandbox) {
    Answer(socket, [&]() -> Result<std::string> {
      const std::optional<Message> message = TRY(ReceiveMessage(socket));
      if (!message.has_value() || message->fds.size() != 2) return Unexpected("a capture");
      CaptureOptions options = TRY(DecodeCaptureRequest(message->bytes));
      options.attributes = sandbox.guarantees().tier == Tier::kPrivileged
                               ? OverlayAttributes::kTrusted
                               : OverlayAttributes::kUser;
      options.view = ViewOf(sandbox);
      TRY(ConfineClerk(sandbox.user_namespace(),
                       {&sandbox.upper(), &message->fds[0], &message->fds[1]}));
      const CaptureResult result =
          TRY(bailiff::Capture(sandbox.upper(), message->fds[0], message->fds[1], options));
      return EncodeCapture(result);
    });
  }

  Fd socket_;
  pid_t pid_;
};

// Waits for the end of the tree while listening to `control`. Nothing when control was closed.
Result<std::optional<Ending>> WaitForEnd(Sandbox* sandbox, const Fd& control) {
  for (;;) {
    std::optional<Ending> ending = TRY(sandbox->Wait(control));
    if (ending.has_value()) return ending;
    const std::optional<Message> message = TRY(ReceiveMessage(control));
    if (!message.has_value()) return std::optional<Ending>();
    if (TRY(DecodeKind(message->bytes)) != MessageKind::kKill) return Unexpected("kill");
    TRY(sandbox->Kill());
  }
}

Status ServeCaptures(const Sandbox& sandbox, CaptureClerk ready, const Fd& control) {
  std::optional<CaptureClerk> clerk(std::move(ready));
  for (;;) {
    const std::optional<Message> message = TRY(ReceiveMessage(control));
    if (!message.has_value()) return Ok();
    const MessageKind kind = TRY(DecodeKind(message->bytes));
    if (kind == MessageKind::kKill) continue;  // It crossed with our kEnded.
    if (kind != MessageKind::kCapture) return Unexpected("capture");
    Answer(control, [&]() -> Result<std::string> {
      if (!clerk.has_value()) clerk.emplace(TRY(CaptureClerk::Start(sandbox)));
      Result<std::string> answer = clerk->Capture(*message);
      clerk.reset();
      return answer;
    });
  }
}

Status Serve(const Fd& control) {
  std::optional<Message> message = TRY(ReceiveMessage(control));
  if (!message.has_value()) return Ok();
  const MessageKind kind = TRY(DecodeKind(message->bytes));
  const bool prepares = kind == MessageKind::kPrepare;
  if (!prepares && kind != MessageKind::kLaunch) return Unexpected("launch");
  Sandbox sandbox = TRY(Prepare(*message));
  // Our copies of the output pipes would hide their end from the reader.
  message.reset();
  if (prepares) {
    message = TRY(ReceiveMessage(control));
    if (!message.has_value()) return Ok();
    const MessageKind next = TRY(DecodeKind(message->bytes));
    if (next == MessageKind::kDescribe) {
      const Guarantees guarantees = sandbox.guarantees();
      // Who asked may end with the answer, and we with them: nothing is to be left by then.
      { const Sandbox dropped = std::move(sandbox); }
      return SendMessage(control, EncodeLaunched(guarantees));
    }
    if (next != MessageKind::kStart) return Unexpected("start");
  }
  TRY(sandbox.Start());
  TRY(SendMessage(control, EncodeLaunched(sandbox.guarantees())));
  CaptureClerk clerk = TRY(CaptureClerk::Start(sandbox));
  const std::optional<Ending> ending = TRY(WaitForEnd(&sandbox, control));
  if (!ending.has_value()) return Ok();
  TRY(SendMessage(control, EncodeEnded(*ending)));
  return ServeCaptures(sandbox, std::move(clerk), control);
}

}  // namespace

void RunMonitor(const Fd& control) {
  const Status served = Serve(control);
  if (served.ok()) return;
  // When this cannot be sent, the other end is gone and has its own error.
  (void)SendMessage(control, EncodeFailed(served.error()));
  // To leave with something unread would reset the connection before that is read.
  for (Result<std::optional<Message>> next = ReceiveMessage(control);
       next.ok() && next.value().has_value();) {
    next = ReceiveMessage(control);
  }
}

}  // namespace bailiff
