#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "policy/policy.h"
#include "tests/support/effects.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Result<Policy> Parse(const std::string& text) {
  const TomlTable file = TRY(ParseToml(text, "p.toml"));
  for (const auto& [key, value] : file) {
    if (key == "policy") return Policy::Parse(*value.As<TomlTable>(), "p.toml");
  }
  return Policy::Parse({}, "p.toml");
}

// A rule "r" that denies when `when` holds, and commits everything else.
Policy When(const std::string& when) {
  return Parse("[[policy.rule]]\nname = \"r\"\ndecide = \"deny\"\n[policy.rule.when]\n" + when +
               "\n[[policy.rule]]\nname = \"rest\"\ndecide = \"commit\"\n")
      .value();
}

std::string Rule(const std::string& name, const std::string& decide, const std::string& more = "") {
  return "[[policy.rule]]\nname = \"" + name + "\"\ndecide = \"" + decide + "\"\n" + more + "\n";
}

using Make = std::function<void(Effects*)>;

struct ConditionCase {
  const char* when;
  Make yes;
  Make no;
};

void ExpectConditions(const std::vector<ConditionCase>& cases) {
  for (const ConditionCase& test : cases) {
    SCOPED_TRACE(test.when);
    const Policy policy = When(test.when);
    Effects yes;
    test.yes(&yes);
    EXPECT_EQ(policy.Decide(yes.set, yes.context).rule, "r");
    Effects no;
    test.no(&no);
    EXPECT_NE(policy.Decide(no.set, no.context).rule, "r");
  }
}

Make Creates(std::vector<std::string> paths) {
  return [paths = std::move(paths)](Effects* run) {
    for (const std::string& path : paths) run->Create(path);
  };
}

Make Deletes(int count) {
  return [count](Effects* run) { run->Delete(count); };
}

TEST(ConditionTest, LooksAtPaths) {
  const Make moves = [](Effects* run) {
    run->Move("in", "out");
    run->context.moved_below = {"in/deep/x.pdf"};
  };
  ExpectConditions({
      {"paths = \"Filings/**\"", Creates({"a", "Filings/x"}), Creates({"a", "Filing/x"})},
      {"paths = [\"a\", \"b\"]", Creates({"b"}), Creates({"c"})},
      {"paths = \"in/deep/*.pdf\"", moves, Creates({"in/x.pdf"})},
      {"paths = \"out/deep/*.pdf\"", moves, Creates({"in/x.pdf"})},
      {"paths = \"a\"\nops = [\"delete\", \"modify\"]",
       [](Effects* run) { run->Add(ChangeOp::kDelete, "a"); },
       [](Effects* run) {
         run->Create("a");
         run->Add(ChangeOp::kDelete, "b");
       }},
      {"paths = \"in\"\nops = \"move\"", moves, Creates({"in"})},
      {"ops = \"metadata\"", [](Effects* run) { run->Add(ChangeOp::kMetadata, "a"); },
       Creates({"a"})},
      {"only_paths = [\"Reports/**\"]", Creates({"Reports/a", "Reports/b/c"}),
       Creates({"Reports/a", "b"})},
      {"only_paths = [\"out/**\"]", Creates({"out/x"}), moves},
  });
}

TEST(ConditionTest, LooksAtAmounts) {
  ExpectConditions({
      {"deleted_above = 2", Deletes(3), Deletes(2)},
      {"created_above = 1", Creates({"a", "b"}),
       [](Effects* run) {
         run->Create("a");
         run->Add(ChangeOp::kCreate, "d", EntryType::kDir);
       }},
      {"modified_above = 0", [](Effects* run) { run->Add(ChangeOp::kModify, "a"); },
       Creates({"a"})},
      {"moved_above = 2",
       [](Effects* run) {
         run->Move("a", "b");
         run->context.moved_below = {"a/1", "a/2"};
       },
       [](Effects* run) {
         run->Move("a", "b");
         run->context.moved_below = {"a/1"};
       }},
      {"changed_above = 1", Creates({"a", "b"}), Creates({"a"})},
      {"bytes_above = \"1k\"", [](Effects* run) { run->Create("a").size = 1025; },
       [](Effects* run) { run->Create("a").size = 1024; }},
      {"bytes_above = 10", [](Effects* run) { run->Create("a").size = 11; },
       [](Effects* run) { run->Create("a").size = 10; }},
      {"deleted_share_above = 0.5", Deletes(21), Deletes(20)},
      {"deleted_share_above = 0", Deletes(1), Creates({"a"})},
  });
}

