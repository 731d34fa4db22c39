#include "store/execution_list.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"

namespace bailiff {
namespace {

constexpr Sql kFirstSince = "SELECT min(seq) FROM executions WHERE created_ns >= ?1";
// The unary plus keeps SQLite from sorting what another index finds.
constexpr Sql kNewest =
    "SELECT seq FROM executions WHERE seq < ?1 AND seq >= ?2 AND +created_ns >= ?3"
    " ORDER BY seq DESC LIMIT ?4";
constexpr Sql kNewestOfStatus =
    "SELECT seq FROM executions INDEXED BY executions_by_status WHERE seq < ?1 AND seq >= ?2"
    " AND +created_ns >= ?3 AND status = ?5 ORDER BY seq DESC LIMIT ?4";
constexpr Sql kNewestOfCase =
    "SELECT seq FROM executions INDEXED BY executions_by_case WHERE seq < ?1 AND seq >= ?2"
    " AND +created_ns >= ?3 AND (?5 = '' OR status = ?5) AND case_name = ?6"
    " ORDER BY seq DESC LIMIT ?4";
constexpr Sql kNewestOfPrincipal =
    "SELECT seq FROM executions INDEXED BY executions_by_principal WHERE seq < ?1 AND seq >= ?2"
    " AND +created_ns >= ?3 AND (?5 = '' OR status = ?5) AND (?6 = '' OR case_name = ?6)"
    " AND principal = ?7 ORDER BY seq DESC LIMIT ?4";

// One page: the numbers of its rows, newest first.
class PageSearch {
 public:
  PageSearch(const Connection& connection, const ExecutionFilter& filter)
      : connection_(connection),
        filter_(filter),
        before_(filter.before_seq == 0 ? INT64_MAX : filter.before_seq),
        limit_(std::clamp<std::int64_t>(filter.limit, 1, kStoreRowsMax)) {}

  Result<std::vector<std::int64_t>> Find() {
    TRY(FindFirst());
    if (!filter_.sight.has_value()) {
      TRY(AddAll());
    } else {
      TRY(AddSeen(*filter_.sight));
    }
    // What is of a case and of the principal was found twice.
    std::sort(found_.begin(), found_.end(), std::greater<>());
    found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
    if (static_cast<std::int64_t>(found_.size()) > limit_) {
      found_.resize(static_cast<std::size_t>(limit_));
    }
    return std::move(found_);
  }

 private:
  // What was submitted before `since_ns` is not looked at.
  Status FindFirst() {
    if (filter_.since_ns <= 0) return Ok();
    Statement select = TRY(connection_.Prepare(kFirstSince));
    select.Bind(1, filter_.since_ns);
    const bool has_row = TRY(select.Step());
    CHECK(has_row);
    first_ = select.IsNull(0) ? INT64_MAX : select.Int(0);
    return Ok();
  }

  Status AddAll() {
    if (!filter_.case_name.empty()) return AddOfCase(filter_.case_name);
    Statement select = TRY(connection_.Prepare(filter_.status.empty() ? kNewest : kNewestOfStatus));
    if (!filter_.status.empty()) select.BindText(5, filter_.status);
    return Add(&select);
  }

  Status AddSeen(const Sight& sight) {
    for (const std::string& name : sight.cases) {
      if (filter_.case_name.empty() || filter_.case_name == name) TRY(AddOfCase(name));
    }
    Statement select = TRY(connection_.Prepare(kNewestOfPrincipal));
    select.BindText(5, filter_.status).BindText(6, filter_.case_name).BindText(7, sight.principal);
    return Add(&select);
  }

  Status AddOfCase(const std::string& name) {
    Statement select = TRY(connection_.Prepare(kNewestOfCase));
    select.BindText(5, filter_.status).BindText(6, name);
    return Add(&select);
  }

  Status Add(Statement* select) {
    select->Bind(1, before_).Bind(2, first_).Bind(3, filter_.since_ns).Bind(4, limit_);
    for (;;) {
      const bool has_row = TRY(select->Step());
      if (!has_row) return Ok();
      found_.push_back(select->Int(0));
    }
  }

  const Connection& connection_;
  const ExecutionFilter& filter_;
  std::int64_t before_;
  std::int64_t limit_;
  std::int64_t first_ = 0;
  std::vector<std::int64_t> found_;
};

}  // namespace

Result<std::vector<std::int64_t>> FindExecutions(const Connection& connection,
                                                 const ExecutionFilter& filter) {
  return PageSearch(connection, filter).Find();
}

}  // namespace bailiff
