#include "journal/plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <sstream>

#include "tests/support/matchers.h"

namespace bailiff {
namespace {

constexpr const char* kId = "exec_20260101_000000_00000001";

struct Draft {
  ChangeOp op;
  EntryType type;
  const char* path;
  const char* from = "";
};
constexpr EntryType kFile = EntryType::kFile;
constexpr EntryType kDir = EntryType::kDir;

ChangeSet MakeSet(const std::vector<Draft>& drafts) {
  ChangeSet set;
  set.id = kId;
  for (const Draft& draft : drafts) {
    Change change;
    change.op = draft.op;
    change.type = draft.type;
    change.path = draft.path;
    change.from = draft.from;
    if (draft.op != ChangeOp::kCreate) change.base.emplace().type = draft.type;
    const bool brings = draft.op == ChangeOp::kCreate || draft.op == ChangeOp::kModify;
    if (brings && draft.type == kFile) {
      change.content.path = "stage/" + set.id + "/" + draft.path;
    }
    set.changes.push_back(std::move(change));
  }
  SortCanonically(&set);
  return set;
}

std::string Plan(const ChangeSet& set, Stability stability = Stability::kStrong) {
  EXPECT_THAT(ValidateSet(set), IsOk());
  std::ostringstream out;
  for (const Step& step : PlanSteps(set, SetIndex(set), stability)) {
    std::string line = Describe(step);
    for (const std::string& dir : {"undo/" + set.id + "/", "stage/" + set.id + "/"}) {
      for (std::size_t at = line.find(dir); at != std::string::npos; at = line.find(dir)) {
        line.replace(at, dir.size(), dir.substr(0, 1) + ":");
      }
    }
    out << line << "\n";
  }
  return out.str();
}

TEST(PlanTest, ReplacesWhereEntriesCannotBeExchanged) {
  const ChangeSet set = MakeSet({{ChangeOp::kModify, kFile, "f"}});
  EXPECT_EQ(Plan(set), "exchange s:f <-> f, keep u:0\n");
  EXPECT_EQ(Plan(set, Stability::kWeak), "replace f by s:f, copy at u:0\n");
}

TEST(PlanTest, DetachesDeepestFirstAndAttachesShallowestFirst) {
  struct Case {
    const char* name;
    std::vector<Draft> drafts;
    const char* steps;
  };
  constexpr ChangeOp kDel = ChangeOp::kDelete;
  constexpr ChangeOp kMov = ChangeOp::kMove;
  constexpr ChangeOp kNew = ChangeOp::kCreate;
  constexpr ChangeOp kMod = ChangeOp::kModify;
  constexpr ChangeOp kMeta = ChangeOp::kMetadata;
  const Case cases[] = {
      {"nothing", {}, ""},
      {"a swap",
       {{kMov, kFile, "a", "b"}, {kMov, kFile, "b", "a"}},
       "detach b -> u:0\ndetach a -> u:1\nmark u:detached\n"
       "attach u:0 -> a\nattach u:1 -> b\n"},
      {"a move out of a deleted directory, which goes as one",
       {{kDel, kDir, "d"},
        {kDel, kFile, "d/f"},
        {kMov, kFile, "out", "d/sub/g"},
        {kDel, kDir, "d/sub"}},
       "detach d/sub/g -> u:0\ndetach d -> u:1\nmark u:detached\nattach u:0 -> out\n"},
      {"changes in a moved directory",
       {{kMov, kDir, "b", "a"},
        {kMod, kFile, "b/f", "a/f"},
        {kDel, kFile, "a/g"},
        {kNew, kFile, "b/h"}},
       "detach a/g -> u:0\ndetach a -> u:1\nmark u:detached\nattach u:1 -> b\n"
       "attach s:b/h -> b/h\nexchange s:b/f <-> b/f, keep u:2\n"},
      {"a file that moves and changes",
       {{kMov, kFile, "new", "old"}, {kMod, kFile, "new", "old"}},
       "detach old -> u:0\nattach s:new -> new\n"},
      {"a change of type",
       {{kDel, kFile, "x"}, {kNew, kDir, "x"}, {kNew, kFile, "x/f"}},
       "detach x -> u:0\nattach s:new-1 -> x\nattach s:x/f -> x/f\nmetadata x\n"},
      {"recreation at the source",
       {{kMov, kFile, "b", "a"}, {kNew, kFile, "a"}},
       "detach a -> u:0\nmark u:detached\nattach s:a -> a\nattach u:0 -> b\n"},
      {"metadata: files, then directories from the bottom",
       {{kMeta, kDir, "d"}, {kMeta, kDir, "d/e"}, {kMeta, kFile, "z"}},
       "metadata z\nmetadata d/e\nmetadata d\n"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(Plan(MakeSet(c.drafts)), c.steps);
  }
}

TEST(PlanTest, RestoresADirectoryAsOne) {
  ChangeSet set = MakeSet({{ChangeOp::kCreate, kDir, "d"}, {ChangeOp::kCreate, kFile, "d/f"}});
  const std::string aside = "undo/exec_20250101_000000_00000001/3";
  set.changes[0].content.path = aside;
  set.changes[1].content.path = aside + "/f";
  for (Change& change : set.changes) change.Set(ChangeFlag::kRestored);
  EXPECT_EQ(Plan(set), "attach " + aside + " -> d\nmetadata d\n");
  set.changes[1].content.path = aside + "1/f";
  EXPECT_EQ(Plan(set), "attach " + aside + " -> d\nattach " + aside + "1/f -> d/f\nmetadata d\n");
}

TEST(PlanTest, TranslatesBetweenTheTwoTrees) {
  const ChangeSet set = MakeSet({{ChangeOp::kMove, kDir, "b", "a"},
                                 {ChangeOp::kMove, kDir, "b/y", "a/x/y"},
                                 {ChangeOp::kDelete, kDir, "a/gone"},
                                 {ChangeOp::kCreate, kDir, "b/new"}});
  const SetIndex index(set);
  EXPECT_EQ(index.ToFinal("a/f"), "b/f");
  EXPECT_EQ(index.ToFinal("a/x/y/z"), "b/y/z");
  EXPECT_EQ(index.ToFinal("a/x"), "b/x");
  EXPECT_EQ(index.ToFinal("a/gone/f"), std::nullopt);
  EXPECT_EQ(index.ToFinal("other"), "other");
  EXPECT_EQ(index.ToBase("b/y/z"), "a/x/y/z");
  EXPECT_EQ(index.ToBase("b/f"), "a/f");
  EXPECT_EQ(index.ToBase("b/new/f"), std::nullopt);
  EXPECT_EQ(index.ToBase("other/f"), "other/f");
}

TEST(PlanTest, RefusesSetsThatNoCaptureMakes) {
  struct Case {
    const char* name;
    std::function<void(ChangeSet*)> spoil;
    const char* message;
  };
  const Case cases[] = {
      {"reserved", [](ChangeSet* set) { set->changes[0].path = ".bailiff/x"; }, "lies in .bailiff"},
      {"climbing", [](ChangeSet* set) { set->changes[0].path = "../x"; }, "not a path"},
      {"unsorted", [](ChangeSet* set) { std::swap(set->changes[0], set->changes[1]); }, "order"},
      {"not staged", [](ChangeSet* set) { set->changes[0].content.path.clear(); }, "not staged"},
      {"staged elsewhere",
       [](ChangeSet* set) {
         set->changes[0].content.path = "undo/exec_20250101_000000_00000001/3";
       },
       "outside stage"},
      {"staged by another",
       [](ChangeSet* set) {
         set->changes[0].content.path = "stage/exec_20250101_000000_00000001/3";
       },
       "outside stage"},
      {"restored from no commit",
       [](ChangeSet* set) {
         set->changes[0].content.path = "undo/x/3";
         set->changes[0].Set(ChangeFlag::kRestored);
       },
       "outside stage"},
      {"no base", [](ChangeSet* set) { set->changes[1].base.reset(); }, "base is needed"},
      {"id", [](ChangeSet* set) { set->id = "../../x"; }, "is not an id"},
      {"elsewhere", [](ChangeSet* set) { set->changes[1].from = "other"; }, "elsewhere"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ChangeSet set = MakeSet({{ChangeOp::kCreate, kFile, "a"}, {ChangeOp::kModify, kFile, "b"}});
    ASSERT_THAT(ValidateSet(set), IsOk());
    c.spoil(&set);
    const Status status = ValidateSet(set);
    ASSERT_THAT(status, FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(status.error().message(), ::testing::HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace bailiff
