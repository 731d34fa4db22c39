#include "sandbox/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "sandbox/stale.h"
#include "sys/process.h"
#include "tests/escape/harness.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using testing::IsEmpty;
using testing::Not;

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRES(IsPrivileged().value(), "needs CAP_SYS_ADMIN");
    host_ = FindCgroups(Tier::kPrivileged).value();
    REQUIRES(!host_.unified.empty() || !host_.v1.empty(), "no cgroups here");
    id_ = "cgroup_test_" + std::to_string(::getpid());
    own_name_ = NameOfOwner(::getpid(), ProcessStartTime(::getpid()).value());
  }

  std::string NameOfOwner(pid_t pid, std::uint64_t start) const {
    return id_ + "." + std::to_string(pid) + "." + std::to_string(start);
  }

  CgroupHost host_;
  std::string id_;
  std::string own_name_;  // As a sandbox of this process would have.
  Limits limits_;
};

void Pause(const void* /*unused*/) {
  for (;;) ::pause();
}

// As a sandbox's first process does.
void JoinAndPause(const void* tasks) {
  for (const Fd& file : *static_cast<const std::vector<Fd>*>(tasks)) {
    if (::write(file.get(), "0", 1) != 1) ::_exit(1);
  }
  (void)::raise(SIGSTOP);  // Tells the parent.
  Pause(nullptr);
}

Result<Process> StartIn(const Cgroup& cgroup) {
  const std::vector<Fd> tasks = TRY(cgroup.OpenV1Tasks());
  Process child = TRY(CloneProcess({.flags = 0, .cgroup = cgroup.leaf()}, JoinAndPause, &tasks));
  int status = 0;
  EXPECT_EQ(::waitpid(child.pid(), &status, WUNTRACED), child.pid());
  EXPECT_TRUE(WIFSTOPPED(status));
  return child;
}

TEST_F(CgroupTest, HoldsWhatJoinsItAndRemovesItselfWhenThatIsGone) {
  {
    const Cgroup cgroup = Cgroup::Create(host_, own_name_, limits_);
    ASSERT_THAT(FindCgroupsOf(id_), Not(IsEmpty()));
    const Result<Process> child = StartIn(cgroup);
    ASSERT_THAT(child, IsOk());
    for (const std::string& leaf : FindCgroupsOf(id_)) {
      EXPECT_EQ(ReadControl(leaf + "/cgroup.procs"), std::to_string(child.value().pid())) << leaf;
    }
  }
  EXPECT_THAT(FindCgroupsOf(id_), IsEmpty());
}

TEST_F(CgroupTest, CountsScratchAsMemoryAndPidOneAsAProcess) {
  limits_.memory_bytes = 100LL << 20;
  limits_.scratch_bytes = 28LL << 20;
  limits_.pids = 9;
  limits_.cpus = 0.5;
  const Cgroup cgroup = Cgroup::Create(host_, own_name_, limits_);
  std::string memory;
  std::string pids;
  std::string cpu;
  for (const std::string& leaf : FindCgroupsOf(id_)) {
    memory += ReadControl(leaf + "/memory.max") + ReadControl(leaf + "/memory.limit_in_bytes");
    pids += ReadControl(leaf + "/pids.max");
    cpu += ReadControl(leaf + "/cpu.max") + ReadControl(leaf + "/cpu.cfs_quota_us");
  }
  EXPECT_EQ(memory, cgroup.limits_memory() ? "134217728" : "");
  EXPECT_EQ(pids, cgroup.limits_pids() ? "10" : "");
  EXPECT_EQ(cpu.substr(0, 5), cgroup.limits_cpu() ? "50000" : "");
}

TEST_F(CgroupTest, LeavesLimitsToOthersWhereItCannotWrite) {
  const Cgroup cgroup = Cgroup::Create(CgroupHost{}, own_name_, limits_);
  EXPECT_EQ(cgroup.Describe(), "rlimits");
  EXPECT_EQ(cgroup.leaf(), nullptr);
  EXPECT_FALSE(cgroup.limits_memory() || cgroup.limits_pids() || cgroup.limits_cpu());
}

TEST_F(CgroupTest, StaleOnesAreRemovedWithTheirProcesses) {
  Result<Process> owner = CloneProcess({}, Pause, nullptr);
  ASSERT_THAT(owner, IsOk());
  const std::uint64_t start = ProcessStartTime(owner.value().pid()).value();
  const Cgroup cgroup = Cgroup::Create(host_, NameOfOwner(owner.value().pid(), start), limits_);
  Result<Process> child = StartIn(cgroup);
  ASSERT_THAT(child, IsOk());
  ASSERT_THAT(CleanStale(), IsOk());
  ASSERT_THAT(FindCgroupsOf(id_), Not(IsEmpty()));
  ASSERT_THAT(owner.value().Kill(), IsOk());
  ASSERT_THAT(owner.value().Wait(), IsOk());
  ASSERT_THAT(CleanStale(), IsOk());
  EXPECT_THAT(FindCgroupsOf(id_), IsEmpty());
  const Result<ProcessEnd> end = child.value().Wait();
  ASSERT_THAT(end, IsOk());
  EXPECT_TRUE(WIFSIGNALED(end.value().wait_status));
}

TEST_F(CgroupTest, ThoseOfLivingOwnersStay) {
  const std::uint64_t start = ProcessStartTime(::getpid()).value();
  const Cgroup cgroup = Cgroup::Create(host_, own_name_, limits_);
  const std::vector<std::string> before = FindCgroupsOf(id_);
  ASSERT_THAT(CleanStale(), IsOk());
  EXPECT_EQ(FindCgroupsOf(id_), before);
  // The same number with another start was another process.
  const Cgroup other = Cgroup::Create(host_, NameOfOwner(::getpid(), start + 1), limits_);
  ASSERT_THAT(CleanStale(), IsOk());
  EXPECT_EQ(FindCgroupsOf(id_), before);
}

}  // namespace
}  // namespace bailiff
