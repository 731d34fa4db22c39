#include "core/overtaken.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "core/context.h"
#include "core/records.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::int64_t kPageRows = 1000;

Result<std::vector<ProposalRow>> Committing(Context& context) {
  ProposalFilter filter;
  filter.state = ProposalState::kCommitting;
  filter.limit = kStoreRowsMax;
  return context.store().ListProposals(filter);
}

// By path, what other commits touched.
class Touched {
 public:
  void Add(const HistoryRow& row) {
    Add(row.path, row.op);
    if (!row.from_path.empty()) Add(row.from_path, row.op);
  }

  bool Concerns(const Change& change) const {
    const bool leaves = change.op == ChangeOp::kDelete || change.op == ChangeOp::kMove;
    if (leaves && change.type == EntryType::kDir && HasBelow(change.base_path())) return true;
    for (const std::string* path : {&change.path, &change.base_path()}) {
      if (paths_.contains(*path)) return true;
      for (std::string_view dir = ParentOf(*path); !dir.empty(); dir = ParentOf(dir)) {
        if (places_.contains(dir)) return true;
      }
    }
    return false;
  }

 private:
  void Add(const std::string& path, const std::string& op) {
    paths_.insert(path);
    // Another mode of a directory leaves what is in it where it is.
    if (op == "create" || op == "delete" || op == "move") places_.insert(path);
  }

  bool HasBelow(const std::string& dir) const {
    const auto first = paths_.lower_bound(dir + "/");
    return first != paths_.end() && IsBelow(*first, dir);
  }

  std::set<std::string, std::less<>> paths_;
  std::set<std::string, std::less<>> places_;
};

// In this order: a commit that ends meanwhile is in history then.
Result<Touched> TouchedSince(Context& context, std::int64_t base_epoch) {
  Touched touched;
  for (const ProposalRow& listed : TRY(Committing(context))) {
    const ProposalRow row = TRY(context.store().GetProposal(listed.id));
    const ChangeSet set = TRY(Decode(row.change_set));
    for (const HistoryRow& change : HistoryRows(set, 0)) touched.Add(change);
  }
  std::int64_t before_row = 0;
  for (;;) {
    const std::vector<HistoryRow> rows = TRY(context.store().AllHistory(kPageRows, before_row));
    for (const HistoryRow& row : rows) {
      if (row.epoch <= base_epoch) return touched;
      touched.Add(row);
      before_row = row.row;
    }
    if (rows.empty()) return touched;
  }
}

}  // namespace

Result<bool> IsOvertaken(Context& context, std::int64_t base_epoch) {
  if (!TRY(Committing(context)).empty()) return true;
  return TRY(context.store().CurrentEpoch()) > base_epoch;
}

Result<std::vector<PathProblem>> OvertakenPaths(Context& context, std::int64_t base_epoch,
                                                const ChangeSet& set) {
  std::vector<PathProblem> problems;
  const Touched touched = TRY(TouchedSince(context, base_epoch));
  for (const Change& change : set.changes) {
    if (!touched.Concerns(change)) continue;
    problems.push_back({change.base_path(), "changed in the workspace while the script ran"});
  }
  return problems;
}

}  // namespace bailiff
