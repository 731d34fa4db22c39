#include "changeset/capture_view.h"

#include <functional>
#include <set>

#include "workspace/tree.h"

namespace bailiff {
namespace {

// The shortest of `paths` at or below which `path` lies. Looks at the directories on the way to
// `path`, since there may be many of `paths` and of what is asked for.
std::string_view Above(const CaptureView::Paths& paths, std::string_view path) {
  if (paths.empty()) return {};
  for (std::size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
    const auto found = paths.find(path.substr(0, slash));
    if (found != paths.end()) return *found;
    if (slash == std::string_view::npos) return {};
  }
}

}  // namespace

std::string_view WholeFolderOf(const CaptureView& view, std::string_view path) {
  return Above(view.whole, path);
}

bool Shows(const CaptureView& view, std::string_view path) {
  return view.hollow.contains(path) || !Above(view.whole, path).empty();
}

bool IsFolder(const CaptureView& view, const std::string& path) {
  return view.whole.contains(path) || view.hollow.contains(path);
}

bool MayMake(const CaptureView& view, std::string_view path) {
  const std::string_view closed = Above(view.closed, path);
  return closed.empty() || closed == path || !Above(view.allowed, path).empty();
}

}  // namespace bailiff
