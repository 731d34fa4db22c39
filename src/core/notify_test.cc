#include "core/notify.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <map>

#include "core/context_fixture_test.h"
#include "core/deliver.h"
#include "core/stats.h"
#include "store/outbox.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kOneHook =
    "[[webhook]]\nname = \"all\"\nurl = \"http://hooks.test/secret-path\"\n";

class NotifyTest : public ContextFixture {
 protected:
  struct Sent {
    std::string url;
    HookHeaders headers;
    std::string body;

    boost::json::object Json() const { return boost::json::parse(body).as_object(); }
    std::string Header(std::string_view name) const {
      for (const auto& [key, value] : headers) {
        if (key == name) return value;
      }
      return "";
    }
  };

  // A receiver that answers so.
  HookPoster Answering(int status) {
    return [this, status](const std::string& url, const HookHeaders& headers,
                          const std::string& body) -> Result<int> {
      sent_.push_back({url, headers, body});
      return status;
    };
  }

  Delivered Deliver(const HookPoster& poster) {
    Result<Delivered> delivered = DeliverDue(*context_, poster);
    EXPECT_THAT(delivered, IsOk());
    return std::move(delivered).value();
  }

  std::vector<OutboxRow> Waiting() {
    return DueMessages(context_->store().connection(), "all",
                       std::numeric_limits<std::int64_t>::max(), kOutboxRowsMax)
        .value();
  }

  void MakeDue() {
    ASSERT_THAT(context_->store().connection().Execute("UPDATE outbox SET next_ns = 0"), IsOk());
  }

  std::vector<Sent> sent_;
};

TEST_F(NotifyTest, WhatHappensToAChangeSetIsTold) {
  Open(kOneHook);
  context_->ActAs(Token("bot", Role::kAgent));
  const std::string id = ProposeDir("Reports/a", Mode::kReview);
  context_->ActAs(Token("rita", Role::kReviewer));
  ASSERT_THAT(Approve(*context_, id, "", kTestWait), IsOk());
  ASSERT_EQ(Deliver(Answering(204)).sent, 2);
  EXPECT_EQ(sent_[0].url, "http://hooks.test/secret-path");
  EXPECT_EQ(sent_[0].Header("Bailiff-Event"), "held");
  EXPECT_EQ(sent_[0].Header("Bailiff-Delivery"), context_->workspace().id() + "-1");
  EXPECT_EQ(sent_[0].Header("Bailiff-Signature"), "");
  const boost::json::object held = sent_[0].Json();
  EXPECT_EQ(held.at("event"), "held");
  EXPECT_EQ(held.at("id").as_string(), id);
  EXPECT_EQ(held.at("state"), "held");
  EXPECT_EQ(held.at("principal"), "token:bot");
  EXPECT_EQ(held.at("created").as_int64(), 1);
  EXPECT_EQ(held.at("decision").at("rule"), "mode-review");
  EXPECT_EQ(held.at("workspace").as_string(), context_->workspace().id());
  EXPECT_EQ(sent_[1].Json().at("event"), "committed");
  EXPECT_EQ(sent_[1].Json().at("decided_by"), "token:rita");
  EXPECT_THAT(Waiting(), IsEmpty());
}

TEST_F(NotifyTest, AHookHearsOnlyWhatItAskedFor) {
  Open(std::string(kOneHook) + "events = [\"committed\", \"failed\"]\n");
  ProposeDir("Reports/a", Mode::kReview);
  EXPECT_THAT(Waiting(), IsEmpty());
  ProposeDir("Reports/b", Mode::kCommit);
  NotifyEnded(*context_, {{"execution_id", "exec_1"},
                          {"status", "failed"},
                          {"exit_code", 3},
                          {"stdout", "secret output"}});
  for (const char* status : {"succeeded", "cancelled"})
    NotifyEnded(*context_, {{"status", status}});
  const std::vector<OutboxRow> rows = Waiting();
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[0].event, "committed");
  EXPECT_THAT(rows[1].body, HasSubstr("\"exit_code\":3"));
  EXPECT_THAT(rows[1].body, Not(HasSubstr("secret output")));
}

TEST_F(NotifyTest, SlackGetsOneTextInWhichNothingIsMarkup) {
  const std::string text(
      ToSlack({{"event", "held"},
               {"id", "exec_1"},
               {"workspace", "ws_1"},
               {"case", "<!channel> & co"},
               {"decision", boost::json::object({{"reasons", {"touches <a>"}}})}})
          .at("text")
          .as_string());
  EXPECT_EQ(text,
            "Bailiff: held exec_1 (ws_1)\ncase &lt;!channel&gt; &amp; co\n- touches &lt;a&gt;");
}

