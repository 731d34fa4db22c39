#include "sandbox/tree_memory.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <sstream>
#include <string>
#include <vector>

#include "sandbox/cgroup.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kThreadsMax = 100'000;

std::int64_t ProcessMemoryBytes(const std::string& proc) {
  std::istringstream lines(ReadControl(proc + "/status"));
  std::int64_t kibibytes = 0;
  for (std::string word; lines >> word;) {
    std::int64_t value = 0;
    if ((word == "RssAnon:" || word == "RssShmem:") && lines >> value) kibibytes += value;
  }
  return kibibytes * 1024;
}

// A child belongs to the thread that forked it.
void AppendChildren(const std::string& proc, std::vector<pid_t>* pids) {
  const Result<Fd> tasks = OpenPath(proc + "/task", O_RDONLY | O_DIRECTORY);
  if (!tasks.ok()) return;
  const Result<std::vector<std::string>> threads = ListDir(tasks.value(), kThreadsMax);
  if (!threads.ok()) return;
  for (const std::string& thread : threads.value()) {
    std::istringstream children(ReadControl(fmt::format("{}/task/{}/children", proc, thread)));
    for (pid_t pid = 0; children >> pid;) pids->push_back(pid);
  }
}

}  // namespace

std::int64_t TreeMemoryBytes(pid_t root) {
  std::int64_t bytes = 0;
  std::vector<pid_t> todo = {root};
  for (std::size_t i = 0; i < todo.size(); ++i) {
    const std::string proc = "/proc/" + std::to_string(todo[i]);
    bytes += ProcessMemoryBytes(proc);
    AppendChildren(proc, &todo);
  }
  return bytes;
}

}  // namespace bailiff
