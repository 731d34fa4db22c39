#include "journal/quarantine.h"

#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr const char* kMark = "quarantine";
constexpr std::size_t kMarkBytesMax = 64UL * 1024;

Result<std::string> BootId() {
  const Fd file = TRY(OpenPath("/proc/sys/kernel/random/boot_id", O_RDONLY));
  std::string id = TRY(ReadAll(file, kMarkBytesMax));
  return id.substr(0, id.find('\n'));
}

// The mark's text; nothing when there is none.
Result<std::optional<std::string>> ReadMark(const Fd& journal) {
  const Entry entry{TRY(OpenDirBeneath(journal, ".")), kMark};
  const Result<Fd> file = OpenEntry(entry, O_RDONLY | O_NONBLOCK);
  if (file.ok()) return std::optional(TRY(ReadAll(file.value(), kMarkBytesMax)));
  if (file.error().sys_errno() == ENOENT) return std::optional<std::string>();
  return file.error();
}

Quarantine Judge(const std::optional<std::string>& mark) {
  if (!mark.has_value()) return Quarantine::kNone;
  const Result<std::string> boot = BootId();
  // Where it cannot be told, nobody can say that the machine was restarted.
  const bool restarted = boot.ok() && mark->substr(0, mark->find('\n')) != boot.value();
  return restarted ? Quarantine::kOver : Quarantine::kInForce;
}

}  // namespace

Result<Quarantine> QuarantineOf(const Fd& journal) {
  return Judge(TRY(ReadMark(journal)));
}

Status CheckNoQuarantine(const Fd& journal) {
  const std::optional<std::string> mark = TRY(ReadMark(journal));
  if (Judge(mark) != Quarantine::kInForce) return Ok();
  const std::size_t line = mark->find('\n');
  const std::string reason = line == std::string::npos ? "" : mark->substr(line + 1);
  return Error(ErrorCode::kIo,
               "quarantined since the disk failed (" + EscapeForTerminal(reason, Lines::kSingle) +
                   "); check the disk and restart the machine, after which recovery reads what is "
                   "really there");
}

Error QuarantineIfLost(const Fd& journal, Error error) {
  if (error.sys_errno() != EIO) return error;
  const Result<std::string> boot = BootId();
  const std::string mark = (boot.ok() ? boot.value() : "") + "\n" + error.message();
  (void)ReplaceFile(journal, kMark, mark, 0600);
  return error;
}

Status LiftQuarantine(const Fd& journal) {
  const Status removed = Unlink(journal, kMark);
  if (!removed.ok() && removed.error().sys_errno() != ENOENT) return removed;
  return Fsync(journal);
}

}  // namespace bailiff
