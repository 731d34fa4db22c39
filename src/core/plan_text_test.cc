#include "core/plan_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "base/bytes.h"
#include "base/sha256.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

// What is wrong with a text: "pointer: message".
std::vector<std::string> Faults(std::string_view text) {
  std::vector<std::string> lines;
  for (const JsonFault& fault : ParsePlan(text).faults) lines.push_back(Describe(fault));
  return lines;
}

std::string WithOperations(const std::string& operations) {
  return R"({"case_name": "C", "operations": [)" + operations + "]}";
}

TEST(PlanTextTest, ReadsTheMutationPlan) {
  const ParsedPlan parsed = ParsePlan(R"({
    "plan_id": "", "case_name": "Abby-MVA", "description": "Sort\nrecords",
    "operations": [
      {"type": "create_dir", "destination": "Medical Records/"},
      {"type": "move", "source": "./a.pdf", "destination": "Medical Records//a.pdf",
       "content": null},
      {"type": "copy", "source": "b", "destination": "c"},
      {"type": "delete", "source": "old..txt"},
      {"type": "write_file", "destination": "n", "content": "h\u00e9"},
      {"type": "write_file", "destination": "b", "content_b64": "AP8="},
      {"type": "write_file", "destination": "e"}],
    "created_by": "agent", "requires_approval": false})");
  ASSERT_THAT(parsed.faults, IsEmpty());
  const Plan& plan = parsed.plan;
  EXPECT_EQ(plan.shape, Plan::Shape::kMutation);
  EXPECT_EQ(plan.case_name, "Abby-MVA");
  EXPECT_EQ(plan.description, "Sort\nrecords");
  EXPECT_EQ(plan.created_by, "agent");
  EXPECT_FALSE(plan.requires_approval);
  ASSERT_THAT(plan.operations, SizeIs(7));
  EXPECT_EQ(plan.operations[0].destination, "Medical Records");
  EXPECT_EQ(plan.operations[1].source, "a.pdf");
  EXPECT_EQ(plan.operations[1].destination, "Medical Records/a.pdf");
  EXPECT_EQ(plan.operations[3].source, "old..txt");
  EXPECT_EQ(plan.operations[4].content, "h\u00e9");
  EXPECT_EQ(plan.operations[4].size, 3);
  EXPECT_EQ(plan.operations[5].content, std::string("\0\xff", 2));
  EXPECT_EQ(plan.operations[6].content, "");
  EXPECT_EQ(plan.operations[6].sha256, Sha256::Of(""));
}

TEST(PlanTextTest, APlanNeedsApprovalUnlessItSaysOtherwise) {
  EXPECT_TRUE(
      ParsePlan(WithOperations(R"({"type": "delete", "source": "x"})")).plan.requires_approval);
}

TEST(PlanTextTest, ReadsTheFileOpsPlan) {
  const ParsedPlan parsed = ParsePlan(R"({"case_name": "Abby", "dry_run": true, "operations": [
    {"type": "move", "from": "Abby/x/f.pdf", "to": "Abby/y/f.pdf"},
    {"type": "mkdir", "path": "Abby/z"}]})");
  ASSERT_THAT(parsed.faults, IsEmpty());
  EXPECT_EQ(parsed.plan.shape, Plan::Shape::kFileOps);
  EXPECT_TRUE(parsed.plan.dry_run);
  EXPECT_FALSE(parsed.plan.requires_approval);
  EXPECT_EQ(parsed.plan.operations[0].source, "x/f.pdf");
  EXPECT_EQ(parsed.plan.operations[0].destination, "y/f.pdf");
  EXPECT_EQ(parsed.plan.operations[1].op, PlanOp::kCreateDir);
  EXPECT_EQ(parsed.plan.operations[1].destination, "z");
}

