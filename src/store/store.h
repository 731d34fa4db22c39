#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/proposal_state.h"
#include "store/sqlite.h"

// The database: executions, proposals and the history of paths. Schema: docs/formats/database.md.

namespace bailiff {

// No list is longer than this, whatever limit is asked for.
constexpr std::int64_t kStoreRowsMax = 10'000;

struct ExecutionRow {
  std::int64_t seq = 0;  // Order of insertion; given by the store.
  std::string id;
  std::int64_t created_ns = 0;
  std::int64_t updated_ns = 0;
  std::string status;
  std::string case_name;
  std::string script_path;
  std::string principal;
  std::string owner;     // Names the process that runs it.
  std::string document;  // The execution document, always whole.
};

// What a principal who is limited to some cases sees: rows of those cases, and its own.
struct Sight {
  std::vector<std::string> cases;
  std::string principal;
};

// Binds the cases as a JSON array ("" where all is seen) to the one parameter, the principal to the
// other: "?cases = '' OR principal = ?who OR case_name IN (SELECT value FROM json_each(?cases))".
void BindSight(const std::optional<Sight>& sight, int cases, int who, Statement* statement);

struct ExecutionFilter {
  std::int64_t limit = 50;
  // Only older ones than this; 0 for all. The last row's seq pages on.
  std::int64_t before_seq = 0;
  std::string status{};     // Empty for all.
  std::string case_name{};  // Empty for all.
  std::int64_t since_ns = 0;
  std::optional<Sight> sight{};
};

enum class ProposalKind : std::uint8_t { kExecution, kPlan, kRollback };
std::string_view Name(ProposalKind kind);  // "execution", "plan", "rollback"

struct ProposalCounts {
  std::int64_t created = 0;
  std::int64_t modified = 0;
  std::int64_t deleted = 0;
  std::int64_t moved = 0;
  std::int64_t metadata = 0;
  std::int64_t bytes_written = 0;

  bool operator==(const ProposalCounts&) const = default;
};

struct ProposalRow {
  std::int64_t seq = 0;  // Order of insertion; given by the store.
  std::string id;        // Of the execution, plan or rollback.
  ProposalKind kind = ProposalKind::kExecution;
  ProposalState state = ProposalState::kNone;
  std::string digest;      // Raw; empty where there is no change set.
  std::string origin;      // kRollback: the id that is rolled back.
  std::string created_by;  // The principal.
  std::string case_name;   // Empty: none.
  std::int64_t created_ns = 0;
  std::int64_t decided_ns = 0;  // 0 until somebody decided.
  std::string decided_by;
  ProposalCounts counts;
  std::string change_set;  // Encoded. Lists leave it out.
  std::string problems;    // JSON text: what was refused or is in conflict. Empty for nothing.
  std::optional<std::int64_t> epoch;  // Once committed.
};

struct ProposalFilter {
  std::int64_t limit = 50;
  std::int64_t before_seq = 0;  // As in ExecutionFilter.
  std::optional<ProposalState> state{};
  std::optional<ProposalKind> kind{};
  std::optional<Sight> sight{};
};

struct HistoryRow {
  std::int64_t row = 0;  // Order of insertion; given by the store, as are epoch and proposal_id.
  std::int64_t epoch = 0;
  std::string proposal_id{};
  std::string op{};         // "create", "modify", "delete", "move", "metadata"
  std::string type{};       // "file", "dir", "symlink"
  std::string path{};       // As in a change: final, but of a delete.
  std::string from_path{};  // As in a change: the base path of a move, or where it differs.
  std::string sha256{};     // Raw; empty where no content was written.
  std::int64_t size = 0;
  std::int64_t at_ns = 0;  // 0: the store gives the time of the commit.
};

// A change that concerned a path, and the name that the file had after it.
struct PathEvent {
  HistoryRow row;
  std::string path_then;
};

// One connection. Several processes may share the file; every call is one short transaction. One
// thread at a time; not to be used on both sides of a fork.
//
// A change is durable when its call returns, but for three that the ledger or a commit's journal
// tells too, and that become so with the next one: a new execution, a proposal that is born ended,
// and RecordCommit().
//
// Errors of every function, besides those named: kResourceExhausted when the database stays locked
// for 10 s or the disk is full; kIo, with what to do where the file is damaged.
class Store {
 public:
  // Opens, makes or migrates the database at `path` (absolute; on a local disk).
  // Errors: kUnsupported when a newer version made it; kInvalidArgument when it is not Bailiff's.
  static Result<Store> Open(const std::string& path);