TEST_F(NotifyTest, AMessageIsSignedWithTheKeyOfItsHook) {
  const std::string key = dir_.Path("hook.key");
  std::ofstream(key) << "it is a secret\n";
  ASSERT_EQ(::chmod(key.c_str(), 0600), 0);
  Open(std::string(kOneHook) + "secret_file = \"" + key + "\"\n");
  ProposeDir("Reports/a", Mode::kReview);
  ASSERT_EQ(Deliver(Answering(200)).sent, 1);
  const std::string signature = sent_[0].Header("Bailiff-Signature");
  const std::int64_t seconds = std::stoll(signature.substr(2));
  EXPECT_EQ(signature, SignHook("it is a secret", seconds, sent_[0].body));
  // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
  EXPECT_EQ(SignHook("key", 1'700'000'000, R"({"a":1})"),
            "t=1700000000,v1="
            "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03");
  // One that others can read is no secret: nothing is sent.
  ASSERT_EQ(::chmod(key.c_str(), 0644), 0);
  ProposeDir("Reports/b", Mode::kReview);
  EXPECT_EQ(Deliver(Answering(200)).deferred, 1);
  EXPECT_THAT(sent_, SizeIs(1));
  EXPECT_THAT(Waiting()[0].last_error, HasSubstr("others cannot read"));
}

TEST_F(NotifyTest, WhatFailsIsTriedAgainLaterAndKeepsItsOrder) {
  Open(kOneHook);
  ProposeDir("Reports/a", Mode::kReview);
  ProposeDir("Reports/b", Mode::kReview);
  std::int64_t wait_s = 10;
  for (int attempt = 1; attempt <= 3; ++attempt, wait_s *= 2) {
    const std::int64_t before_ns = context_->NowNanos();
    const Delivered delivered = Deliver(Answering(503));
    EXPECT_EQ(delivered.deferred, 1) << "the second one waits for the first";
    const std::int64_t after_ns = context_->NowNanos();
    const OutboxRow row = Waiting()[0];
    EXPECT_EQ(row.attempts, attempt);
    EXPECT_EQ(row.last_error, "the receiver answered with status 503");
    EXPECT_GE(row.next_ns, before_ns + wait_s * 1'000'000'000);
    EXPECT_LE(row.next_ns, after_ns + wait_s * 1'250'000'000);
    MakeDue();
  }
  EXPECT_THAT(sent_, SizeIs(3));
  EXPECT_EQ(Deliver(Answering(200)).sent, 2);
  EXPECT_EQ(sent_[3].body, sent_[0].body);
  EXPECT_EQ(sent_[3].Header("Bailiff-Delivery"), sent_[0].Header("Bailiff-Delivery"));
}

TEST_F(NotifyTest, WhatIsHopelessIsGivenUpAndNoted) {
  Open(kOneHook);
  ProposeDir("Reports/a", Mode::kReview);
  EXPECT_EQ(Deliver(Answering(429)).deferred, 1);
  MakeDue();
  EXPECT_EQ(Deliver(Answering(408)).deferred, 1);
  MakeDue();
  EXPECT_EQ(Deliver(Answering(404)).given_up, 1);
  EXPECT_THAT(Waiting(), IsEmpty());
  const auto records = Records("notification_failed");
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(records[0].at("hook"), "all");
  EXPECT_EQ(records[0].at("error"), "the receiver answered with status 404");
  EXPECT_EQ(records[0].at("attempts").as_int64(), 3);
}

TEST_F(NotifyTest, ADayIsEnoughAndTheAddressStaysSecret) {
  Open(kOneHook);
  ProposeDir("Reports/a", Mode::kReview);
  ASSERT_THAT(context_->store().connection().Execute(
                  "UPDATE outbox SET created_ns = created_ns - 86400000000000"),
              IsOk());
  const HookPoster unreachable = [](const std::string& url, const HookHeaders&,
                                    const std::string&) -> Result<int> {
    return Error(ErrorCode::kIo, "post to " + url + ": Connection refused");
  };
  EXPECT_EQ(Deliver(unreachable).given_up, 1);
  const auto records = Records("notification_failed");
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(records[0].at("error"), "post to the hook: Connection refused");
}

TEST_F(NotifyTest, AHookThatIsNoLongerConfiguredGetsNothing) {
  Open(kOneHook);
  OutboxRow row;
  row.hook = "gone";
  row.event = "held";
  row.body = "{}";
  row.created_ns = context_->NowNanos();
  ASSERT_THAT(Enqueue(context_->store().connection(), row), IsOk());
  EXPECT_EQ(Deliver(Answering(200)).given_up, 1);
  EXPECT_THAT(sent_, IsEmpty());
}

TEST_F(NotifyTest, OneDeadReceiverDoesNotHoldUpAnother) {
  Open(std::string(kOneHook) + "[[webhook]]\nname = \"two\"\nurl = \"http://two.test/\"\n");
  ProposeDir("Reports/a", Mode::kReview);
  ProposeDir("Reports/b", Mode::kReview);
  std::map<std::string, int> asked;
  const Delivered delivered =
      Deliver([&](const std::string& url, const HookHeaders&, const std::string&) -> Result<int> {
        ++asked[url];
        return url == "http://two.test/" ? 200 : 500;
      });
  EXPECT_EQ(delivered.sent, 2);
  EXPECT_EQ(delivered.deferred, 1);
  EXPECT_EQ(asked["http://hooks.test/secret-path"], 1);
  ASSERT_TRUE(delivered.next_ns.has_value());
}

TEST_F(NotifyTest, AnAlertIsSentOnceAnHour) {
  Open(std::string(kOneHook) + "[health]\nfailure_min_runs = 1\nexecutions_per_hour = 2\n");
  AddExecution("failed");
  AddExecution("failed");
  const Result<Health> health = AlertOnHealth(*context_);
  ASSERT_THAT(health, IsOk());
  EXPECT_FALSE(health.value().healthy());
  EXPECT_THAT(Waiting(), SizeIs(1));
  AddExecution("failed");
  ASSERT_THAT(AlertOnHealth(*context_), IsOk());  // One more metric.
  ASSERT_THAT(AlertOnHealth(*context_), IsOk());
  const std::vector<OutboxRow> rows = Waiting();
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_THAT(rows[0].body, HasSubstr("failure_rate"));
  EXPECT_THAT(rows[1].body, Not(HasSubstr("failure_rate")));
  EXPECT_THAT(rows[1].body, HasSubstr("execution_count"));
  ASSERT_THAT(context_->store().SetMeta("alerted_failure_rate", "1"), IsOk());
  ASSERT_THAT(AlertOnHealth(*context_), IsOk());
  EXPECT_THAT(Waiting(), SizeIs(3));
}

class StatsTest : public ContextFixture {};

TEST_F(StatsTest, TheLastHoursAreCounted) {
  Open();
  for (int i = 0; i < 3; ++i) AddExecution("succeeded", 2);
  const std::string failed = AddExecution("timed_out", 10, "");
  AddExecution("running", 0);
  AddExecution("failed", 100, "/Tools/old.py", "", std::chrono::hours(25));
  const boost::json::object stats = ToJson(StatsOf(*context_, 24).value());
  EXPECT_EQ(stats.at("total_executions"), 4);
  EXPECT_EQ(stats.at("success_count"), 3);
  EXPECT_EQ(stats.at("failure_count"), 1);
  EXPECT_EQ(stats.at("success_rate"), 0.75);
  EXPECT_EQ(stats.at("average_duration"), 4.0);
  EXPECT_EQ(stats.at("p95_duration"), 10.0);
  EXPECT_EQ(stats.at("period_hours"), 24);
  EXPECT_EQ(stats.at("most_used_scripts"), (boost::json::object{{"/Tools/x.py", 3}}));
  EXPECT_EQ(stats.at("by_status"),
            (boost::json::object{{"running", 1}, {"succeeded", 3}, {"timed_out", 1}}));
  ASSERT_EQ(stats.at("failures").as_array().size(), 1U);
  EXPECT_EQ(stats.at("failures").at(0).at("execution_id").as_string(), failed);
  EXPECT_EQ(StatsOf(*context_, 48).value().counted.ended, 5);
  EXPECT_THAT(StatsOf(*context_, 0), FailsWith(ErrorCode::kInvalidArgument));
}

TEST_F(StatsTest, NothingHasARateOfNothing) {
  Open();
  const Stats stats = StatsOf(*context_, 1).value();
  EXPECT_EQ(stats.success_rate(), 0);
  EXPECT_EQ(stats.counted.ended, 0);
  EXPECT_TRUE(CheckHealth(*context_).value().healthy());
}

TEST_F(StatsTest, AScopedActorSeesItsCasesAndItsOwn) {
  Open();
  AddExecution("succeeded", 1, "/Tools/x.py", "Wilson");
  AddExecution("failed", 1, "/Tools/secret.py", "Smith");
  context_->ActAs(Token("bot", Role::kAgent, std::vector<std::string>{"Wilson"}));
  AddExecution("failed", 1, "/Tools/own.py", "Other");
  const Stats stats = StatsOf(*context_, 1).value();
  EXPECT_EQ(stats.counted.ended, 2);
  EXPECT_THAT(stats.counted.scripts,
              ElementsAre(::testing::Pair("/Tools/own.py", 1), ::testing::Pair("/Tools/x.py", 1)));
  EXPECT_THAT(stats.counted.failures, SizeIs(1));
}

TEST_F(StatsTest, EachThresholdHasItsAlert) {
  Open(
      "[health]\nfailure_rate = 0.5\nfailure_min_runs = 3\naverage_duration = \"2s\"\n"
      "executions_per_hour = 4\n");
  const auto metrics = [&] {
    std::vector<std::string> names;
    for (const Alert& alert : CheckHealth(*context_).value().alerts) names.push_back(alert.metric);
    return names;
  };
  for (int i = 0; i < 3; ++i) AddExecution("failed", 1);
  EXPECT_THAT(metrics(), IsEmpty()) << "three are not more than three";
  AddExecution("succeeded", 9);
  EXPECT_THAT(metrics(), ElementsAre("failure_rate", "avg_duration"));
  AddExecution("succeeded", 9);
  const Health health = CheckHealth(*context_).value();
  EXPECT_THAT(metrics(), ElementsAre("failure_rate", "avg_duration", "execution_count"));
  EXPECT_FALSE(health.healthy());
  EXPECT_EQ(health.alerts[0].message, "High failure rate: 60.0% in last hour");
  EXPECT_EQ(Name(health.alerts[1].level), "info");
}

}  // namespace
}  // namespace bailiff