TEST(PlanTextTest, WhatIsWrongIsNamedByItsPointer) {
  struct Case {
    std::string text;
    const char* fault;
  };
  const std::string long_name(256, 'n');
  const Case cases[] = {
      {"", "is not JSON: at byte 0"},
      {"{} x", "is not JSON: at byte 3"},
      {"{\"a\xff\": 1}", "is not JSON: at byte 3"},
      {"[1]", "must be a JSON object: a plan"},
      {std::string(100, '[') + std::string(100, ']'), "is not JSON: at byte 3"},
      {R"({"operations": [], "operations": []})", "/operations: is given twice; give it once"},
      {WithOperations(R"({"type": "delete", "source": "a"}, {"type": "delete", "type": "move"})"),
       "/operations/1/type: is given twice; give it once"},
      {"{}", "/operations: must be an array of at least one operation"},
      {R"({"operations": []})", "/operations: must be an array of at least one operation"},
      {WithOperations("7"), "/operations/0: must be an object"},
      {WithOperations("{}"),
       "/operations/0/type: must be one of move, copy, delete, create_dir, "
       "write_file"},
      {WithOperations(R"({"type": "chmod"})"), "/operations/0/type: must be one of move, copy"},
      {WithOperations(R"({"type": 1})"), "/operations/0/type: must be a string"},
      {WithOperations(R"({"type": "delete"})"),
       "/operations/0/source: is missing; name a file or directory"},
      {WithOperations(R"({"type": "delete", "source": null})"), "/operations/0/source: is missing"},
      {WithOperations(R"({"type": "delete", "source": 3})"),
       "/operations/0/source: must be a string"},
      {WithOperations(R"({"type": "delete", "source": ""})"), "/operations/0/source: is empty"},
      {WithOperations(R"({"type": "delete", "source": "./"})"),
       "/operations/0/source: names no file or directory"},
      {WithOperations(R"({"type": "delete", "source": "/etc"})"),
       "/operations/0/source: is absolute; write it without the leading '/'"},
      {WithOperations(R"({"type": "delete", "source": "a/../../b"})"),
       "/operations/0/source: has '..' in it"},
      {WithOperations(R"({"type": "delete", "source": "a\u0000b"})"),
       "/operations/0/source: has a control character"},
      {WithOperations(R"({"type": "delete", "source": "a\nb"})"),
       "/operations/0/source: has a control character"},
      {WithOperations(R"({"type": "delete", "source": ")" + long_name + "\"}"),
       "/operations/0/source: has a name of more than 255 bytes"},
      {WithOperations(R"({"type": "delete", "source": "a", "destination": "b"})"),
       "/operations/0/destination: does not belong to delete"},
      {WithOperations(R"({"type": "copy", "source": "a", "destination": "b", "mode": 1})"),
       "/operations/0/mode: is unknown; there may be type, source, destination, content"},
      {WithOperations(R"({"type": "copy", "source": "a", "destination": "b", "content": "x"})"),
       "/operations/0/content: does not belong to copy"},
      {WithOperations(R"({"type": "write_file", "destination": "b", "content": 1})"),
       "/operations/0/content: must be a string"},
      {WithOperations(R"({"type": "write_file", "destination": "b", "content_b64": "?"})"),
       "/operations/0/content_b64: is not base64"},
      {WithOperations(
           R"({"type": "write_file", "destination": "b", "content_b64": "", "content": ""})"),
       "/operations/0/content_b64: is given beside content"},
      {R"({"case_name": "../C", "operations": [{"type": "delete", "source": "a"}]})",
       "/case_name: must be the name of a folder of projects/"},
      {R"({"case_name": "", "operations": [{"type": "delete", "source": "a"}]})",
       "/case_name: must be the name of a folder of projects/"},
      {R"({"plan_id": "mine", "operations": [{"type": "delete", "source": "a"}]})",
       "/plan_id: is given by Bailiff; leave it out or empty"},
      {R"({"requires_approval": 0, "operations": [{"type": "delete", "source": "a"}]})",
       "/requires_approval: must be true or false"},
      {R"({"a/b~": 1, "operations": [{"type": "delete", "source": "a"}]})",
       "/a~1b~0: is unknown; there may be plan_id, case_name"},
      {R"({"dry_run": false, "operations": [{"type": "mkdir", "path": "a"}]})",
       "/case_name: is missing"},
      {R"({"case_name": "C", "dry_run": "no", "operations": [{"type": "mkdir", "path": "C/a"}]})",
       "/dry_run: must be true or false"},
      {R"({"case_name": "C", "operations": [{"type": "mkdir", "path": "D/a"}]})",
       "/operations/0/path: must begin with the case's folder: C/"},
      {R"({"case_name": "C", "operations": [{"type": "mkdir", "path": "C"}]})",
       "/operations/0/path: must begin with the case's folder: C/"},
      {R"({"case_name": "C", "operations": [{"type": "move", "from": "C/a", "to": "C/b",
           "source": "x"}]})",
       "/operations/0/source: is unknown; there may be type, from, to, path"},
  };
  for (const Case& c : cases) {
    const std::vector<std::string> faults = Faults(c.text);
    ASSERT_THAT(faults, SizeIs(1)) << c.text;
    EXPECT_THAT(faults[0], StartsWith(c.fault)) << c.text;
  }
}

