#include "store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/matchers.h"

namespace bailiff {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

static_assert(!std::is_convertible_v<std::string, Sql>);
static_assert(!std::is_convertible_v<const char*, Sql>);
static_assert(!std::is_convertible_v<std::string_view, Sql>);

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() : root_(::testing::TempDir() + "store." + std::to_string(::getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~StoreTest() override { fs::remove_all(root_); }

  std::string path() const { return root_ + "/bailiff.db"; }

  Store Open() const {
    Result<Store> store = Store::Open(path());
    EXPECT_THAT(store, IsOk());
    return std::move(store).value();
  }

  static ExecutionRow Execution(const std::string& id, const std::string& status = "running") {
    ExecutionRow row;
    row.id = id;
    row.created_ns = 100;
    row.updated_ns = 101;
    row.status = status;
    row.case_name = "Wilson";
    row.script_path = "/Tools/x.py";
    row.principal = "local:1000";
    row.owner = "host:42";
    row.document = R"({"execution_id":")" + id + "\"}";
    return row;
  }

  static ProposalRow Proposal(const std::string& id, ProposalState state = ProposalState::kHeld) {
    ProposalRow row;
    row.id = id;
    row.kind = ProposalKind::kExecution;
    row.state = state;
    row.digest = std::string("\x00\xff\x01", 3);
    row.created_ns = 200;
    row.counts = {1, 2, 3, 4, 5, 6};
    row.change_set = std::string("set\0bytes", 9);
    row.problems = R"([{"path":"a"}])";
    return row;
  }

  static std::vector<std::string> Ids(const auto& rows) {
    std::vector<std::string> ids;
    ids.reserve(rows.size());
    for (const auto& row : rows) ids.push_back(row.id);
    return ids;
  }

  const std::string root_;
};

TEST_F(StoreTest, GivesBackAnExecutionAndItsUpdate) {
  Store store = Open();
  ASSERT_THAT(store.InsertExecution(Execution("exec_1")), IsOk());
  ASSERT_THAT(store.UpdateExecution("exec_1", "succeeded", "{\"n\":1}", 500), IsOk());
  const Result<ExecutionRow> row = Open().GetExecution("exec_1");
  ASSERT_THAT(row, IsOk());
  EXPECT_EQ(row.value().seq, 1);
  EXPECT_EQ(row.value().created_ns, 100);
  EXPECT_EQ(row.value().updated_ns, 500);
  EXPECT_EQ(row.value().status, "succeeded");
  EXPECT_EQ(row.value().case_name, "Wilson");
  EXPECT_EQ(row.value().script_path, "/Tools/x.py");
  EXPECT_EQ(row.value().principal, "local:1000");
  EXPECT_EQ(row.value().owner, "host:42");
  EXPECT_EQ(row.value().document, "{\"n\":1}");
}

TEST_F(StoreTest, AnExecutionThatIsThereOrNotThereIsAnError) {
  Store store = Open();
  ASSERT_THAT(store.InsertExecution(Execution("exec_1")), IsOk());
  EXPECT_THAT(store.InsertExecution(Execution("exec_1")), FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(store.GetExecution("exec_2"), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(store.UpdateExecution("exec_2", "failed", "{}", 1), FailsWith(ErrorCode::kNotFound));
}

TEST_F(StoreTest, ListsExecutionsNewestFirstByPageAndFilter) {
  Store store = Open();
  for (const char* id : {"exec_1", "exec_2", "exec_3", "exec_4"}) {
    const bool is_even = id[5] == '2' || id[5] == '4';
    ExecutionRow row = Execution(id, is_even ? "succeeded" : "running");
    if (id[5] == '4') row.case_name = "Smith";
    ASSERT_THAT(store.InsertExecution(row), IsOk());
  }
  const auto page = store.ListExecutions({.limit = 2}).value();
  EXPECT_THAT(Ids(page), ElementsAre("exec_4", "exec_3"));
  const auto next = store.ListExecutions({.limit = 2, .before_seq = page.back().seq}).value();
  EXPECT_THAT(Ids(next), ElementsAre("exec_2", "exec_1"));
  EXPECT_THAT(Ids(store.ListExecutions({.status = "succeeded"}).value()),
              ElementsAre("exec_4", "exec_2"));
  EXPECT_THAT(Ids(store.ListExecutions({.case_name = "Smith"}).value()), ElementsAre("exec_4"));
  EXPECT_THAT(Ids(store.RunningExecutions().value()), ElementsAre("exec_1", "exec_3"));
}

TEST_F(StoreTest, ListsWhatATokenSeesOnceAndWithEveryFilter) {
  Store store = Open();
  for (int i = 0; i < 6; ++i) {
    ExecutionRow row = Execution("exec_" + std::to_string(i));
    row.status = i % 2 == 0 ? "succeeded" : "failed";
    row.case_name = i < 2 ? "Smith" : "Jones";
    row.principal = i == 0 || i == 4 ? "token:mine" : "token:other";
    row.created_ns = 100 + i;
    ASSERT_THAT(store.InsertExecution(row), IsOk());
  }
  const Sight smith{{"Smith"}, "token:mine"};
  const auto list = [&](const ExecutionFilter& filter) {
    return Ids(store.ListExecutions(filter).value());
  };
  EXPECT_THAT(list({.sight = smith}), ElementsAre("exec_4", "exec_1", "exec_0"));
  EXPECT_THAT(list({.limit = 2, .sight = smith}), ElementsAre("exec_4", "exec_1"));
  EXPECT_THAT(list({.status = "succeeded", .sight = smith}), ElementsAre("exec_4", "exec_0"));
  EXPECT_THAT(list({.case_name = "Jones", .sight = smith}), ElementsAre("exec_4"));
  EXPECT_THAT(list({.case_name = "Smith", .sight = smith}), ElementsAre("exec_1", "exec_0"));
  EXPECT_THAT(list({.since_ns = 101, .sight = smith}), ElementsAre("exec_4", "exec_1"));
  EXPECT_THAT(list({.status = "failed", .case_name = "Jones"}), ElementsAre("exec_5", "exec_3"));
  EXPECT_THAT(list({.status = "failed", .since_ns = 104}), ElementsAre("exec_5"));
  EXPECT_THAT(list({.since_ns = 106}), ElementsAre());
}

TEST_F(StoreTest, FindsIdsByTheirBeginning) {
  Store store = Open();
  ASSERT_THAT(store.InsertExecution(Execution("exec_12")), IsOk());
  ASSERT_THAT(store.InsertExecution(Execution("exec_1")), IsOk());
  ASSERT_THAT(store.InsertProposal(Proposal("exec_12")), IsOk());
  ASSERT_THAT(store.InsertProposal(Proposal("plan_1")), IsOk());
  EXPECT_THAT(store.FindByPrefix("exec_").value(), ElementsAre("exec_1", "exec_12"));
  EXPECT_THAT(store.FindByPrefix("exec_1").value(), ElementsAre("exec_1"));
  EXPECT_THAT(store.FindByPrefix("p").value(), ElementsAre("plan_1"));
  EXPECT_THAT(store.FindByPrefix("", 2).value(), ElementsAre("exec_1", "exec_12"));
  EXPECT_THAT(store.FindByPrefix("%").value(), IsEmpty());
}

TEST_F(StoreTest, GivesBackAProposal) {
  Store store = Open();
  ProposalRow row = Proposal("roll_1", ProposalState::kCommitting);
  row.kind = ProposalKind::kRollback;
  row.origin = "exec_1";
  ASSERT_THAT(store.InsertProposal(row), IsOk());
  EXPECT_THAT(store.InsertProposal(row), FailsWith(ErrorCode::kConflict));
  const Result<ProposalRow> got = store.GetProposal("roll_1");
  ASSERT_THAT(got, IsOk());
  EXPECT_EQ(got.value().kind, ProposalKind::kRollback);
  EXPECT_EQ(got.value().state, ProposalState::kCommitting);
  EXPECT_EQ(got.value().digest, row.digest);
  EXPECT_EQ(got.value().origin, "exec_1");
  EXPECT_EQ(got.value().created_ns, 200);
  EXPECT_EQ(got.value().counts, row.counts);
  EXPECT_EQ(got.value().change_set, row.change_set);
  EXPECT_EQ(got.value().problems, row.problems);
  EXPECT_FALSE(got.value().epoch.has_value());
  EXPECT_THAT(store.GetProposal("roll_2"), FailsWith(ErrorCode::kNotFound));
}

TEST_F(StoreTest, ListsProposalsByStateAndKindWithoutTheirChangeSets) {
  Store store = Open();
  ASSERT_THAT(store.InsertProposal(Proposal("exec_1")), IsOk());
  ASSERT_THAT(store.InsertProposal(Proposal("exec_2", ProposalState::kDenied)), IsOk());
  ProposalRow plan = Proposal("plan_1");
  plan.kind = ProposalKind::kPlan;
  ASSERT_THAT(store.InsertProposal(plan), IsOk());
  const auto held = store.ListProposals({.state = ProposalState::kHeld}).value();
  EXPECT_THAT(Ids(held), ElementsAre("plan_1", "exec_1"));
  EXPECT_EQ(held[0].change_set, "");
  EXPECT_EQ(held[0].counts, plan.counts);
  EXPECT_THAT(Ids(store.ListProposals({.kind = ProposalKind::kPlan}).value()),
              ElementsAre("plan_1"));
  EXPECT_THAT(Ids(store.ListProposals({.limit = 1, .before_seq = held[0].seq}).value()),
              ElementsAre("exec_2"));
}

TEST_F(StoreTest, AStateChangesOnlyFromTheOneThatIsExpected) {
  Store store = Open();
  using enum ProposalState;
  ASSERT_THAT(store.InsertProposal(Proposal("plan_1")), IsOk());
  ASSERT_THAT(store.ChangeState("plan_1", kHeld, kApproved, "local:7", 900), IsOk());
  EXPECT_EQ(store.GetProposal("plan_1").value().decided_by, "local:7");
  EXPECT_EQ(store.GetProposal("plan_1").value().decided_ns, 900);

  const Status again = store.ChangeState("plan_1", kHeld, kRejected, "local:8", 901);
  ASSERT_THAT(again, FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(again.error().message(), HasSubstr("'plan_1' is approved, not held"));
  EXPECT_THAT(store.ChangeState("plan_1", kApproved, kHeld, "", 902),
              FailsWith(ErrorCode::kInternal));
  EXPECT_THAT(store.ChangeState("plan_2", kHeld, kApproved, "", 902),
              FailsWith(ErrorCode::kNotFound));

  ASSERT_THAT(store.ChangeState("plan_1", kApproved, kCommitting, "", 903), IsOk());
  EXPECT_EQ(store.GetProposal("plan_1").value().state, kCommitting);
  EXPECT_EQ(store.GetProposal("plan_1").value().decided_by, "local:7");
}

TEST_F(StoreTest, ContentChangesOnlyWhileItIsHeld) {
  Store store = Open();
  ProposalRow row = Proposal("plan_1");
  ASSERT_THAT(store.InsertProposal(row), IsOk());
  row.digest = "new";
  row.counts.created = 70;
  row.change_set = "other";
  ASSERT_THAT(store.SetProposalContent(row), IsOk());
  EXPECT_EQ(store.GetProposal("plan_1").value().digest, "new");
  EXPECT_EQ(store.GetProposal("plan_1").value().counts, row.counts);
  ASSERT_THAT(store.ChangeState("plan_1", ProposalState::kHeld, ProposalState::kApproved, "p", 1),
              IsOk());
  row.digest = "newer";
  EXPECT_THAT(store.SetProposalContent(row), FailsWith(ErrorCode::kConflict));
  EXPECT_EQ(store.GetProposal("plan_1").value().digest, "new");
  ASSERT_THAT(store.SetProblems("plan_1", "[]"), IsOk());
  EXPECT_EQ(store.GetProposal("plan_1").value().problems, "[]");
  EXPECT_THAT(store.SetProblems("plan_2", "[]"), FailsWith(ErrorCode::kNotFound));
}

TEST_F(StoreTest, ACommitIsRecordedWholeOrNotAtAll) {
  Store store = Open();
  using enum ProposalState;
  ASSERT_THAT(store.InsertProposal(Proposal("exec_1", kCommitting)), IsOk());
  ASSERT_THAT(store.InsertProposal(Proposal("exec_2", kHeld)), IsOk());
  EXPECT_EQ(store.CurrentEpoch().value(), 0);
  HistoryRow row{.op = "create", .type = "file", .path = "a\xff", .sha256 = "h", .size = 3};
  EXPECT_EQ(store.RecordCommit("exec_1", kCommitting, {row}, 777).value(), 1);
  EXPECT_EQ(store.GetProposal("exec_1").value().state, kCommitted);
  EXPECT_EQ(store.GetProposal("exec_1").value().epoch, 1);
  const auto history = store.AllHistory().value();
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].epoch, 1);
  EXPECT_EQ(history[0].proposal_id, "exec_1");
  EXPECT_EQ(history[0].path, "a\xff");
  EXPECT_EQ(history[0].sha256, "h");
  EXPECT_EQ(history[0].size, 3);
  EXPECT_EQ(history[0].at_ns, 777);

  EXPECT_THAT(store.RecordCommit("exec_1", kCommitting, {row}, 778),
              FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(store.RecordCommit("exec_2", kHeld, {row}, 778), FailsWith(ErrorCode::kInternal));
  EXPECT_THAT(store.RecordCommit("exec_3", kCommitting, {row}, 778),
              FailsWith(ErrorCode::kNotFound));
  EXPECT_EQ(store.CurrentEpoch().value(), 1);
  EXPECT_EQ(store.AllHistory().value().size(), 1U);
}

TEST_F(StoreTest, ACommittedRollbackMarksWhatItUndid) {
  Store store = Open();
  using enum ProposalState;
  ASSERT_THAT(store.InsertProposal(Proposal("exec_1", kCommitting)), IsOk());
  ASSERT_THAT(store.RecordCommit("exec_1", kCommitting, {}, 1), IsOk());
  ProposalRow rollback = Proposal("roll_1", kCommitting);
  rollback.kind = ProposalKind::kRollback;
  rollback.origin = "exec_1";
  ASSERT_THAT(store.InsertProposal(rollback), IsOk());
  EXPECT_EQ(store.RecordCommit("roll_1", kCommitting, {}, 2).value(), 2);
  EXPECT_EQ(store.GetProposal("exec_1").value().state, kRolledBack);
  EXPECT_EQ(store.GetProposal("roll_1").value().state, kCommitted);
}

TEST_F(StoreTest, SmallValuesAreKept) {
  Store store = Open();
  EXPECT_EQ(store.GetMeta("gc").value(), std::nullopt);
  ASSERT_THAT(store.SetMeta("gc", "1"), IsOk());
  ASSERT_THAT(store.SetMeta("gc", std::string("2\0", 2)), IsOk());
  EXPECT_EQ(Open().GetMeta("gc").value(), std::string("2\0", 2));
}

TEST_F(StoreTest, TheDatabaseIsForItsOwnerOnly) {
  Store store = Open();
  ASSERT_THAT(store.SetMeta("gc", "1"), IsOk());
  for (const auto& entry : fs::directory_iterator(root_)) {
    EXPECT_EQ(entry.status().permissions() & fs::perms(0777), fs::perms(0600)) << entry.path();
  }
}

TEST_F(StoreTest, SaysWhatIsWrongWithTheFile) {
  Open();
  Connection newer = Connection::Open(path()).value();
  ASSERT_THAT(newer.Execute("PRAGMA user_version = 99"), IsOk());
  const Result<Store> refused = Store::Open(path());
  ASSERT_THAT(refused, FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(refused.error().message(),
              HasSubstr(path() + ": was made by a newer bailiff (schema 99"));

  Connection foreign = Connection::Open(root_ + "/foreign.db").value();
  ASSERT_THAT(foreign.Execute("CREATE TABLE t (a)"), IsOk());
  EXPECT_THAT(Store::Open(root_ + "/foreign.db"), FailsWith(ErrorCode::kInvalidArgument));

  std::ofstream(root_ + "/noise.db") << std::string(8192, 'x');
  const Result<Store> noise = Store::Open(root_ + "/noise.db");
  ASSERT_THAT(noise, FailsWith(ErrorCode::kIo));
  EXPECT_THAT(noise.error().message(), HasSubstr("noise.db: "));
  EXPECT_THAT(noise.error().message(), HasSubstr("restore it from a backup"));
  EXPECT_THAT(Store::Open(root_ + "/none/x.db"), FailsWith(ErrorCode::kNotFound));
}

TEST_F(StoreTest, AnUnfinishedTransactionLeavesNothing) {
  Open();
  Connection connection = Connection::Open(path()).value();
  {
    Transaction transaction = Transaction::Begin(connection).value();
    ASSERT_THAT(connection.Execute("INSERT INTO meta VALUES ('k', 'v')"), IsOk());
  }
  EXPECT_EQ(Open().GetMeta("k").value(), std::nullopt);
}

// Both want every proposal; each must go to exactly one, and no epoch may be given twice.
TEST_F(StoreTest, TwoProcessesNeverDecideTheSameProposalTwice) {
  constexpr int kProposals = 40;
  using enum ProposalState;
  const auto id = [](int n) { return "exec_" + std::to_string(n); };
  {
    Store store = Open();
    for (int n = 0; n < kProposals; ++n) {
      ASSERT_THAT(store.InsertProposal(Proposal(id(n))), IsOk());
    }
  }
  std::vector<pid_t> children;
  for (int who = 1; who <= 2; ++who) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      Result<Store> store = Store::Open(path());
      if (!store.ok()) ::_exit(1);
      for (int n = 0; n < kProposals; ++n) {
        const Status mine =
            store.value().ChangeState(id(n), kHeld, kCommitting, "p" + std::to_string(who), 1);
        if (!mine.ok() && mine.error().code() != ErrorCode::kConflict) ::_exit(2);
        if (!mine.ok()) continue;
        const HistoryRow row{.op = "create", .type = "file", .path = id(n)};
        if (!store.value().RecordCommit(id(n), kCommitting, {row}, 1).ok()) ::_exit(3);
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  Store store = Open();
  EXPECT_EQ(store.CurrentEpoch().value(), kProposals);
  EXPECT_EQ(store.ListProposals({.state = kCommitted}).value().size(), kProposals);
  const auto history = store.AllHistory().value();
  ASSERT_EQ(history.size(), kProposals);
  for (std::size_t n = 0; n < history.size(); ++n) {
    EXPECT_EQ(history[n].epoch, kProposals - static_cast<std::int64_t>(n));
  }
}

TEST_F(StoreTest, TwoProcessesMayMakeTheDatabaseAtOnce) {
  std::vector<pid_t> children;
  for (int who = 0; who < 4; ++who) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) ::_exit(Store::Open(path()).ok() ? 0 : 1);
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace bailiff
