#include "sandbox/uid_pool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <utility>

#include "sys/file.h"

namespace bailiff {
namespace {

Status MakePath(const std::string& directory) {
  for (std::size_t end = directory.find('/', 1);; end = directory.find('/', end + 1)) {
    const std::string part = directory.substr(0, end);
    // 0711: rootless sandboxes and tests of other users may look for what is below by name.
    if (::mkdir(part.c_str(), 0711) != 0 && errno != EEXIST) {
      return Error::FromErrno(errno, "make " + part);
    }
    if (end == std::string::npos) return Ok();
  }
}

}  // namespace

Result<UidLease> LeaseUid(const std::string& directory, const UidRange& range) {
  if (range.first == 0 || range.count == 0 ||
      range.first > std::numeric_limits<std::uint32_t>::max() - range.count) {
    return Error(ErrorCode::kInvalidArgument, "uid range: must be above 0 and below 4294967295");
  }
  TRY(MakePath(directory));
  const Fd dir = TRY(OpenPath(directory, O_RDONLY | O_DIRECTORY));
  // Starting at different places keeps concurrent launches from queueing at the first files.
  const std::uint32_t start = static_cast<std::uint32_t>(::getpid()) % range.count;
  for (std::uint32_t i = 0; i < range.count; ++i) {
    const std::uint32_t uid = range.first + (start + i) % range.count;
    Fd lock = TRY(OpenBeneath(dir, std::to_string(uid), O_RDWR | O_CREAT, 0600));
    if (TRY(TryLock(lock, LockMode::kExclusive))) return UidLease{uid, std::move(lock)};
  }
  return Error(ErrorCode::kResourceExhausted,
               "no free uid: " + std::to_string(range.count) + " sandboxes are running");
}

}  // namespace bailiff