TEST(PlanTextTest, AllThatIsWrongIsToldAtOnceUpToALimit) {
  EXPECT_THAT(Faults(WithOperations(R"({"type": "delete"}, {"type": "move", "source": "/a"})")),
              ElementsAre(StartsWith("/operations/0/source"), StartsWith("/operations/1/source"),
                          StartsWith("/operations/1/destination")));
  std::string many = "0";
  for (int i = 0; i < 1000; ++i) many += ",0";
  EXPECT_THAT(Faults(WithOperations(many)), SizeIs(kPlanFaultsMax));
}

TEST(PlanTextTest, WhatAPlanMayHoldIsBounded) {
  const std::string one = R"({"type": "delete", "source": "a"})";
  std::string many = one;
  for (std::size_t i = 1; i < kPlanOperationsMax; ++i) many += "," + one;
  EXPECT_THAT(Faults(WithOperations(many)), IsEmpty());
  EXPECT_THAT(Faults(WithOperations(many + "," + one)),
              ElementsAre("/operations: has 10001 operations and may have 10000"));
  const std::string half(kPlanContentBytesMax / 2, 'x');
  const std::string write =
      R"({"type": "write_file", "destination": "a", "content": ")" + half + "\"}";
  EXPECT_THAT(Faults(WithOperations(write + "," + write)), IsEmpty());
  EXPECT_THAT(
      Faults(WithOperations(write + "," + write +
                            R"(,{"type": "write_file", "destination": "a", "content": "x"})")),
      ElementsAre("/operations: has 16.0 MiB of content and may have 16.0 MiB"));
  EXPECT_THAT(Faults(std::string(kPlanTextBytesMax + 1, ' ')),
              ElementsAre("is longer than 32.0 MiB"));
}

TEST(PlanTextTest, ADocumentHasTheOperationsWithoutTheirContent) {
  for (const std::string& text :
       {WithOperations(R"({"type": "write_file", "destination": "a", "content": "secret"},
                          {"type": "move", "source": "a", "destination": "b"})"),
        std::string(R"({"case_name": "C", "operations": [
                          {"type": "move", "from": "C/a", "to": "C/b"}]})")}) {
    const Plan plan = ParsePlan(text).plan;
    boost::json::object document;
    document["case_name"] = plan.case_name;
    document["operations"] = OperationsToJson(plan);
    EXPECT_EQ(boost::json::serialize(document).find("secret"), std::string::npos);
    const Result<Plan> again = PlanFromDocument(document);
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ(again.value().shape, plan.shape);
    ASSERT_EQ(again.value().operations.size(), plan.operations.size());
    for (std::size_t i = 0; i < plan.operations.size(); ++i) {
      EXPECT_EQ(again.value().operations[i].op, plan.operations[i].op);
      EXPECT_EQ(again.value().operations[i].source, plan.operations[i].source);
      EXPECT_EQ(again.value().operations[i].destination, plan.operations[i].destination);
      EXPECT_EQ(again.value().operations[i].sha256, plan.operations[i].sha256);
      EXPECT_EQ(again.value().operations[i].size, plan.operations[i].size);
    }
  }
  EXPECT_THAT(PlanFromDocument({{"operations", boost::json::array()}}),
              FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace bailiff
