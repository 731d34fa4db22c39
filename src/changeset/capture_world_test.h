#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "changeset/capture.h"

namespace bailiff {

// What a tree looks like to someone who reads it all.
struct Seen {
  char type = 'f';
  unsigned mode = 0;
  std::string content;  // Or the target of a link.
  std::int64_t mtime_ns = 0;
  std::uint64_t ino = 0;
  bool operator==(const Seen& other) const {
    // A directory's time and all inode numbers are compared elsewhere.
    return type == other.type && mode == other.mode && content == other.content &&
           (type == 'd' || mtime_ns == other.mtime_ns);
  }
};
using Tree = std::map<std::string, Seen>;
Tree ReadTree(const std::string& dir);
void PrintTo(const Seen& seen, std::ostream* os);

// A file system of its own (a tmpfs) with
//   base/    the workspace, .bailiff in it      mask/  hides .bailiff
//   upper/, work/, merged/                      applied/, holding/  the oracle's
// and a real overlay over it while a script runs. Everything in it is old when the script starts.
class World {
 public:
  // Empty string, or why it cannot be made here.
  std::string Make(OverlayAttributes attributes);
  ~World();

  std::string Base(std::string_view path = "") const { return At("base", path); }
  std::string Upper(std::string_view path = "") const { return At("upper", path); }
  std::string Staged(std::string_view path) const { return At("base/.bailiff", path); }

  // Runs `script` on the mounted overlay. It gets the merged directory, with a slash at its end.
  void Run(const std::function<void(const std::string&)>& script);

  Result<CaptureResult> TryCapture();
  // Fails the test on an error, or when the change set, applied to a copy of the base, does not
  // give the tree that the script saw at its end.
  CaptureResult CaptureAndProve();

  // Applies a change set to a copy of the base. Fails the test where an operation fails.
  Tree Apply(const CaptureResult& result);

  CaptureOptions options;
  bool cannot_be_read = false;  // Leaves `after` empty.
  Tree before;                  // Of the base.
  Tree after;                   // Of the merged directory when the script was done.

 private:
  std::string At(std::string_view top, std::string_view path) const;
  void Prove(const CaptureResult& result);

  std::string dir_;
  std::set<std::uint64_t> linked_;  // Inodes in applied/ that are hard links of the base.
  OverlayAttributes attributes_ = OverlayAttributes::kTrusted;
};

// "move b (from a)", "create l -> a", "create h = f [executable]", in canonical order.
std::vector<std::string> Describe(const CaptureResult& result);
std::string Describe(const Change& change);

// "path: reason".
std::vector<std::string> Describe(const std::vector<PathProblem>& problems);

// File operations that fail the test where they fail.
void Write(const std::string& path, std::string_view content);  // Creates or replaces content.
void Append(const std::string& path, std::string_view content);
void MakeDirs(const std::string& path);
void Move(const std::string& from, const std::string& to, unsigned flags = 0);
void HardLink(const std::string& from, const std::string& to);
void Symlink(const std::string& target, const std::string& path);
void Chmod(const std::string& path, unsigned mode);
void SetTime(const std::string& path, std::int64_t mtime_ns);
void Remove(const std::string& path);  // With all below.

// Waits until the clock that stamps files has passed `nanos`.
void AwaitFileClock(std::int64_t nanos);
std::int64_t WallNow();

inline constexpr std::int64_t kOldNs = 1'000'000'000LL * 1'000'000'000LL;

class CaptureTest : public ::testing::Test {
 protected:
  void Use(OverlayAttributes attributes);
  World world_;
};

// Runs on both kinds of overlay.
class CaptureBothTest : public CaptureTest,
                        public ::testing::WithParamInterface<OverlayAttributes> {
 protected:
  void SetUp() override { Use(GetParam()); }
};

class CaptureTrustedTest : public CaptureTest {
 protected:
  void SetUp() override { Use(OverlayAttributes::kTrusted); }
};

class CaptureUserTest : public CaptureTest {
 protected:
  void SetUp() override { Use(OverlayAttributes::kUser); }
};

}  // namespace bailiff
