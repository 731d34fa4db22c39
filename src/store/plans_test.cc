#include "store/plans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "store/store.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StoredPlansTest : public ::testing::Test {
 protected:
  StoredPlansTest() : store_(Store::Open(dir_.Path("db")).value()) {}

  void Insert(const std::string& id, const std::string& by, const std::string& case_name) {
    ASSERT_THAT(InsertPlan(store_.connection(), {0, id, 7, by, case_name, "{\"a\":1}"}), IsOk());
  }
  std::vector<std::string> Ids(const PlanFilter& filter) {
    std::vector<std::string> ids;
    for (const PlanRow& row : ListPlanRows(store_.connection(), filter).value()) {
      ids.push_back(row.id);
    }
    return ids;
  }

  TempDir dir_;
  Store store_;
};

TEST_F(StoredPlansTest, APlanIsReadAsItWasStored) {
  Insert("plan_1", "local:0", "A");
  const Result<PlanRow> row = GetPlanRow(store_.connection(), "plan_1");
  ASSERT_THAT(row, IsOk());
  EXPECT_EQ(row.value().created_ns, 7);
  EXPECT_EQ(row.value().created_by, "local:0");
  EXPECT_EQ(row.value().case_name, "A");
  EXPECT_EQ(row.value().document, "{\"a\":1}");
  EXPECT_THAT(GetPlanRow(store_.connection(), "plan_2"), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(InsertPlan(store_.connection(), row.value()), FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(store_.FindByPrefix("plan").value(), ElementsAre("plan_1"));
}

TEST_F(StoredPlansTest, ListsAreNewestFirstPagedAndSeenByWhoMay) {
  Insert("plan_1", "token:x", "A");
  Insert("plan_2", "token:y", "B");
  Insert("plan_3", "token:y", "");
  EXPECT_THAT(Ids({}), ElementsAre("plan_3", "plan_2", "plan_1"));
  EXPECT_THAT(Ids({.limit = 1}), ElementsAre("plan_3"));
  const std::int64_t seq = GetPlanRow(store_.connection(), "plan_2").value().seq;
  EXPECT_THAT(Ids({.before_seq = seq}), ElementsAre("plan_1"));
  EXPECT_THAT(Ids({.sight = Sight{{"B"}, "token:x"}}), ElementsAre("plan_2", "plan_1"));
  EXPECT_THAT(Ids({.sight = Sight{{}, "token:z"}}), IsEmpty());
}

}  // namespace
}  // namespace bailiff
