#include "sys/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "sys/file.h"
#include "sys/process.h"

namespace bailiff {
namespace {

constexpr std::uint32_t kIdsEnd = 0xFFFFFFFF;  // The last number is "no id".
constexpr std::size_t kMapBytesMax = 4096;

std::string ToText(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& range : ranges) {
    text += std::to_string(range.inside) + ' ' + std::to_string(range.outside) + ' ' +
            std::to_string(range.count) + '\n';
  }
  return text;
}

Status WriteProcFile(pid_t pid, std::string_view name, std::string_view text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + std::string(name);
  const Fd file = TRY(OpenPath(path, O_WRONLY));
  // The kernel takes a map in one write or not at all.
  if (::write(file.get(), text.data(), text.size()) < 0) return Error::FromErrno(errno, path);
  return Ok();
}

// Lives until it is killed: Process does that.
void HoldNamespace(const void* /*unused*/) {
  for (;;) ::syscall(SYS_pause);
}

}  // namespace

Status WriteIdMaps(pid_t pid, const IdMaps& maps, SetGroups set_groups) {
  if (set_groups == SetGroups::kDeny) TRY(WriteProcFile(pid, "setgroups", "deny"));
  TRY(WriteProcFile(pid, "uid_map", ToText(maps.uids)));
  return WriteProcFile(pid, "gid_map", ToText(maps.gids));
}

std::vector<IdRange> ExchangeIds(std::uint32_t a, std::uint32_t b) {
  if (a > b) std::swap(a, b);
  std::vector<IdRange> ranges;
  if (a > 0) ranges.push_back({0, 0, a});
  if (a == b) {
    ranges.push_back({a, a, kIdsEnd - a});
    return ranges;
  }
  ranges.push_back({a, b, 1});
  if (b > a + 1) ranges.push_back({a + 1, a + 1, b - a - 1});
  ranges.push_back({b, a, 1});
  if (b + 1 < kIdsEnd) ranges.push_back({b + 1, b + 1, kIdsEnd - b - 1});
  return ranges;
}

Result<Fd> MakeUserNamespace(const IdMaps& maps) {
  const ChildStack stack = TRY(ChildStack::Make());
  const Process holder = TRY(CloneSharing(CLONE_NEWUSER, stack, HoldNamespace, nullptr));
  TRY(WriteIdMaps(holder.pid(), maps, SetGroups::kAllow));
  return OpenUserNamespace(holder.pid());
}

Result<Fd> OpenUserNamespace(pid_t pid) {
  return OpenPath("/proc/" + std::to_string(pid) + "/ns/user", O_RDONLY);
}

Result<bool> InInitialUserNamespace() {
  const Fd file = TRY(OpenPath("/proc/self/uid_map", O_RDONLY));
  std::string text = TRY(ReadAll(file, kMapBytesMax));
  std::erase(text, ' ');
  return text == "004294967295\n";
}

}  // namespace bailiff