TEST(ConditionTest, LooksAtClasses) {
  const Make flagged_none = Creates({"projects/A/a"});
  const auto flagged = [](ChangeFlag flag) {
    return [flag](Effects* run) { run->Create("projects/A/a").Set(flag); };
  };
  ExpectConditions({
      {"protected = true", Creates({".git/hooks/x"}), flagged_none},
      {"protected = false", flagged_none, Creates({".git/hooks/x"})},
      {"tools = true", Creates({"Tools/x"}), flagged_none},
      {"outside_case = true", Creates({"projects/B/x"}), flagged_none},
      {"escaping_symlink = true",
       [](Effects* run) {
         run->Link("l", "/etc");
         run->set.changes.back().Set(ChangeFlag::kEscapingSymlink);
       },
       flagged_none},
      {"executable = true", flagged(ChangeFlag::kExecutable), flagged_none},
      {"executable = false", flagged_none, flagged(ChangeFlag::kExecutable)},
      {"hard_link = true", flagged(ChangeFlag::kBreaksHardLink), flagged_none},
      {"setid = true", flagged(ChangeFlag::kStrippedSetid), flagged_none},
      {"refused = true",
       [](Effects* run) {
         run->context.refused = {{"s", "is a socket"}};
       },
       flagged_none},
      {"failed = true", [](Effects* run) { run->context.succeeded = false; }, flagged_none},
  });
}

TEST(ConditionTest, LooksAtCircumstances) {
  const Make plain = [](Effects*) {};
  const std::string digest(64, 'a');
  const std::string has_digest = "script_sha256 = \"" + digest + "\"";
  ExpectConditions({
      {"mode = \"review\"", [](Effects* run) { run->context.mode = Mode::kReview; }, plain},
      {"kind = [\"plan\", \"rollback\"]", [](Effects* run) { run->context.source = Source::kPlan; },
       plain},
      {"principal = \"token:*\"", [](Effects* run) { run->context.principal = "token:bot"; },
       [](Effects* run) { run->context.principal = "local:0"; }},
      {"role = [\"reviewer\", \"admin\"]", [](Effects* run) { run->context.role = Role::kAdmin; },
       plain},
      {"case = \"A*\"", [](Effects* run) { run->context.case_name = "Abel"; },
       [](Effects* run) { run->context.case_name = "B"; }},
      {"case = \"*\"", plain, [](Effects* run) { run->context.case_name = ""; }},
      {"script = \"Tools/**\"", [](Effects* run) { run->context.script_path = "Tools/x.py"; },
       [](Effects* run) { run->context.script_path = "-"; }},
      {has_digest.c_str(), [&](Effects* run) { run->context.script_sha256 = digest; }, plain},
      {"environment = \"default\"", [](Effects* run) { run->context.environment = "default"; },
       plain},
      {"network = \"host\"", [](Effects* run) { run->context.host_network = true; }, plain},
      {"network = \"none\"", plain, [](Effects* run) { run->context.host_network = true; }},
      {"level = \"ns\"", [](Effects* run) { run->context.level = "ns"; }, plain},
      {"exit_code = [0, 3]", [](Effects* run) { run->context.exit_code = 3; }, plain},
      {"lint = [\"os-system\", \"eval\"]",
       [](Effects* run) {
         run->context.lint = {{"eval", 2, "eval(x)"}};
       },
       [](Effects* run) {
         run->context.lint = {{"network", 2, "import socket"}};
       }},
  });
}

TEST(ConditionTest, AllOfARuleMustHold) {
  const Policy policy = When("paths = \"a\"\nrole = \"agent\"");
  Effects run;
  run.Create("a");
  EXPECT_EQ(policy.Decide(run.set, run.context).rule, "r");
  run.context.role = Role::kAdmin;
  EXPECT_EQ(policy.Decide(run.set, run.context).rule, "rest");
}

