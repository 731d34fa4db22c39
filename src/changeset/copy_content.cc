#include "changeset/copy_content.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

#include "base/sha256.h"
#include "sys/file.h"
#include "sys/retry.h"

namespace bailiff {
namespace {

constexpr std::size_t kChunkBytes = 256UL * 1024;

// Copies what is not a hole, and hashes all.
class Copier {
 public:
  Result<std::string> Copy(const Fd& from, const Fd& to) {
    const struct stat st = TRY(Stat(from));
    if (!S_ISREG(st.st_mode)) return Error(ErrorCode::kConflict, "is no longer a regular file");
    // Files are small, and many: fresh memory would cost more than what is read into it.
    chunk_.resize(std::min(static_cast<std::size_t>(st.st_size), kChunkBytes));
    Sha256 hash;
    const bool may_have_holes = st.st_blocks * kStatBlockBytes < st.st_size;
    if (may_have_holes) {
      TRY(CopySparse(from, to, st.st_size, &hash));
    } else {
      TRY(CopyRange(from, to, 0, st.st_size, &hash));
    }
    return hash.Finish();
  }

 private:
  Status CopySparse(const Fd& from, const Fd& to, off_t size, Sha256* hash) {
    off_t at = 0;
    while (at < size) {
      off_t data = ::lseek(from.get(), at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) data = size;
      if (data < 0) data = at;  // A file system that does not tell has no holes.
      HashZeros(data - at, hash);
      off_t end = data < size ? ::lseek(from.get(), data, SEEK_HOLE) : data;
      if (end < 0) end = size;
      if (data < end && ::lseek(to.get(), data, SEEK_SET) < 0) {
        return Error::FromErrno(errno, "seek");
      }
      TRY(CopyRange(from, to, data, end, hash));
      at = end;
    }
    const auto cut = [&] { return ::ftruncate(to.get(), size); };
    return RetryInterrupted(cut) == 0 ? Ok() : Status(Error::FromErrno(errno, "truncate"));
  }

  void HashZeros(off_t size, Sha256* hash) {
    if (size > 0) std::fill(chunk_.begin(), chunk_.end(), '\0');
    while (size > 0) {
      const std::size_t part = std::min(static_cast<std::size_t>(size), chunk_.size());
      hash->Update(std::string_view(chunk_.data(), part));
      size -= static_cast<off_t>(part);
    }
  }

  // To where `to` stands.
  Status CopyRange(const Fd& from, const Fd& to, off_t begin, off_t end, Sha256* hash) {
    while (begin < end) {
      const std::size_t part = std::min(static_cast<std::size_t>(end - begin), chunk_.size());
      const ssize_t n =
          RetryInterrupted([&] { return ::pread(from.get(), chunk_.data(), part, begin); });
      if (n < 0) return Error::FromErrno(errno, "read");
      if (n == 0) return Error(ErrorCode::kConflict, "became shorter while it was read");
      const std::string_view bytes(chunk_.data(), static_cast<std::size_t>(n));
      hash->Update(bytes);
      TRY(WriteAll(to, bytes));
      begin += n;
    }
    return Ok();
  }

  std::vector<char> chunk_;
};

}  // namespace

Result<std::string> CopyContent(const Fd& from, const Fd& to) {
  return Copier().Copy(from, to);
}

}  // namespace bailiff
