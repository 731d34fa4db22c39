#include "journal/quarantine.h"

#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr const char* kMark = "quarantine";
constexpr const char* kNewLink = ".quarantine.link";
constexpr std::size_t kMarkBytesMax = 64UL * 1024;

struct Mark {
  std::string boot;  // Empty where it does not tell.
  std::string reason;
};

Result<std::string> BootId() {
  const Fd file = TRY(OpenPath("/proc/sys/kernel/random/boot_id", O_RDONLY));
  std::string id = TRY(ReadAll(file, kMarkBytesMax));
  return id.substr(0, id.find('\n'));
}

Result<Mark> Read(const Entry& entry) {
  const Result<Fd> file = OpenEntry(entry, O_RDONLY | O_NONBLOCK);
  if (!file.ok() && file.error().sys_errno() == ELOOP) {
    return Mark{TRY(ReadLink(entry.dir, entry.name)), "its disk could not keep the reason"};
  }
  if (!file.ok()) return file.error();
  const std::string text = TRY(ReadAll(file.value(), kMarkBytesMax));
  const std::size_t line = text.find('\n');
  return Mark{text.substr(0, line), line == std::string::npos ? "" : text.substr(line + 1)};
}

// Nothing when there is none. One that cannot be read is there, and does not tell its boot.
Result<std::optional<Mark>> ReadMark(const Fd& journal) {
  const Entry entry{TRY(OpenDirBeneath(journal, ".")), kMark};
  Result<Mark> mark = Read(entry);
  if (mark.ok()) return std::optional(std::move(mark).value());
  if (mark.error().sys_errno() == ENOENT) return std::optional<Mark>();
  return std::optional(Mark{"", "the mark cannot be read: " + mark.error().message()});
}

Quarantine Judge(const std::optional<Mark>& mark) {
  if (!mark.has_value()) return Quarantine::kNone;
  const Result<std::string> boot = BootId();
  // Where it cannot be told, nobody can say that the machine was restarted.
  const bool restarted = boot.ok() && !mark->boot.empty() && mark->boot != boot.value();
  return restarted ? Quarantine::kOver : Quarantine::kInForce;
}

// Needs no sync, and no room where there is an inode: the target of so short a link lies in it.
Status MarkByLink(const Fd& journal, const std::string& boot) {
  (void)Unlink(journal, kNewLink);  // A crash may have left it.
  TRY(MakeSymlink(journal, kNewLink, boot));
  TRY(Rename(journal, kNewLink, journal, kMark));
  // It has to be seen only until the machine restarts; that it is there after it is for the better.
  (void)Fsync(journal);
  return Ok();
}

Status MakeMark(const Fd& journal, const std::string& reason) {
  const Result<std::string> boot = BootId();
  const Status written =
      ReplaceFile(journal, kMark, (boot.ok() ? boot.value() : "") + "\n" + reason, 0600);
  if (written.ok()) return written;
  // Only the last sync may have failed.
  const Result<Quarantine> seen = QuarantineOf(journal);
  if (seen.ok() && seen.value() == Quarantine::kInForce) return Ok();
  return MarkByLink(journal, TRY(boot));
}

}  // namespace

Result<Quarantine> QuarantineOf(const Fd& journal) {
  return Judge(TRY(ReadMark(journal)));
}

Status CheckNoQuarantine(const Fd& journal) {
  const std::optional<Mark> mark = TRY(ReadMark(journal));
  if (Judge(mark) != Quarantine::kInForce) return Ok();
  std::string told = "quarantined since the disk failed (" +
                     EscapeForTerminal(mark->reason, Lines::kSingle) +
                     "); check the disk and restart the machine, after which recovery reads what "
                     "is really there";
  if (mark->boot.empty()) {
    told +=
        ". The mark does not say when it was made: once restarted, write a line 'restarted' to "
        "journal/quarantine in the state directory";
  }
  return Error(ErrorCode::kIo, std::move(told));
}

Error QuarantineIfLost(const Fd& journal, Error error) {
  if (error.sys_errno() != EIO) return error;
  const Status marked = MakeMark(journal, error.message());
  if (marked.ok()) return error;
  return std::move(error).WithContext(
      "what was written may be lost, and nothing could be marked (" + marked.error().message() +
      "): restart the machine before the next command");
}

Status LiftQuarantine(const Fd& journal) {
  const Status removed = Unlink(journal, kMark);
  if (!removed.ok() && removed.error().sys_errno() != ENOENT) return removed;
  return Fsync(journal);
}

}  // namespace bailiff
