#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/check.h"

namespace bailiff {

// A directory of its own for a test, removed with everything in it at the end.
class TempDir {
 public:
  TempDir() : path_("/tmp/bailiff-test-XXXXXX") {
    char* made = ::mkdtemp(path_.data());
    CHECK(made != nullptr);
  }
  ~TempDir() {
    std::error_code ignored;  // What is left behind in /tmp fails no test.
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string Path(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace bailiff
