#include "sandbox/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include <algorithm>
#include <optional>

#include "sandbox/run_plan.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Case {
  Tier tier;
  Network network;
};

constexpr Case kCases[] = {
    {Tier::kPrivileged, Network::kNone},
    {Tier::kPrivileged, Network::kHost},
    {Tier::kRootless, Network::kNone},
    {Tier::kRootless, Network::kHost},
};

class PlanTest : public testing::TestWithParam<Case> {
 protected:
  PlanTest() {
    spec_.id = "exec_1";
    spec_.argv = {"python3", "x.py"};
    spec_.environment = {"PATH=/usr/bin:/bin"};
    spec_.cwd = "/workspace/projects/A";
    spec_.network = GetParam().network;
    inputs_.spec = &spec_;
    inputs_.tier = GetParam().tier;
    inputs_.landlock_abi = 6;
    inputs_.carries_renames = true;
    inputs_.outside_uid = 2'000'000'007;
    inputs_.outside_gid = 2'000'000'007;
    inputs_.workspace_place.path = "/srv/files";
    inputs_.host.binds = {{"/etc/ssl/certs", true}};
    inputs_.host.links = {{"/bin", "usr/bin"}};
    inputs_.sync = 3;
    inputs_.status = 4;
    inputs_.in = inputs_.out = inputs_.err = 5;
  }

  static std::optional<std::size_t> Find(const Plan& plan, ChildOpKind kind) {
    const auto at = std::find_if(plan.begin(), plan.end(),
                                 [kind](const PlanStep& step) { return step.kind == kind; });
    if (at == plan.end()) return std::nullopt;
    return static_cast<std::size_t>(at - plan.begin());
  }

  static std::size_t FindLast(const Plan& plan, ChildOpKind kind) {
    std::size_t last = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      if (plan[i].kind == kind) last = i;
    }
    return last;
  }

  SandboxSpec spec_;
  PlanInputs inputs_;
};

TEST_P(PlanTest, PutsEachStepBeforeWhatWouldPreventIt) {
  const Plan plan = PlanSandbox(inputs_);
  const std::pair<ChildOpKind, ChildOpKind> pairs[] = {
      {ChildOpKind::kCloseOthers, ChildOpKind::kAwaitParent},
      {ChildOpKind::kSetIds, ChildOpKind::kMakePrivate},
      {ChildOpKind::kMakePrivate, ChildOpKind::kCloneTree},
      {ChildOpKind::kBind, ChildOpKind::kPivot},
      {ChildOpKind::kAttach, ChildOpKind::kPivot},
      {ChildOpKind::kPivot, ChildOpKind::kNoNewPrivileges},
      {ChildOpKind::kPivot, ChildOpKind::kDropPrivileges},
      {ChildOpKind::kDropPrivileges, ChildOpKind::kFork},
      {ChildOpKind::kNoNewPrivileges, ChildOpKind::kLandlockEnforce},
      {ChildOpKind::kNoNewPrivileges, ChildOpKind::kSeccomp},
      {ChildOpKind::kSetIds, ChildOpKind::kDieWithParent},
      {ChildOpKind::kHide, ChildOpKind::kFork},
      {ChildOpKind::kDieWithParent, ChildOpKind::kFork},
      {ChildOpKind::kFork, ChildOpKind::kPlaceStdio},
      {ChildOpKind::kFork, ChildOpKind::kSetLimit},
      {ChildOpKind::kLandlockEnforce, ChildOpKind::kSupervise},
      {ChildOpKind::kSeccomp, ChildOpKind::kFork},
      {ChildOpKind::kFork, ChildOpKind::kResetSignals},
      {ChildOpKind::kPlaceStdio, ChildOpKind::kSupervise},
      {ChildOpKind::kSupervise, ChildOpKind::kProve},
      {ChildOpKind::kProve, ChildOpKind::kExec},
  };
  for (const auto& [before, after] : pairs) {
    SCOPED_TRACE(static_cast<int>(before) * 1000 + static_cast<int>(after));
    ASSERT_TRUE(Find(plan, after).has_value());
    ASSERT_TRUE(Find(plan, before).has_value());
    EXPECT_LT(FindLast(plan, before), *Find(plan, after));
  }
  EXPECT_EQ(plan.back().kind, ChildOpKind::kExec);
}

TEST_P(PlanTest, WaitsForItsIdsAndThenWithEveryLayerInPlaceForItsStart) {
  const Plan plan = PlanSandbox(inputs_);
  EXPECT_LT(*Find(plan, ChildOpKind::kAwaitParent), *Find(plan, ChildOpKind::kSetIds));
  EXPECT_EQ(FindLast(plan, ChildOpKind::kAwaitParent), plan.size() - 2);
}

