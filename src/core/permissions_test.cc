#include "core/permissions.h"

#include <gmock/gmock.h>

#include "core/context_fixture_test.h"
#include "core/queue_pause.h"
#include "core/retention.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PermissionsTest : public ContextFixture {
 protected:
  void SetUp() override { Open(); }

  Result<Action> ApproveAs(const Actor& actor, const std::string& id) {
    context_->ActAs(actor);
    return Approve(*context_, id, "", kTestWait);
  }
  Result<Action> RejectAs(const Actor& actor, const std::string& id) {
    context_->ActAs(actor);
    return Reject(*context_, id, "", kTestWait);
  }
  std::string HeldBy(const Actor& actor, const std::string& case_name = "") {
    context_->ActAs(actor);
    const std::string folder = case_name.empty() ? "Reports" : "projects/" + case_name;
    return ProposeDir(folder + "/" + std::to_string(next_id_), Mode::kReview, case_name);
  }
};

TEST_F(PermissionsTest, AnAgentApprovesNothingAndTheLedgerKnowsThatItTried) {
  const std::string id = HeldBy(Token("bot", Role::kAgent));
  const Result<Action> tried = ApproveAs(Token("other", Role::kAgent), id);
  ASSERT_THAT(tried, FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(tried.error().message(), HasSubstr("takes the role reviewer"));
  EXPECT_EQ(StateOf(id), "held");
  const auto records = Records("denied_request");
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(records[0].at("principal"), "token:other");
  EXPECT_EQ(records[0].at("action"), "approve");
  EXPECT_EQ(records[0].at("id").as_string(), id);
  EXPECT_THAT(std::string(records[0].at("reason").as_string()), HasSubstr("reviewer"));
}

TEST_F(PermissionsTest, AReviewerApprovesWhatOthersProposedAndNotTheirOwn) {
  const std::string own = HeldBy(Token("rita", Role::kReviewer));
  const Result<Action> tried = ApproveAs(Token("rita", Role::kReviewer), own);
  ASSERT_THAT(tried, FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(tried.error().message(), HasSubstr("somebody else has to approve it"));
  EXPECT_THAT(ApproveAs(Token("rita", Role::kAdmin), own), FailsWith(ErrorCode::kPermissionDenied));
  const Result<Action> approved = ApproveAs(Token("rob", Role::kReviewer), own);
  ASSERT_THAT(approved, IsOk());
  EXPECT_EQ(approved.value().state, ProposalState::kCommitted);
}

TEST_F(PermissionsTest, WhoWorksOnTheStateItselfApprovesTheirOwn) {
  const std::string id = HeldBy(Operator());
  ASSERT_THAT(ApproveAs(Operator(), id), IsOk());
  EXPECT_EQ(StateOf(id), "committed");
  EXPECT_THAT(Records("denied_request"), IsEmpty());
}

TEST_F(PermissionsTest, AnAgentWithdrawsItsOwnAndRejectsNothingElse) {
  const std::string id = HeldBy(Token("bot", Role::kAgent));
  EXPECT_THAT(RejectAs(Token("other", Role::kAgent), id), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_EQ(StateOf(id), "held");
  ASSERT_THAT(RejectAs(Token("bot", Role::kAgent), id), IsOk());
  EXPECT_EQ(StateOf(id), "rejected");
}

TEST_F(PermissionsTest, WhatIsOutOfSightDoesNotExist) {
  const std::string id = HeldBy(Token("bot", Role::kAgent), "Wilson");
  const Actor other = Token("rita", Role::kReviewer, std::vector<std::string>{"Smith"});
  const std::string missing = "exec_20261121_101500_ffffffff";
  const Result<Action> hidden = ApproveAs(other, id);
  const Result<Action> absent = ApproveAs(other, missing);
  ASSERT_THAT(hidden, FailsWith(ErrorCode::kNotFound));
  ASSERT_THAT(absent, FailsWith(ErrorCode::kNotFound));
  EXPECT_EQ(hidden.error().message(), "proposal '" + id + "' does not exist");
  EXPECT_EQ(absent.error().message(), "proposal '" + missing + "' does not exist");
  EXPECT_THAT(RejectAs(other, id), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(RollBack(*context_, id, kTestWait), FailsWith(ErrorCode::kNotFound));
  EXPECT_EQ(StateOf(id), "held");
  EXPECT_THAT(Records("denied_request"), SizeIs(3));
  context_->ActAs(Token("rita", Role::kReviewer, std::vector<std::string>{"Wilson"}));
  EXPECT_THAT(Reject(*context_, id, "", kTestWait), IsOk());
}

TEST_F(PermissionsTest, AnAgentsRollbackOfWhatAPersonApprovedIsHeldInItsCase) {
  ASSERT_TRUE(std::filesystem::create_directory(dir_.Path("workspace/projects/Wilson")));
  const Actor agent = Token("bot", Role::kAgent, std::vector<std::string>{"Wilson"});
  const std::string id = HeldBy(agent, "Wilson");
  const Actor reviewer = Token("rita", Role::kReviewer, std::vector<std::string>{"Wilson"});
  ASSERT_THAT(ApproveAs(reviewer, id), IsOk());
  context_->ActAs(agent);
  const Result<Action> action = RollBack(*context_, id, kTestWait);
  ASSERT_THAT(action, IsOk());
  EXPECT_EQ(action.value().state, ProposalState::kHeld);
  EXPECT_EQ(StateOf(id), "committed");
  EXPECT_THAT(ApproveAs(agent, action.value().id), FailsWith(ErrorCode::kPermissionDenied));
  ASSERT_THAT(ApproveAs(reviewer, action.value().id), IsOk());
  EXPECT_EQ(StateOf(id), "rolled_back");
}

TEST_F(PermissionsTest, AnAgentRollsBackWhatPolicyCommitted) {
  context_->ActAs(Token("bot", Role::kAgent));
  const std::string id = ProposeDir("Reports/a", Mode::kCommit);
  ASSERT_EQ(StateOf(id), "committed");
  const Result<Action> action = RollBack(*context_, id, kTestWait);
  ASSERT_THAT(action, IsOk());
  EXPECT_EQ(action.value().state, ProposalState::kCommitted);
}

TEST_F(PermissionsTest, TheLedgerIsNotFloodedWithDenials) {
  const auto minute = [&] {
    return std::chrono::floor<std::chrono::minutes>(context_->clock().Now())
        .time_since_epoch()
        .count();
  };
  // Fills the meter of that minute but for `left`, and returns how many of five denials it takes.
  const auto recorded = [&](std::int64_t of_minute, std::int64_t left) {
    const boost::json::object meter = {
        {"minute", of_minute}, {"recorded", kDenialsPerMinuteMax - left}, {"left_out", 7}};
    EXPECT_THAT(context_->store().SetMeta("denials", boost::json::serialize(meter)), IsOk());
    const std::size_t before = Records("denied_request").size();
    for (int i = 0; i < 5; ++i) RecordDenial(*context_, {"token:bot", "approve", "x", "no"});
    return Records("denied_request").size() - before;
  };
  std::int64_t now = 0;
  std::size_t taken = 0;
  do {  // Again where the minute ended meanwhile.
    now = minute();
    taken = recorded(now, 2);
  } while (minute() != now);
  EXPECT_EQ(taken, 2U);
  EXPECT_EQ(recorded(1, 0), 5U) << "another minute";
  const auto records = Records("denied_request");
  EXPECT_EQ(records[records.size() - 5].at("left_out").as_int64(), 7);
}

TEST_F(PermissionsTest, TheQueueIsPausedByReviewersOnce) {
  context_->ActAs(Token("bot", Role::kAgent));
  EXPECT_THAT(PauseQueue(*context_), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_FALSE(PausedBy(*context_).value().has_value());
  context_->ActAs(Token("rita", Role::kReviewer));
  EXPECT_TRUE(PauseQueue(*context_).value());
  EXPECT_FALSE(PauseQueue(*context_).value());
  ASSERT_TRUE(PausedBy(*context_).value().has_value());
  EXPECT_EQ(PausedBy(*context_).value()->by, "token:rita");
  EXPECT_TRUE(ResumeQueue(*context_).value());
  EXPECT_FALSE(ResumeQueue(*context_).value());
  EXPECT_FALSE(PausedBy(*context_).value().has_value());
  EXPECT_THAT(Records("queue_paused"), SizeIs(1));
  EXPECT_THAT(Records("queue_resumed"), SizeIs(1));
}

// A change set that waited for too long.

class RetentionTest : public ContextFixture {
 protected:
  void Age() const {
    ASSERT_THAT(context_->store().connection().Execute(
                    "UPDATE proposals SET created_ns = created_ns - 7 * 86400000000000"),
                IsOk());
  }
};

TEST_F(RetentionTest, WhatNobodyDecidedExpires) {
  Open();
  const std::string id = ProposeDir("Reports/a", Mode::kReview);
  EXPECT_THAT(ExpireHeld(*context_).value(), IsEmpty());
  Age();
  EXPECT_THAT(ExpireHeld(*context_).value(), ::testing::ElementsAre(id));
  EXPECT_EQ(StateOf(id), "expired");
  EXPECT_THAT(ExpireHeld(*context_).value(), IsEmpty());
  ASSERT_THAT(Records("expired"), SizeIs(1));
  EXPECT_EQ(Records("expired")[0].at("id").as_string(), id);
  const Result<Action> late = Approve(*context_, id, "", kTestWait);
  ASSERT_THAT(late, IsOk());
  EXPECT_EQ(late.value().result, Action::Result::kWrongState);
}

TEST_F(RetentionTest, AnApprovedPlanExpiresByTheTimeOfItsApproval) {
  Open();
  const std::string id = ProposeDir("Reports/a", Mode::kReview);
  ASSERT_THAT(context_->store().ChangeState(id, ProposalState::kHeld, ProposalState::kApproved,
                                            "token:rita", context_->NowNanos()),
              IsOk());
  Age();
  EXPECT_THAT(ExpireHeld(*context_).value(), IsEmpty());
  ASSERT_THAT(context_->store().connection().Execute("UPDATE proposals SET decided_ns = 1"),
              IsOk());
  EXPECT_THAT(ExpireHeld(*context_).value(), SizeIs(1));
  EXPECT_EQ(StateOf(id), "expired");
}

TEST_F(RetentionTest, SomebodyElsesLockPutsItOff) {
  Open("[retention]\nheld = \"1h\"\n");
  const std::string id = ProposeDir("Reports/a", Mode::kReview);
  Age();
  {
    const Result<WorkspaceLock> lock = WorkspaceLock::Take(*context_, kTestWait);
    ASSERT_THAT(lock, IsOk());
    EXPECT_THAT(ExpireHeld(*context_).value(), IsEmpty());
    EXPECT_EQ(StateOf(id), "held");
  }
  EXPECT_THAT(ExpireHeld(*context_).value(), SizeIs(1));
}

TEST_F(RetentionTest, OldExecutionDocumentsGoAndNothingElseDoes) {
  Open();
  const std::string old = AddExecution("succeeded", 1, "", "", std::chrono::hours(31L * 24));
  const std::string fresh = AddExecution("succeeded");
  const std::string running = AddExecution("running", 1, "", "", std::chrono::hours(31L * 24));
  const std::string folder = dir_.Path("workspace/Database/script_execution_logs");
  std::filesystem::create_directories(folder);
  const std::string link = AddExecution("failed", 1, "", "", std::chrono::hours(31L * 24));
  const std::string unknown = "exec_20261121_101500_eeeeeeee";
  for (const std::string& id : {old, fresh, running, unknown}) {
    std::ofstream(folder + "/" + id + ".json") << "{}";
  }
  std::ofstream(folder + "/notes.json") << "mine";
  std::filesystem::create_symlink("notes.json", folder + "/" + link + ".json");
  EXPECT_EQ(DropExecutionLogs(*context_).value(), 1);
  EXPECT_FALSE(std::filesystem::exists(folder + "/" + old + ".json"));
  for (const std::string& name : {fresh, running, unknown, link, std::string("notes")}) {
    EXPECT_TRUE(std::filesystem::exists(folder + "/" + name + ".json")) << name;
  }
  const ExecutionRow row = context_->store().GetExecution(old).value();
  EXPECT_TRUE(boost::json::parse(row.document).at("log_file").is_null());
}

}  // namespace
}  // namespace bailiff
