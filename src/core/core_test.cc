#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <string>

#include "core/admission.h"
#include "core/config.h"
#include "core/documents.h"
#include "core/supervise.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;

TEST(NormalizePathTest, ReadsPathsAsPeopleWriteThem) {
  for (const char* text : {"Tools/x.py", "/Tools/x.py", "/workspace/Tools/x.py", "./Tools//x.py",
                           "projects/../Tools/./x.py"}) {
    EXPECT_EQ(NormalizePath(text).value(), "Tools/x.py") << text;
  }
  EXPECT_EQ(NormalizePath("/").value(), "");
  EXPECT_EQ(NormalizePath("/workspace").value(), "");
}

TEST(NormalizePathTest, NothingLeavesTheWorkspace) {
  for (const char* text : {"..", "../x", "a/../../x", "/workspace/../etc/passwd"}) {
    EXPECT_THAT(NormalizePath(text), FailsWith(ErrorCode::kInvalidArgument)) << text;
  }
}

class ConfigTest : public ::testing::Test {
 protected:
  Result<Config> Load(const std::string& text) {
    std::ofstream(dir_.Path("bailiff.toml")) << text;
    return LoadConfig(dir_.Path("bailiff.toml"), ConfigFile::kMustExist);
  }
  TempDir dir_;
};

TEST_F(ConfigTest, SettingsAreRead) {
  const Result<Config> config = Load(
      "[sandbox]\nhost_network = true\n[retention]\nheld_bytes_max = \"1g\"\nrollback = \"7d\"\n"
      "[records]\nexecution_logs = \"off\"\n");
  ASSERT_THAT(config, IsOk());
  EXPECT_TRUE(config.value().host_network);
  EXPECT_EQ(config.value().held_bytes_max, 1LL << 30);
  EXPECT_EQ(config.value().rollback_retention, std::chrono::hours(7 * 24));
  EXPECT_EQ(config.value().execution_logs, "");
}

TEST_F(ConfigTest, UpkeepIsConfigured) {
  const Result<Config> config = Load(
      "[retention]\nheld = \"2d\"\nexecution_logs = \"1h\"\n"
      "[health]\nfailure_rate = 1\nfailure_min_runs = 0\naverage_duration = \"1500ms\"\n"
      "executions_per_hour = 7\n"
      "[[webhook]]\nname = \"a\"\nurl = \"https://x.test/\"\nformat = \"slack\"\n"
      "events = [\"held\", \"health\"]\nsecret_file = \"/etc/key\"\n"
      "[[webhook]]\nname = \"b\"\nurl = \"http://y.test/\"\n");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config.value().held_retention, std::chrono::hours(48));
  EXPECT_EQ(config.value().log_retention, std::chrono::hours(1));
  EXPECT_EQ(config.value().health.failure_rate, 1);
  EXPECT_EQ(config.value().health.failure_min_runs, 0);
  EXPECT_EQ(config.value().health.average_duration, std::chrono::milliseconds(1500));
  EXPECT_EQ(config.value().health.executions_per_hour, 7);
  ASSERT_EQ(config.value().webhooks.size(), 2U);
  const Webhook& hook = config.value().webhooks[0];
  EXPECT_EQ(hook.format, WebhookFormat::kSlack);
  EXPECT_EQ(hook.events, (std::set<NotifyEvent>{NotifyEvent::kHeld, NotifyEvent::kHealth}));
  EXPECT_EQ(hook.secret_file, "/etc/key");
  EXPECT_EQ(config.value().webhooks[1].events.size(), 6U);
  EXPECT_EQ(config.value().webhooks[1].format, WebhookFormat::kJson);
}