TEST_P(PlanTest, LocksItsMountsInASecondUserNamespaceAfterTheLastOne) {
  const Plan plan = PlanSandbox(inputs_);
  const std::size_t lock = FindLast(plan, ChildOpKind::kUnshare);
  EXPECT_EQ(plan[lock].flags, std::uint64_t{CLONE_NEWUSER | CLONE_NEWNS});
  EXPECT_LT(FindLast(plan, ChildOpKind::kAttach), lock);
  EXPECT_LT(FindLast(plan, ChildOpKind::kBind), lock);
  EXPECT_LT(FindLast(plan, ChildOpKind::kPivot), lock);
  EXPECT_LT(lock, *Find(plan, ChildOpKind::kDropPrivileges));
}

TEST_P(PlanTest, ConfinesPidOneAndThenTheProgramOnceMore) {
  const std::string text = Describe(PlanSandbox(inputs_));
  const std::size_t fork = text.find("fork the program's process");
  EXPECT_LT(text.find("enforce landlock ruleset\n"), text.find("install seccomp filter"));
  EXPECT_LT(text.rfind("install seccomp filter"), fork);
  EXPECT_GT(text.find("enforce landlock ruleset apart from pid 1"), fork);
}

TEST_P(PlanTest, HasWordsForEveryStep) {
  for (const PlanStep& step : PlanSandbox(inputs_)) {
    EXPECT_NE(step.what, "") << static_cast<int>(step.kind);
  }
}

// What of a sandbox's facts is one of this process, which may itself be in a container.
bool HoldsHere(ChildFact fact) {
  if (fact == ChildFact::kNoGroups) return ::getgroups(0, nullptr) == 0;
  if (fact == ChildFact::kNoNewPrivileges) return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  return fact == ChildFact::kSeccomp && ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2;
}

TEST_P(PlanTest, EachFactThatDoesNotHoldEndsThePlan) {
  constexpr std::uint64_t kNobodysId = 4'000'000'000;
  int facts = 0;
  for (PlanStep step : PlanSandbox(inputs_)) {
    if (step.kind != ChildOpKind::kProve) continue;
    ++facts;
    step.extra = kNobodysId;
    const Plan plan = {step, {.kind = ChildOpKind::kExit, .what = "exit"}};
    const LoweredPlan lowered(plan, nullptr, nullptr);
    Result<PlanRun> run = StartPlan(lowered, {});
    ASSERT_THAT(run, IsOk());
    const Status ended = AwaitPlan(plan, run.value().report);
    if (HoldsHere(static_cast<ChildFact>(step.number))) {
      EXPECT_THAT(ended, IsOk()) << step.what;
    } else {
      EXPECT_THAT(ended, FailsWith(ErrorCode::kPermissionDenied)) << step.what;
    }
  }
  const int with_groups = GetParam().tier == Tier::kPrivileged ? 1 : 0;
  EXPECT_EQ(facts, (GetParam().network == Network::kNone ? 5 : 4) + with_groups);
}

TEST_P(PlanTest, AReportThatCannotBeTrueIsAnError) {
  const Plan plan = PlanSandbox(inputs_);
  const auto read = [&](const ChildFailure& failure) {
    return ReadReport(plan, {reinterpret_cast<const char*>(&failure), sizeof(failure)});
  };
  EXPECT_THAT(ReadReport(plan, ""), IsOk());
  EXPECT_THAT(ReadReport(plan, "cut"), FailsWith(ErrorCode::kIo));
  EXPECT_THAT(read({static_cast<std::uint32_t>(plan.size()), EPERM}), FailsWith(ErrorCode::kIo));
  EXPECT_THAT(read({0, -1}).error().message(), HasSubstr("unknown error"));
}

TEST_P(PlanTest, MountsNothingThatObeysSetuidBits) {
  for (const Plan& plan : {PlanSandbox(inputs_), PlanMounter(inputs_)}) {
    for (const PlanStep& step : plan) {
      if (step.kind != ChildOpKind::kNewFilesystem && step.kind != ChildOpKind::kBind) continue;
      EXPECT_NE(step.flags & MS_NOSUID, 0U) << step.what;
    }
  }
}

TEST_P(PlanTest, RefusesTcpUnlessItHasTheHostsNetwork) {
  const Plan plan = PlanSandbox(inputs_);
  const PlanStep& ruleset = plan[Find(plan, ChildOpKind::kLandlockCreate).value()];
  EXPECT_EQ(ruleset.number, GetParam().network == Network::kNone ? 3U : 0U);
  EXPECT_EQ(Find(plan, ChildOpKind::kRaiseLoopback).has_value(),
            GetParam().network == Network::kNone);
}

