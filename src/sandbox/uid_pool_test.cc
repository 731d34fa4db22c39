#include "sandbox/uid_pool.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "tests/support/matchers.h"

namespace bailiff {
namespace {

class UidPoolTest : public testing::Test {
 protected:
  UidPoolTest() {
    char name[] = "/tmp/bailiff_uids_XXXXXX";
    root_ = ::mkdtemp(name);
    directory_ = root_ + "/run/uid";
  }
  ~UidPoolTest() override { std::filesystem::remove_all(root_); }

  std::string root_;
  std::string directory_;
};

TEST_F(UidPoolTest, GivesEachHolderAnotherUid) {
  const Result<UidLease> first = LeaseUid(directory_, {5000, 2});
  const Result<UidLease> second = LeaseUid(directory_, {5000, 2});
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(first.value().uid + second.value().uid, 10001U);
}

TEST_F(UidPoolTest, GivesAUidAgainOnlyAfterItsLockIsClosed) {
  Result<UidLease> lease = LeaseUid(directory_, {5000, 1});
  ASSERT_THAT(lease, IsOk());
  EXPECT_THAT(LeaseUid(directory_, {5000, 1}), FailsWith(ErrorCode::kResourceExhausted));
  lease.value().lock = Fd();
  EXPECT_THAT(LeaseUid(directory_, {5000, 1}), IsOk());
}

TEST_F(UidPoolTest, RefusesARangeWithRootOrBeyondTheLastId) {
  EXPECT_THAT(LeaseUid(directory_, {0, 10}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(LeaseUid(directory_, {10, 0}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(LeaseUid(directory_, {4294967290, 10}), FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace bailiff
