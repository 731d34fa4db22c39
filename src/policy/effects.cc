#include "policy/effects.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "workspace/tree.h"

namespace bailiff {
namespace {

using MovesBySource = std::unordered_map<std::string_view, const Change*>;

// The move that takes `path` along: that of the nearest directory above it. Null when `path` itself
// moves (its own change says so) or nothing above it does.
const Change* MoveAbove(const MovesBySource& moves, std::string_view path) {
  if (moves.contains(path)) return nullptr;
  std::size_t slash = path.rfind('/');
  while (slash != std::string_view::npos) {
    const auto found = moves.find(path.substr(0, slash));
    if (found != moves.end()) return found->second;
    if (slash == 0) break;
    slash = path.rfind('/', slash - 1);
  }
  return nullptr;
}

}  // namespace

void ForEachPath(const ChangeSet& set, const PolicyContext& context, const PathVisitor& visit) {
  MovesBySource moves;
  for (const Change& change : set.changes) {
    visit(change.path, change);
    if (!change.from.empty()) visit(change.from, change);
    if (change.op == ChangeOp::kMove) moves.emplace(change.from, &change);
  }
  for (const std::string& path : context.moved_below) {
    const Change* move = MoveAbove(moves, path);
    if (move == nullptr) continue;
    visit(path, *move);
    visit(move->path + path.substr(move->from.size()), *move);
  }
}

std::vector<std::string> PathsWhere(
    const ChangeSet& set, const PolicyContext& context,
    const std::function<bool(const std::string& path, const Change& change)>& matches) {
  std::vector<std::string> paths;
  ForEachPath(set, context, [&](const std::string& path, const Change& change) {
    if (matches(path, change)) paths.push_back(path);
  });
  std::sort(paths.begin(), paths.end(), PathLess);
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

}  // namespace bailiff