  // Makes all that was changed until now durable.
  Status Sync();

  // Errors: kConflict when there is one with this id.
  Status InsertExecution(const ExecutionRow& row);
  Status InsertExecutionRow(const ExecutionRow& row);  // Within the caller's transaction.
  // Replaces the state and the document. Errors: kNotFound.
  Status UpdateExecution(const std::string& id, std::string_view status, std::string_view document,
                         std::int64_t now_ns);
  Result<ExecutionRow> GetExecution(const std::string& id);  // Errors: kNotFound.
  Result<std::vector<ExecutionRow>> ListExecutions(const ExecutionFilter& filter);  // Newest first.
  // Those whose status is "queued" or "running", oldest first.
  Result<std::vector<ExecutionRow>> RunningExecutions();

  // How many there are, by status and by state.
  Result<std::map<std::string, std::int64_t>> CountExecutions();
  Result<std::map<std::string, std::int64_t>> CountProposals();

  // The ids of executions, proposals and plans that begin so, in order, at most `limit`. An id that
  // is equal to `prefix` is the only one.
  Result<std::vector<std::string>> FindByPrefix(std::string_view prefix, std::int64_t limit = 10);

  // Errors: kConflict when there is one with this id.
  Status InsertProposal(const ProposalRow& row);
  Result<ProposalRow> GetProposal(const std::string& id);  // Errors: kNotFound.
  Result<std::vector<ProposalRow>> ListProposals(const ProposalFilter& filter);  // Newest first.

  // Moves a proposal on. With `decided_by` (not empty), records who decided and when.
  // Errors: kConflict when it is not in state `from` (the message says which); kNotFound;
  //         kInternal when CanBecome() forbids it.
  Status ChangeState(const std::string& id, ProposalState from, ProposalState to,
                     std::string_view decided_by, std::int64_t now_ns);

  // Replaces digest, change_set, counts and problems by those of `row`, for as long as the proposal
  // is held. Errors: kConflict when it is not; kNotFound.
  Status SetProposalContent(const ProposalRow& row);
  Status SetProblems(const std::string& id, std::string_view problems);  // Errors: kNotFound.

  // In one transaction: takes the proposal from `from` to committed, counts the epoch up, adds
  // `rows` under that epoch, and marks what a rollback undid as rolled_back. Returns the epoch.
  // Errors: as ChangeState().
  Result<std::int64_t> RecordCommit(const std::string& id, ProposalState from,
                                    const std::vector<HistoryRow>& rows, std::int64_t now_ns);
  Result<std::int64_t> CurrentEpoch();  // Of the last commit; 0 before the first.

  // What happened to the file now at `path`, newest first: back through its own moves and those of
  // the directories above it, with moves away and deletions of what was there.
  Result<std::vector<PathEvent>> PathHistory(std::string_view path, std::int64_t limit = 100);
  // Changes to, from or below `folder`, newest first; all of them for "". `before_row` pages on.
  Result<std::vector<HistoryRow>> FolderHistory(std::string_view folder, std::int64_t limit = 100,
                                                std::int64_t before_row = 0);
  Result<std::vector<HistoryRow>> AllHistory(std::int64_t limit = 100, std::int64_t before_row = 0);

  // For the tables that have headers of their own (store/tokens.h and others).
  const Connection& connection() const { return connection_; }

  // Small values of the core's own. Nothing when never set.
  Result<std::optional<std::string>> GetMeta(std::string_view key);
  Status SetMeta(std::string_view key, std::string_view value);

 private:
  explicit Store(Connection connection) : connection_(std::move(connection)) {}
  Status WriteState(const std::string& id, ProposalState from, ProposalState to);
  Status InsertHistory(const std::string& id, std::int64_t epoch,
                       const std::vector<HistoryRow>& rows, std::int64_t now_ns);
  Status MarkRolledBack(const std::string& id);

  Connection connection_;
};

}  // namespace bailiff
