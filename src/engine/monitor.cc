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
  if (message.fds.size() != 4) return Unexpected("four descriptors to launch with");
  return Sandbox::Prepare(
      spec, SandboxFds{message.fds[0], message.fds[1], message.fds[2], message.fds[3]});
}

// The clerk that captures: a child of the monitor, since only the monitor has the upper layer.
Result<std::string> RunCaptureClerk(const Message& message, const Sandbox& sandbox) {
  CaptureOptions options = TRY(DecodeCaptureRequest(message.bytes));
  if (message.fds.size() != 2) return Unexpected("two descriptors to capture with");
  options.attributes = sandbox.guarantees().tier == Tier::kPrivileged ? OverlayAttributes::kTrusted
                                                                      : OverlayAttributes::kUser;
  auto [ours, theirs] = TRY(MakeMessageSocket());
  const pid_t monitor = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return Error::FromErrno(errno, "fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != monitor) ::_exit(1);
    Answer(theirs, [&]() -> Result<std::string> {
      TRY(ConfineClerk(sandbox.user_namespace(),
                       {&sandbox.upper(), &message.fds[0], &message.fds[1]}));
      const CaptureResult result =
          TRY(Capture(sandbox.upper(), message.fds[0], message.fds[1], options));
      return EncodeCapture(result);
    });
    ::_exit(0);
  }
  TRY(theirs.Close());
  Result<std::string> answer = AwaitAnswer(ours);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return answer;
}

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

Status ServeCaptures(const Sandbox& sandbox, const Fd& control) {
  for (;;) {
    const std::optional<Message> message = TRY(ReceiveMessage(control));
    if (!message.has_value()) return Ok();
    const MessageKind kind = TRY(DecodeKind(message->bytes));
    if (kind == MessageKind::kKill) continue;  // It crossed with our kEnded.
    if (kind != MessageKind::kCapture) return Unexpected("capture");
    Answer(control, [&] { return RunCaptureClerk(*message, sandbox); });
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
    if (TRY(DecodeKind(message->bytes)) != MessageKind::kStart) return Unexpected("start");
  }
  TRY(sandbox.Start());
  TRY(SendMessage(control, EncodeLaunched(sandbox.guarantees())));
  const std::optional<Ending> ending = TRY(WaitForEnd(&sandbox, control));
  if (!ending.has_value()) return Ok();
  TRY(SendMessage(control, EncodeEnded(*ending)));
  return ServeCaptures(sandbox, control);
}

}  // namespace

void RunMonitor(const Fd& control) {
  const Status served = Serve(control);
  // When this cannot be sent, the other end is gone and has its own error.
  if (!served.ok()) (void)SendMessage(control, EncodeFailed(served.error()));
}

}  // namespace bailiff
