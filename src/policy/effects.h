#pragma once

#include <functional>
#include <string>
#include <vector>

#include "changeset/model.h"
#include "policy/policy.h"

namespace bailiff {

// Calls `visit` with every path that `set` changes: each change's own, the one it comes from, and
// both names of everything below a directory that moves as a whole. `change` is the one that does
// it. A path may come more than once.
using PathVisitor = std::function<void(const std::string& path, const Change& change)>;
void ForEachPath(const ChangeSet& set, const PolicyContext& context, const PathVisitor& visit);

// Those of them that `matches` is true for, sorted by PathLess(), each once.
std::vector<std::string> PathsWhere(
    const ChangeSet& set, const PolicyContext& context,
    const std::function<bool(const std::string& path, const Change& change)>& matches);

}  // namespace bailiff
