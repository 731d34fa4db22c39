#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/result.h"
#include "sys/file.h"

// What fuzz targets share. A property that does not hold aborts by CHECK, which libFuzzer reports
// as a crash and keeps the input of.

namespace bailiff {

// The text that libFuzzer hands over.
inline std::string_view TextOf(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A target of several parsers: the first byte chooses one, the rest is for it.
inline std::uint8_t Choose(std::string_view* input, std::uint8_t count) {
  if (input->empty()) return 0;
  const auto chosen = static_cast<std::uint8_t>(static_cast<std::uint8_t>(input->front()) % count);
  input->remove_prefix(1);
  return chosen;
}

// A directory in memory for parsers that read files. Goes when the process ends by itself.
class MemoryDir {
 public:
  MemoryDir() : path_("/dev/shm/bailiff-fuzz-XXXXXX") {
    CHECK(::mkdtemp(path_.data()) != nullptr);
    Result<Fd> opened = OpenPath(path_, O_RDONLY | O_DIRECTORY);
    CHECK(opened.ok());
    fd_ = std::move(opened).value();
  }
  ~MemoryDir() {
    Result<Fd> parent = OpenPath("/dev/shm", O_RDONLY | O_DIRECTORY);
    // What stays is memory of a test machine.
    if (parent.ok()) (void)RemoveTree(parent.value(), path_.substr(path_.rfind('/') + 1));
  }
  MemoryDir(const MemoryDir&) = delete;
  MemoryDir& operator=(const MemoryDir&) = delete;

  const Fd& fd() const { return fd_; }
  const std::string& path() const { return path_; }

  void Put(const std::string& name, std::string_view bytes) const {
    const Result<Fd> file = OpenPath(path_ + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(file.ok());
    CHECK(WriteAll(file.value(), bytes).ok());
  }

 private:
  std::string path_;
  Fd fd_;
};

}  // namespace bailiff