TEST(PolicyTest, TheFirstRuleThatMatchesDecides) {
  const Policy policy =
      Parse(Rule("one", "review",
                 "by = \"admin\"\nreason = \"because\"\nwhen = { paths = "
                 "\"a\" }") +
            Rule("two", "deny", "when = { paths = \"*\" }") + Rule("three", "commit"))
          .value();
  Effects run;
  run.Create("a");
  const Decision decision = policy.Decide(run.set, run.context);
  EXPECT_EQ(decision.verdict, Verdict::kReview);
  EXPECT_EQ(decision.rule, "one");
  EXPECT_EQ(decision.review_by, Role::kAdmin);
  EXPECT_THAT(decision.reasons, ElementsAre("because; 1 path: a"));
  run.set.changes[0].path = "b";
  EXPECT_EQ(policy.Decide(run.set, run.context).verdict, Verdict::kDeny);
  run.set.changes[0].path = "b/c";
  EXPECT_EQ(policy.Decide(run.set, run.context).verdict, Verdict::kCommit);
  EXPECT_THAT(policy.Decide(run.set, run.context).reasons, IsEmpty());
}

TEST(PolicyTest, WhatNoRuleMatchesIsHeld) {
  const Policy policy = Parse(Rule("r", "commit", "when = { paths = \"a\" }")).value();
  Effects run;
  run.Create("b");
  const Decision decision = policy.Decide(run.set, run.context);
  EXPECT_EQ(decision.verdict, Verdict::kReview);
  EXPECT_EQ(decision.rule, "no-match");
  EXPECT_THAT(decision.reasons, ElementsAre("no rule of the policy matches"));
}

TEST(PolicyTest, WithoutRulesThoseThatShipDecide) {
  const Policy policy = Parse("[policy]\nself_approval = true\n").value();
  EXPECT_TRUE(policy.is_shipped());
  EXPECT_TRUE(policy.self_approval());
  Effects run;
  run.Create("projects/A/x");
  EXPECT_EQ(policy.Decide(run.set, run.context).rule, "default-commit");
  EXPECT_FALSE(Policy::Shipped().self_approval());
}

TEST(PolicyTest, TheRulesThatShipCanStandAmongOthers) {
  const Policy policy = Parse(Rule("first", "commit", "when = { paths = \"x\" }") +
                              "[[policy.rule]]\nuse = \"shipped\"\n" + Rule("last", "commit"))
                            .value();
  Effects run;
  run.Create("projects/B/y");
  run.context.succeeded = false;
  const Decision decision = policy.Decide(run.set, run.context);
  EXPECT_EQ(decision.rule, "run-failed");
  EXPECT_THAT(decision.reasons, ElementsAre("the run did not succeed", HasSubstr("outside of")));
  run.Create("x");
  EXPECT_EQ(policy.Decide(run.set, run.context).rule, "first");
  Effects clean;
  clean.Create("projects/A/y");
  EXPECT_EQ(policy.Decide(clean.set, clean.context).rule, "last");
}

TEST(PolicyTest, AFewThingsAreNeverCommittedWithoutAPerson) {
  const Policy commits = Parse(Rule("all", "commit")).value();
  const Policy denies = Parse(Rule("none", "deny")).value();
  const Policy admins = Parse(Rule("boss", "review", "by = \"admin\"")).value();
  const std::pair<const char*, Make> cases[] = {
      {"mode-review", [](Effects* run) { run->context.mode = Mode::kReview; }},
      {"refused-entries",
       [](Effects* run) {
         run->context.refused = {{"s", "is a socket"}};
       }},
      {"host-network", [](Effects* run) { run->context.host_network = true; }},
      {"protected-path", Creates({"projects/A/.envrc"})},
      {"tools", Creates({"Tools/x.py"})},
  };
  for (const auto& [rule, make] : cases) {
    SCOPED_TRACE(rule);
    Effects run;
    make(&run);
    const Decision raised = commits.Decide(run.set, run.context);
    EXPECT_EQ(raised.verdict, Verdict::kReview);
    EXPECT_EQ(raised.rule, rule);
    EXPECT_EQ(raised.reasons.at(0), "rule all would commit this, but never without a person");
    EXPECT_EQ(denies.Decide(run.set, run.context).verdict, Verdict::kDeny);
    const Decision held = admins.Decide(run.set, run.context);
    EXPECT_EQ(held.rule, "boss");
    EXPECT_EQ(held.review_by, Role::kAdmin);
    EXPECT_EQ(held.reasons.size(), 2U) << "the floor tells the reviewer as well";
  }
  Effects clean;
  clean.Create("projects/B/x");
  EXPECT_EQ(commits.Decide(clean.set, clean.context).rule, "all");
}

