#include "changeset/capture_base.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "changeset/capture_attributes.h"
#include "changeset/capture_view.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {

Result<Base> Base::Open(const Fd& root, const CaptureView* view) {
  const struct stat st = TRY(Stat(root));
  const Stability stability = TRY(StabilityOf(root));
  return Base(&root, view, st.st_dev, stability);
}

bool Base::IsSeen(std::string_view path) const {
  return view_ == nullptr || Shows(*view_, path);
}

Result<Base::Way> Base::Enter(std::string_view dir) {
  if (current_path_ == dir) return current_way_;
  current_path_.reset();
  Result<Fd> opened = OpenDirBeneath(*root_, dir, O_RDONLY);
  if (opened.ok()) {
    current_ = std::move(opened).value();
    current_way_ = Way::kOpen;
  } else {
    const bool missing = IsNoEntry(opened.error());
    // What openat2(2) may not cross has no errno of its own.
    const bool mount =
        opened.error().code() == ErrorCode::kPermissionDenied && opened.error().sys_errno() == 0;
    if (!missing && !mount) return std::move(opened).error().WithContext("workspace");
    current_way_ = missing ? Way::kMissing : Way::kMount;
  }
  current_path_ = std::string(dir);
  return current_way_;
}

Result<BaseEntry> Base::Look(const std::string& path) {
  return IsSeen(path) ? LookAt(path) : BaseEntry();
}

Result<BaseEntry> Base::LookUnseen(const std::string& path) {
  return IsSeen(path) ? BaseEntry() : LookAt(path);
}

Result<BaseEntry> Base::LookAt(const std::string& path) {
  BaseEntry entry;
  if (path == kPrivateName || IsBelow(path, kPrivateName)) return entry;
  const Way way = TRY(Enter(ParentOf(path)));
  if (way == Way::kMissing) return entry;
  if (way == Way::kMount) {
    entry.state = BaseEntry::State::kMount;
    return entry;
  }
  const std::string name(NameOf(path));
  // A second name that was just made of a file would be missed in a cache.
  const Status fresh = RefreshAt(current_, name);
  if (!fresh.ok() && !IsNoEntry(fresh.error())) return fresh.error();
  const std::optional<struct stat> st = TRY(StatAt(current_, name));
  if (!st.has_value()) return entry;
  entry.identity.mtime_ns = ToNanos(st->st_mtim);
  entry.identity.ctime_ns = ToNanos(st->st_ctim);
  if (st->st_dev != dev_) {
    entry.state = BaseEntry::State::kMount;
    return entry;
  }
  if (!TypeOf(st->st_mode).has_value()) {
    entry.state = BaseEntry::State::kSpecial;
    return entry;
  }
  std::optional<Identity> identity = TRY(IdentityAt(current_, name));
  if (!identity.has_value()) return entry;
  entry.state = BaseEntry::State::kPresent;
  entry.identity = std::move(*identity);
  return entry;
}

Result<std::vector<std::string>> Base::List(const std::string& path) {
  std::vector<std::string> names;
  const Way way = TRY(Enter(path));
  if (way != Way::kOpen) return names;
  names = TRY(ListDir(current_, kTreeEntriesMax));
  if (path.empty()) std::erase(names, kPrivateName);
  std::erase_if(names, [&](const std::string& name) { return !IsSeen(JoinPath(path, name)); });
  std::sort(names.begin(), names.end());
  return names;
}

Result<Fd> Base::OpenToRead(const std::string& path) const {
  const Entry entry = TRY(OpenParent(*root_, path));
  // O_NONBLOCK: a FIFO that took the place must not hold us.
  Fd file = TRY(OpenEntry(entry, O_RDONLY | O_NONBLOCK));
  const struct stat st = TRY(Stat(file));
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    return Error(ErrorCode::kConflict, "open " + entry.name + ": is no longer a regular file");
  }
  return file;
}

Result<std::string> Base::Handle(const std::string& path) {
  const Way way = TRY(Enter(ParentOf(path)));
  return way == Way::kOpen ? HandleAt(current_, std::string(NameOf(path))) : std::string();
}

Result<std::int64_t> Base::BirthTimeOf(const std::string& path) {
  const Way way = TRY(Enter(ParentOf(path)));
  if (way != Way::kOpen) return std::int64_t{0};
  return BirthTime(current_, std::string(NameOf(path)));
}

}  // namespace bailiff