TEST_P(PlanTest, LeavesOutLandlockWhereTheKernelHasNone) {
  inputs_.landlock_abi = 0;
  EXPECT_THAT(Describe(PlanSandbox(inputs_)), Not(HasSubstr("landlock")));
}

TEST_P(PlanTest, JoinsItsCgroupsBeforeAnythingThatCounts) {
  PlanInputs inputs = inputs_;
  inputs.cgroup_tasks = {40, 41, 42};
  const std::string text = Describe(PlanSandbox(inputs));
  EXPECT_THAT(text, HasSubstr("close other descriptors\njoin cgroup\njoin cgroup\njoin cgroup\n"
                              "wait for the parent\n"));
  EXPECT_THAT(Describe(PlanSandbox(inputs_)), Not(HasSubstr("join cgroup")));
}

TEST_P(PlanTest, LeavesRenamesToTheKernelWhereItCanCarryThemOut) {
  EXPECT_TRUE(Find(PlanSandbox(inputs_), ChildOpKind::kSupervise).has_value());
  inputs_.carries_renames = false;
  EXPECT_FALSE(Find(PlanSandbox(inputs_), ChildOpKind::kSupervise).has_value());
}

TEST_P(PlanTest, LimitsProcessesItselfOnlyWithoutACgroup) {
  EXPECT_THAT(Describe(PlanSandbox(inputs_)), HasSubstr("limit processes"));
  inputs_.pids_limited = true;
  EXPECT_THAT(Describe(PlanSandbox(inputs_)), Not(HasSubstr("limit processes")));
}

TEST_P(PlanTest, ReadsTheWorkspaceAgainOnlyInsideItsOwnMounts) {
  const std::string text = Describe(PlanSandbox(inputs_));
  const bool rootless = GetParam().tier == Tier::kRootless;
  EXPECT_EQ(text.find("find the workspace again") != std::string::npos, rootless);
  EXPECT_EQ(text.find("mount overlay") != std::string::npos, rootless);
  EXPECT_EQ(text.find("drop groups") != std::string::npos, !rootless);
}

TEST_P(PlanTest, LooksForAPlainNameInEachDirectoryOfPath) {
  EXPECT_THAT(PlanSandbox(inputs_).back().list,
              testing::ElementsAre("/usr/bin/python3", "/bin/python3"));
  spec_.environment = {"PATH=:/opt/bin::"};
  EXPECT_THAT(PlanSandbox(inputs_).back().list, testing::ElementsAre("/opt/bin/python3"));
  spec_.argv = {"./run.sh"};
  EXPECT_THAT(PlanSandbox(inputs_).back().list, testing::ElementsAre("./run.sh"));
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const std::string tier = info.param.tier == Tier::kPrivileged ? "Privileged" : "Rootless";
  return tier + (info.param.network == Network::kNone ? "" : "Network");
}

INSTANTIATE_TEST_SUITE_P(Tiers, PlanTest, testing::ValuesIn(kCases), CaseName);

TEST_P(PlanTest, GivesALayerOfTheWorkspaceOnlyToWhatIsSeenWhole) {
  inputs_.view = {{.path = "projects"}, {.path = "projects/A", .whole = true}};
  const bool mounts = inputs_.tier == Tier::kPrivileged;
  const Plan plan = mounts ? PlanMounter(inputs_) : PlanSandbox(inputs_);
  std::vector<std::string> lowers;
  for (const PlanStep& step : plan) {
    if (step.text != "overlay") continue;
    const auto lower = std::find(step.list.begin(), step.list.end(), "lowerdir");
    ASSERT_NE(lower, step.list.end());
    lowers.push_back(*(lower + 1));
  }
  const auto fd = [](Slot slot) { return "/proc/self/fd/" + std::to_string(SlotFd(slot)); };
  EXPECT_THAT(lowers, testing::ElementsAre(fd(Slot::kFolder), fd(Slot::kMask)));
}

TEST(MounterPlanTest, UsesRedirectsAndAWhiteoutOverTheState) {
  SandboxSpec spec;
  PlanInputs inputs;
  inputs.spec = &spec;
  inputs.tier = Tier::kPrivileged;
  inputs.sync = 3;
  inputs.workspace = 4;
  const Plan plan = PlanMounter(inputs);
  EXPECT_THAT(Describe(plan), HasSubstr("hide .bailiff"));
  const auto overlay = std::find_if(plan.begin(), plan.end(),
                                    [](const PlanStep& step) { return step.text == "overlay"; });
  ASSERT_NE(overlay, plan.end());
  EXPECT_THAT(overlay->list, testing::IsSupersetOf({"redirect_dir", "metacopy"}));
  EXPECT_THAT(overlay->list, Not(testing::Contains("userxattr")));
}

}  // namespace
}  // namespace bailiff
