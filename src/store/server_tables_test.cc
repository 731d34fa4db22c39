#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "store/outbox.h"
#include "store/retention.h"
#include "store/store.h"
#include "store/tokens.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class ServerTablesTest : public ::testing::Test {
 protected:
  ServerTablesTest() {
    Result<Store> store = Store::Open(dir_.Path("bailiff.db"));
    EXPECT_THAT(store, IsOk());
    store_.emplace(std::move(store).value());
  }
  const Connection& connection() const { return store_->connection(); }

  TempDir dir_;
  std::optional<Store> store_;
};

TEST_F(ServerTablesTest, ATokenWhoseCasesAreDamagedSeesNone) {
  TokenRow row;
  row.id = "00000001";
  row.name = "bot";
  row.role = "agent";
  row.created_ns = 5;
  ASSERT_THAT(InsertToken(connection(), row), IsOk());
  EXPECT_FALSE(GetToken(connection(), row.id).value().cases.has_value());
  ASSERT_THAT(connection().Execute("UPDATE tokens SET cases = '[\"a\"'"), IsOk());
  const TokenRow damaged = GetToken(connection(), row.id).value();
  ASSERT_TRUE(damaged.cases.has_value());
  EXPECT_TRUE(damaged.cases->empty());
}

TEST_F(ServerTablesTest, ANameIsFreeAgainOnceItsTokenExpired) {
  TokenRow row;
  row.id = "00000001";
  row.name = "bot";
  row.created_ns = 5;
  row.expires_ns = 10;
  ASSERT_THAT(InsertToken(connection(), row), IsOk());
  row.id = "00000002";
  row.created_ns = 9;
  EXPECT_THAT(InsertToken(connection(), row), FailsWith(ErrorCode::kConflict));
  row.created_ns = 10;
  EXPECT_THAT(InsertToken(connection(), row), IsOk());
  EXPECT_EQ(FindToken(connection(), "bot").value().id, "00000002");
}

TEST_F(ServerTablesTest, AFullOutboxLosesItsOldestMessagesAndCountsThem) {
  {
    Transaction transaction = Transaction::Begin(connection()).value();
    ASSERT_THAT(
        connection().Execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " INSERT INTO outbox (hook, event, body, created_ns, attempts, next_ns,"
            " last_error) SELECT 'a', 'held', i, 0, 0, 0, '' FROM n"),
        IsOk());
    ASSERT_THAT(transaction.Commit(), IsOk());
  }
  EXPECT_EQ(LostMessages(connection()).value(), 0);
  OutboxRow row;
  row.hook = "a";
  row.body = "new";
  for (int i = 0; i < 2; ++i) ASSERT_THAT(Enqueue(connection(), row), IsOk());
  const std::vector<OutboxRow> rows = DueMessages(connection(), "a", 0, kOutboxRowsMax + 5).value();
  ASSERT_EQ(static_cast<std::int64_t>(rows.size()), kOutboxRowsMax);
  EXPECT_EQ(rows.front().body, "3");
  EXPECT_EQ(rows.back().body, "new");
  EXPECT_EQ(LostMessages(connection()).value(), 2);
}

TEST_F(ServerTablesTest, AnswersAreKeptUntilTheirTime) {
  ASSERT_THAT(connection().Execute("INSERT INTO answers VALUES ('p', 'old', x'', 10, 200, '', ''),"
                                   " ('p', 'new', x'', 20, 200, '', '')"),
              IsOk());
  EXPECT_EQ(RemoveOldAnswers(connection(), 20).value(), 1);
  EXPECT_EQ(RemoveOldAnswers(connection(), 20).value(), 0);
}

TEST_F(ServerTablesTest, OnlyExecutionsThatHaveEndedAreOld) {
  for (const char* status : {"running", "queued", "failed"}) {
    ExecutionRow row;
    row.id = status;
    row.status = status;
    row.created_ns = 10;
    row.document = "{}";
    ASSERT_THAT(store_->InsertExecution(row), IsOk());
  }
  const std::vector<std::string> ids = {"running", "queued", "failed", "none"};
  EXPECT_THAT(EndedBefore(connection(), ids, 11).value(), ElementsAre("failed"));
  EXPECT_THAT(EndedBefore(connection(), ids, 10).value(), SizeIs(0));
}

}  // namespace
}  // namespace bailiff