TEST(PolicyTest, ExplainsEveryRuleAndTheFloor) {
  const Policy policy =
      Parse(Rule("r", "deny", "when = { paths = \"a\", role = \"agent\" }") + Rule("all", "commit"))
          .value();
  Effects run;
  run.Create("Tools/x");
  const std::vector<RuleTrace> traces = policy.Explain(run.set, run.context);
  ASSERT_EQ(traces.size(), 7U);
  EXPECT_FALSE(traces[0].matches);
  ASSERT_EQ(traces[0].conditions.size(), 2U);
  EXPECT_EQ(traces[0].conditions[0].words, "a path is changed that matches a");
  EXPECT_FALSE(traces[0].conditions[0].holds);
  EXPECT_EQ(traces[0].conditions[0].finding, "no such path");
  EXPECT_TRUE(traces[0].conditions[1].holds);
  EXPECT_TRUE(traces[1].matches);
  EXPECT_FALSE(traces[1].decides) << "the floor raised it";
  for (const RuleTrace& trace : traces) {
    EXPECT_EQ(trace.decides, trace.is_floor && trace.name == "tools") << trace.name;
  }
}

TEST(PolicyTest, DescribesItselfAndWhatIsNeverReached) {
  const Policy policy =
      Parse(Rule("all", "commit") + Rule("late", "deny", "when = { deleted_above = 1 }")).value();
  const std::vector<RuleText> rules = policy.Describe();
  ASSERT_EQ(rules.size(), 2U);
  EXPECT_EQ(rules[0].note, "");
  EXPECT_THAT(rules[1].conditions, ElementsAre("more than 1 file is deleted"));
  EXPECT_EQ(rules[1].note, "is never reached: rule all matches everything");
}

TEST(PolicyTest, KnowsWhatItNeeds) {
  EXPECT_FALSE(Policy::Shipped().NeedsLint());
  EXPECT_TRUE(When("lint = \"eval\"").NeedsLint());
  EXPECT_EQ(Policy::Shipped().FilesToCount(10), 41);
  EXPECT_EQ(When("deleted_share_above = 0.1").FilesToCount(10), 101);
  EXPECT_EQ(When("deleted_share_above = 0").FilesToCount(10), 41);
}

TEST(PolicyTest, LintIsToldToTheReviewer) {
  Effects run;
  run.context.succeeded = false;
  run.context.lint = {{"eval", 2, "eval(x)"}};
  const Decision decision = Policy::Shipped().Decide(run.set, run.context);
  EXPECT_EQ(decision.lint, run.context.lint);
  EXPECT_EQ(decision.reasons.back(),
            "lint, which informs and does not protect: line 2: eval: eval(x)");
}

