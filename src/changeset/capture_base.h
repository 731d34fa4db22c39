#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "sys/fd.h"
#include "workspace/identity.h"

namespace bailiff {

struct BaseEntry {
  enum class State : std::uint8_t {
    kMissing,
    kPresent,
    kSpecial,  // A device, socket or FIFO. `identity` holds its times only.
    kMount,    // A mount point, or a path that crosses one.
  };
  State state = State::kMissing;
  Identity identity;

  bool exists() const { return state != State::kMissing; }
  bool Is(EntryType type) const { return state == State::kPresent && identity.type == type; }
};

// The workspace as the base of a run, read by path: as the run saw it. Remembers the directory that
// it looked into last. The private directory .bailiff does not exist here.
class Base {
 public:
  // `root` and `view` must outlive this object. Null: the run saw everything.
  static Result<Base> Open(const Fd& root, const CaptureView* view);

  Result<BaseEntry> Look(const std::string& path);

  // What is at a path that the run did not see; missing if it saw it.
  Result<BaseEntry> LookUnseen(const std::string& path);

  const CaptureView* view() const { return view_; }

  // Names in the directory `path`, sorted; none when it is missing.
  Result<std::vector<std::string>> List(const std::string& path);

  // Opens a regular file or directory to read. May be called by several threads. Errors: kConflict
  // when the entry is no longer one; as OpenParent().
  Result<Fd> OpenToRead(const std::string& path) const;

  // HandleAt() of `path`; empty too when it is missing.
  Result<std::string> Handle(const std::string& path);

  Result<std::int64_t> BirthTimeOf(const std::string& path);

  const Fd& root() const { return *root_; }
  Stability stability() const { return stability_; }

 private:
  enum class Way : std::uint8_t { kOpen, kMissing, kMount };

  Base(const Fd* root, const CaptureView* view, std::uint64_t dev, Stability stability)
      : root_(root), view_(view), dev_(dev), stability_(stability) {}
  bool IsSeen(std::string_view path) const;
  Result<Way> Enter(std::string_view dir);
  Result<BaseEntry> LookAt(const std::string& path);

  const Fd* root_;
  const CaptureView* view_;
  std::uint64_t dev_;
  Stability stability_;
  std::optional<std::string> current_path_;
  Way current_way_ = Way::kMissing;
  Fd current_;
};

// The name of the directory in a workspace's root that is ours.
inline constexpr std::string_view kPrivateName = ".bailiff";

}  // namespace bailiff