TEST_F(ConfigTest, WhatIsWrongIsNamed) {
  struct Case {
    const char* text;
    const char* names;
  };
  const Case cases[] = {
      {"[sandbox]\nhost_netwrok = true\n", "sandbox.host_netwrok"},
      {"[sandbox]\nhost_network = 1\n", "must be true or false"},
      {"[retention]\nrollback = \"soon\"\n", "retention.rollback"},
      {"[records]\nexecution_logs = \"../x\"\n", "records.execution_logs"},
      {"x = 1\n", "is not a section"},
      {"[retention]\nheld = 7\n", "retention.held: must be a string"},
      {"[health]\nfailure_rate = 1.5\n", "health.failure_rate: must be from 0 to 1"},
      {"[health]\nexecutions_per_hour = -1\n", "health.executions_per_hour: must be a whole"},
      {"[health]\nload = 1\n", "health.load: is not a known setting"},
      {"[webhook]\nname = \"a\"\n", "begin with [[webhook]]"},
      {"[[webhook]]\nurl = \"http://x\"\n", "webhook 1: name: is missing"},
      {"[[webhook]]\nname = \"a\"\n", "webhook 1: url: is missing"},
      {"[[webhook]]\nname = \"a b\"\n", "webhook 1: name: must be"},
      {"[[webhook]]\nurl = \"ftp://x\"\n", "webhook 1: url: must begin"},
      {"[[webhook]]\nformat = \"xml\"\n", "webhook 1: format: must be json or slack"},
      {"[[webhook]]\nevents = [\"all\"]\n", "webhook 1: events: must be a list of held"},
      {"[[webhook]]\nsecret_file = \"key\"\n", "webhook 1: secret_file: must be an absolute"},
      {"[[webhook]]\nuri = \"x\"\n", "webhook 1: uri: is not a known setting"},
      {"[[webhook]]\nname=\"a\"\nurl=\"http://x\"\n[[webhook]]\nname=\"a\"\nurl=\"http://y\"\n",
       "webhook: name 'a' is there twice"},
      {"[sandbox\n", ":1"},
  };
  for (const Case& c : cases) {
    const Result<Config> config = Load(c.text);
    ASSERT_THAT(config, FailsWith(ErrorCode::kInvalidArgument)) << c.text;
    EXPECT_THAT(config.error().message(), HasSubstr(c.names));
  }
}