TEST(PolicyParseTest, SaysWhereWhatIsWrongAndWhatWouldBeRight) {
  struct Case {
    std::string text;
    const char* says;
  };
  const auto when = [](const std::string& condition) {
    return Rule("r", "deny", "[policy.rule.when]\n" + condition);
  };
  const Case cases[] = {
      {"[policy]\nself = true", "p.toml: policy.self: is not a known setting; use self_approval"},
      {"[policy]\nself_approval = 1", "p.toml: policy.self_approval: must be true or false"},
      {"[policy]\nrule = 1", "p.toml: policy.rule: must be written as [[policy.rule]]"},
      {"[policy.rule]\nname = \"a\"", "must be written as [[policy.rule]]"},
      {"[[policy.rule]]\ndecide = \"deny\"", "p.toml: policy.rule: 1: name: is missing"},
      {"[[policy.rule]]\nname = \"a\"", "policy.rule: 1 (a): decide: is missing; use commit"},
      {Rule("a", "allow"), "decide: 'allow' is not a decision; use commit, review or deny"},
      {Rule("A b", "deny"), "name: 'A b' must be 1 to 64 of a-z, 0-9 and -"},
      {Rule("tools", "deny"), "name: 'tools' is the name of a rule that ships"},
      {Rule("no-match", "deny"), "is the name of a rule that ships"},
      {Rule("a", "deny") + Rule("a", "deny"), "policy.rule: 2 (a): name: is another rule's too"},
      {Rule("a", "deny", "by = \"admin\""), "by: says who reviews; only with decide"},
      {Rule("a", "review", "by = \"agent\""), "by: an agent approves nothing"},
      {Rule("a", "review", "by = \"boss\""), "by: 'boss' is not a role; use agent, reviewer"},
      {Rule("a", "deny", "whem = {}"), "whem: is not a key of a rule; use name, decide"},
      {Rule("a", "deny", "when = 1"), "when: must be a table"},
      {Rule("a", "deny", "when = {}"), "when: is empty; leave it out"},
      {Rule("a", "deny", "reason = \"\""), "reason: must not be empty"},
      {"[[policy.rule]]\nuse = \"mine\"", "use: must be \"shipped\""},
      {"[[policy.rule]]\nuse = \"shipped\"\nname = \"a\"", "use: stands alone"},
      {"[[policy.rule]]\nuse = \"shipped\"\n[[policy.rule]]\nuse = \"shipped\"",
       "use: the rules that ship are there already"},
      {when("path = \"a\""), "policy.rule: 1 (r): when: path: is not a condition; use paths, ops"},
      {when("paths = []"), "when: paths: is an empty list; name at least one"},
      {when("paths = [1]"), "when: paths: must be a string or a list of strings"},
      {when("paths = \"/a\""), "when: paths: '/a' has an empty segment"},
      {when("paths = \"a\"\nops = \"remove\""),
       "when: paths: with ops: 'remove' is not known; use create, modify, delete, move or"},
      {when("ops = \"remove\""), "when: ops: 'remove' is not known"},
      {when("deleted_above = -1"), "deleted_above: must be a whole number from 0"},
      {when("deleted_above = [1]"), "deleted_above: must be one number, not a list"},
      {when("bytes_above = \"much\""), "bytes_above: "},
      {when("bytes_above = true"), "bytes_above: must be a size such as"},
      {when("deleted_share_above = 25"), "must be a number from 0 to below 1, like 0.25"},
      {when("deleted_share_above = 0.0001"), "must be 0, or from 0.001"},
      {when("protected = \"yes\""), "protected: must be true or false"},
      {when("mode = \"discard\""), "mode: 'discard' is not known; use commit or review"},
      {when("role = \"root\""), "role: 'root' is not known; use agent, reviewer or admin"},
      {when("kind = \"run\""), "kind: 'run' is not known; use execution, plan or rollback"},
      {when("network = \"all\""), "network: 'all' is not known; use none or host"},
      {when("level = \"high\""), "level: 'high' is not known; use ns, gvisor or vm"},
      {when("exit_code = 256"), "exit_code: must be a whole number from 0 to 255"},
      {when("script_sha256 = \"ABC\""), "script_sha256: 'ABC' is not 64 digits of 0-9 and a-f"},
      {when("lint = \"bad\""), "lint: 'bad' is not known; use os-system, "},
      {when("case = 1979-05-27"), "case: must be a string or a list of strings"},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.text);
    const Result<Policy> policy = Parse(test.text);
    ASSERT_THAT(policy, FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(policy.error().message(), StartsWith("p.toml: policy"));
    EXPECT_THAT(policy.error().message(), HasSubstr(test.says));
  }
}

TEST(PolicyParseTest, IsBounded) {
  std::string many;
  for (int i = 0; i < 201; ++i) many += Rule("r" + std::to_string(i), "deny");
  EXPECT_THAT(Parse(many).error().message(), HasSubstr("policy.rule: 201 rules; at most 200"));
  std::string list;
  for (int i = 0; i < 257; ++i) list += "\"a\",";
  EXPECT_THAT(Parse(Rule("r", "deny", "when = { paths = [" + list + "] }")).error().message(),
              HasSubstr("has 257 items; at most 256"));
}

}  // namespace
}  // namespace bailiff
