#include "ledger/tail.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "ledger/ledger.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::int64_t kFirstWindowBytes = 16L * 1024;
// The longest torn write, before it the longest record, with room for their hashes.
constexpr std::int64_t kWindowBytesMax =
    static_cast<std::int64_t>(2 * kLedgerGroupBytesMax + 2 * kLedgerRecordBytesMax);

// Splits the end of a file, of which `window` is all or the last part. False when the window must
// be larger to tell.
bool Split(std::string_view window, bool is_whole_file, SegmentEnd* end) {
  const std::size_t last_newline = window.rfind('\n');
  if (last_newline == std::string_view::npos) {
    end->torn = window;
    return is_whole_file;
  }
  end->torn = window.substr(last_newline + 1);
  std::size_t line_begin = 0;
  if (last_newline > 0) {
    const std::size_t previous = window.rfind('\n', last_newline - 1);
    if (previous == std::string_view::npos && !is_whole_file) return false;
    line_begin = previous == std::string_view::npos ? 0 : previous + 1;
  } else if (!is_whole_file) {
    return false;
  }
  end->last_line = window.substr(line_begin, last_newline - line_begin);
  return true;
}

}  // namespace

Result<SegmentEnd> ReadSegmentEnd(const Fd& file) {
  const struct stat st = TRY(Stat(file));
  SegmentEnd end;
  end.ino = st.st_ino;
  for (std::int64_t size = kFirstWindowBytes;; size *= 4) {
    size = std::min({size, kWindowBytesMax, static_cast<std::int64_t>(st.st_size)});
    const std::string window = TRY(ReadAt(file, st.st_size - size, static_cast<std::size_t>(size)));
    if (Split(window, size == st.st_size, &end)) {
      end.whole_size = st.st_size - static_cast<std::int64_t>(end.torn.size());
      return end;
    }
    if (size == kWindowBytesMax) return Error(ErrorCode::kIo, "its last line has no beginning");
  }
}

Result<Fd> LockLedger(const Fd& dir, LockMode mode, int wait_ms) {
  // A reader need not be able to write the directory.
  const std::uint64_t flags = mode == LockMode::kShared ? O_RDONLY : O_RDWR | O_CREAT;
  Fd file = TRY(OpenBeneath(dir, "lock", flags | O_NOFOLLOW, 0600));
  // Holders are quick, so the first pauses are short. Pauses, not a clock, bound the wait: the
  // clock may be a test's.
  constexpr auto kLongestPause = std::chrono::microseconds(5000);
  const auto wait = std::chrono::milliseconds(wait_ms);
  auto pause = std::chrono::microseconds(50);
  for (std::chrono::microseconds waited{0};; waited += pause) {
    const bool taken = TRY(TryLock(file, mode));
    if (taken) return file;
    if (waited >= wait) {
      return Error(ErrorCode::kResourceExhausted,
                   "another process keeps the ledger locked; try again later");
    }
    pause = std::min(pause * 2, kLongestPause);
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace bailiff