// What toml++ 3.3 is undefined for, wherever it can stand.
TEST_F(ConfigTest, MoreThanAsciiIsReadInStringsAndCommentsAndRefusedElsewhere) {
  for (const char* text : {"# \u0430\n[records]\nexecution_logs = \"\u0430%41/\ufe70\"\n",
                           "\ufeff[records]\nexecution_logs = '\u0430%41/\ufe70' # \u0430\n",
                           "[records]\nexecution_logs = \"\"\"\\\n  \u0430%41/\ufe70\"\"\"\n"}) {
    const Result<Config> config = Load(text);
    ASSERT_THAT(config, IsOk()) << text;
    EXPECT_EQ(config.value().execution_logs, "\u0430%41/\ufe70");
  }
  for (const char* text : {"\u0430 = 1\n", "[sandbox]\nhost_network = \u0430\n",
                           "a = \"\"\"x\"\"\"\"\n\u0430\"", "[sandbox] \u2028\n"}) {
    const Result<Config> config = Load(text);
    ASSERT_THAT(config, FailsWith(ErrorCode::kInvalidArgument)) << text;
    EXPECT_THAT(config.error().message(), HasSubstr("only be in strings and comments")) << text;
  }
  EXPECT_THAT(Load("# \xff\n"), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Load("[records]\nexecution_logs = \"\\u002541\"\n"),
              FailsWith(ErrorCode::kInvalidArgument));
  const Result<Config> unknown = Load("[sandbox]\n\"\u0430%\" = 1\n");
  ASSERT_THAT(unknown, FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(unknown.error().message(), HasSubstr("sandbox.\u0430%: "));
}

TEST_F(ConfigTest, OnlyANamedFileMustExist) {
  EXPECT_THAT(LoadConfig(dir_.Path("none"), ConfigFile::kMayBeMissing), IsOk());
  EXPECT_THAT(LoadConfig(dir_.Path("none"), ConfigFile::kMustExist),
              FailsWith(ErrorCode::kNotFound));
}

TEST(KeptOutputTest, KeepsTheBeginningAndCountsTheRest) {
  KeptOutput output(5);
  output.Add("abc");
  EXPECT_FALSE(output.truncated());
  output.Add("defg");
  output.Add("h");
  EXPECT_EQ(output.kept(), "abcde");
  EXPECT_EQ(output.dropped(), 3);
}

TEST(DocumentTest, PathsThatAreNotTextKeepTheirBytes) {
  boost::json::object object;
  PutBytes(&object, "path", "a\xff");
  PutBytes(&object, "from", "plain");
  EXPECT_EQ(object["path"].as_string(), "a\xef\xbf\xbd");
  EXPECT_EQ(GetBytes(object, "path"), "a\xff");
  EXPECT_FALSE(object.contains("from_b64"));
  EXPECT_EQ(GetBytes(object, "from"), "plain");
}

TEST(DocumentTest, WhatIsKeptOfADecisionIsTextWhateverWasRead) {
  const StoredProblems problems = DecodeProblems(R"({"decision":{"rule_b64":"/w=="}})");
  ASSERT_TRUE(problems.decision.has_value());
  const StoredProblems again = DecodeProblems(EncodeProblems(problems));
  ASSERT_TRUE(again.decision.has_value());
  EXPECT_EQ(again.decision->rule, "\xef\xbf\xbd");
}

TEST(DocumentTest, WhatWasDecidedFromIsKeptWhole) {
  StoredProblems problems;
  problems.decision = Decision{Verdict::kReview, "r", {"why"}, Role::kAdmin, {{"eval", 2, "x"}}};
  problems.facts = PolicyFacts();
  PolicyContext& context = problems.facts->context;
  context.source = Source::kPlan;
  context.exit_code = 3;
  context.role = Role::kReviewer;
  context.case_name = "A\xff";
  context.moved_below.assign(kMovedPathsKeptMax + 2, "a/\xff");
  context.lint = problems.decision->lint;
  problems.facts->files_counted_to = 41;
  const StoredProblems again = DecodeProblems(EncodeProblems(problems));
  ASSERT_TRUE(again.facts.has_value());
  EXPECT_EQ(again.facts->context.source, Source::kPlan);
  EXPECT_EQ(again.facts->context.exit_code, 3);
  EXPECT_EQ(again.facts->context.role, Role::kReviewer);
  EXPECT_EQ(again.facts->context.case_name, "A\xff");
  EXPECT_EQ(again.facts->context.moved_below.size(), kMovedPathsKeptMax);
  EXPECT_EQ(again.facts->context.moved_below[0], "a/\xff");
  EXPECT_EQ(again.facts->moved_omitted, 2);
  EXPECT_EQ(again.facts->context.lint, context.lint);
  EXPECT_EQ(again.decision->review_by, Role::kAdmin);
  EXPECT_EQ(again.decision->lint, context.lint);
  EXPECT_EQ(EncodeProblems(DecodeProblems(EncodeProblems(again))), EncodeProblems(again));
}

TEST(DocumentTest, SuccessFollowsTheStateOfTheChanges) {
  Execution execution;
  execution.status = "succeeded";
  execution.exit_code = 0;
  execution.change_state = "held";
  boost::json::object document = ToJson(execution, 100);
  EXPECT_TRUE(document["success"].as_bool());
  SetChangeState(&document, ProposalState::kConflict);
  EXPECT_FALSE(document["success"].as_bool());
  EXPECT_EQ(document["changes"].as_object()["state"].as_string(), "conflict");
}

TEST(DocumentTest, LongOutputIsCutAndSaysSo) {
  Execution execution;
  execution.out = std::string(100, 'x');
  const boost::json::object document = ToJson(execution, 10);
  EXPECT_EQ(document.at("stdout").as_string().size(), 10U);
  EXPECT_TRUE(document.at("stdout_truncated").as_bool());
  EXPECT_FALSE(document.at("stderr_truncated").as_bool());
}

TEST(DocumentTest, ProblemsSurviveTheStore) {
  StoredProblems problems;
  problems.refused = {{"a\xff", "is a socket"}};
  problems.decision = Decision{Verdict::kReview, "tools", {"why"}};
  const StoredProblems read = DecodeProblems(EncodeProblems(problems));
  EXPECT_EQ(read.refused, problems.refused);
  ASSERT_TRUE(read.decision.has_value());
  EXPECT_EQ(read.decision->rule, "tools");
  EXPECT_EQ(read.decision->reasons, problems.decision->reasons);
}

}  // namespace
}  // namespace bailiff
