#include "sandbox/seccomp_filters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "sandbox/seccomp_policy.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

bool Same(SeccompProgram compiled, const std::vector<sock_filter>& built) {
  return compiled.size() == built.size() &&
         std::memcmp(compiled.data(), built.data(), compiled.size_bytes()) == 0;
}

TEST(SeccompFiltersTest, AreWhatThePolicySays) {
  const Result<SeccompPolicy> sandbox = BuildSeccompPolicy();
  const Result<std::vector<sock_filter>> clerk = BuildClerkPolicy();
  ASSERT_THAT(sandbox, IsOk());
  ASSERT_THAT(clerk, IsOk());
  EXPECT_FALSE(sandbox.value().calls.empty());
  EXPECT_TRUE(Same(SandboxFilters().calls, sandbox.value().calls));
  EXPECT_TRUE(Same(SandboxFilters().arguments, sandbox.value().arguments));
  EXPECT_TRUE(Same(ClerkFilter(), clerk.value()));
  for (const Tier tier : {Tier::kPrivileged, Tier::kRootless}) {
    const Result<std::vector<sock_filter>> renames = BuildRenameFilter(tier);
    ASSERT_THAT(renames, IsOk());
    EXPECT_TRUE(Same(RenameFilter(tier), renames.value()));
  }
}

}  // namespace
}  // namespace bailiff
