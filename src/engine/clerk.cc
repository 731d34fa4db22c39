#include "engine/clerk.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "engine/confine.h"
#include "engine/protocol.h"
#include "sandbox/seccomp_filters.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/process.h"

namespace bailiff {
namespace {

constexpr std::array<int, 6> kKept = {CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE,
                                      CAP_FOWNER,    CAP_CHOWN,           CAP_FSETID};

// A change set of 100,000 entries is some 30 MB.
constexpr std::size_t kAnswerBytesMax = 1UL << 30;

Status FromCall(long rc, const char* what) {
  if (rc >= 0) return Ok();
  return Error::FromErrno(errno, std::string("confine clerk: ") + what);
}

Status WriteProc(const char* path, const std::string& text) {
  const Fd file = TRY(OpenPath(path, O_WRONLY));
  return WriteAll(file, text);
}

// Maps nothing but the caller's own ids, to themselves: nothing looks different, but the caller now
// holds capabilities over its own files.
Status EnterOwnUserNamespace() {
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return Ok();  // Works as the plain user then.
  TRY(WriteProc("/proc/self/setgroups", "deny"));
  TRY(WriteProc("/proc/self/uid_map", uid + " " + uid + " 1"));
  return WriteProc("/proc/self/gid_map", gid + " " + gid + " 1");
}

// Which boot this is, so that a quarantine can be told from that of an earlier one.
constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

Status ConfineToPlaces(const std::vector<const Fd*>& places) {
  std::vector<FilePlace> allowed;
  for (const Fd* place : places) {
    struct stat info {};
    TRY(FromCall(::fstat(place->get(), &info), "fstat"));
    if (S_ISDIR(info.st_mode)) allowed.push_back({place, Access::kReadWrite});
  }
  const Fd boot_id = TRY(OpenPath(kBootId, O_PATH));
  allowed.push_back({&boot_id, Access::kRead});
  TRY(ConfineFiles(allowed, Signals::kAnywhere));
  return Ok();
}

}  // namespace

Status ConfineClerk(const Fd& user_namespace, const std::vector<const Fd*>& places) {
  RaiseDescriptorLimit();  // Deep trees then fail with their own error.
  ::umask(0);
  if (user_namespace.valid()) {
    TRY(FromCall(::setns(user_namespace.get(), CLONE_NEWUSER), "join user namespace"));
  } else if (::geteuid() != 0) {
    TRY(EnterOwnUserNamespace());
  }
  TRY(KeepCapabilities(kKept));
  TRY(FromCall(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs"));
  TRY(ConfineToPlaces(places));
  return EnforceFilter(ClerkFilter());
}

void Answer(const Fd& socket, const std::function<Result<std::string>()>& work) {
  const Status sent = [&]() -> Status {
    const std::string bytes = TRY(work());
    const Fd file = TRY(MakeMemoryFile("answer", bytes));
    return SendMessage(socket, EncodeKind(MessageKind::kAnswer), {&file});
  }();
  // When even this cannot be sent the other end is gone, and no one waits for it.
  if (!sent.ok()) (void)SendMessage(socket, EncodeFailed(sent.error()));
}

Result<std::string> AwaitAnswer(const Fd& socket) {
  std::optional<Message> message = TRY(ReceiveMessage(socket));
  if (!message.has_value()) {
    return Error(ErrorCode::kInternal,
                 "the process that did the file work ended without an answer");
  }
  const MessageKind kind = TRY(DecodeKind(message->bytes));
  if (kind == MessageKind::kFailed) return DecodeFailed(message->bytes);
  if (kind != MessageKind::kAnswer || message->fds.size() != 1) {
    return Error(ErrorCode::kInternal, "unexpected answer from the process that did the file work");
  }
  return ReadAll(message->fds[0], kAnswerBytesMax);
}

}  // namespace bailiff
