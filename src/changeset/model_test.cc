#include "changeset/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/sha256.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Change Make(ChangeOp op, std::string path) {
  Change change;
  change.op = op;
  change.path = std::move(path);
  if (op != ChangeOp::kCreate) change.base = Identity();
  if (op == ChangeOp::kMove) change.from = "from/here";
  return change;
}

// One of each kind, with every field set somewhere.
ChangeSet Sample() {
  ChangeSet set;
  set.id = "exec_20260102_030405_0123abcd";
  Change create = Make(ChangeOp::kCreate, "b/new");
  create.size = 5;
  create.mode = 0755;
  create.mtime_ns = -7;
  create.sets_mtime = true;
  create.sha256 = Sha256::Of("hello");
  create.Set(ChangeFlag::kExecutable);
  create.content.path = "stage/exec_20260102_030405_0123abcd/0";
  create.content.identity.ino = 99;
  Change link = Make(ChangeOp::kCreate, "b/other");
  link.link_to = "b/new";
  Change modify = Make(ChangeOp::kModify, "c/l");
  modify.type = EntryType::kSymlink;
  modify.from = "d/l";
  modify.link_target = "../x";
  modify.base->type = EntryType::kSymlink;
  modify.base->link_target = "old";
  Change move = Make(ChangeOp::kMove, "c");
  move.type = EntryType::kDir;
  move.base->type = EntryType::kDir;
  move.base->tree_sha256 = Sha256::Of("tree");
  set.changes = {create,
                 link,
                 modify,
                 move,
                 Make(ChangeOp::kDelete, "a"),
                 Make(ChangeOp::kMetadata, "\xff\n")};
  SortCanonically(&set);
  return set;
}

TEST(ChangeSetTest, SortsADirectoryBeforeItsEntriesAndADeleteBeforeTheRest) {
  ChangeSet set;
  for (const char* path : {"a.b", "a/b", "ab", "a"}) {
    set.changes.push_back(Make(ChangeOp::kCreate, path));
  }
  set.changes.push_back(Make(ChangeOp::kDelete, "a"));
  set.changes.push_back(Make(ChangeOp::kMetadata, "a"));
  set.changes.push_back(Make(ChangeOp::kMove, "a"));
  SortCanonically(&set);
  std::vector<std::string> order;
  for (const Change& change : set.changes) {
    order.push_back(std::string(Name(change.op)) + " " + change.path);
  }
  EXPECT_THAT(order, ElementsAre("delete a", "move a", "create a", "metadata a", "create a/b",
                                 "create a.b", "create ab"));
}

TEST(ChangeSetTest, BindsItsDigestToEveryFieldButContentAndId) {
  const std::string digest = Digest(Sample());
  const auto digest_with = [](auto edit) {
    ChangeSet set = Sample();
    edit(&set);
    return Digest(set);
  };
  using Edit = void (*)(Change*);
  const Edit kEdits[] = {
      [](Change* c) { c->op = ChangeOp::kMetadata; },
      [](Change* c) { c->type = EntryType::kDir; },
      [](Change* c) { c->path += "x"; },
      [](Change* c) { c->from += "x"; },
      [](Change* c) { c->base.reset(); },
      [](Change* c) { c->base->ino = 1; },
      [](Change* c) { c->base->dev = 1; },
      [](Change* c) { c->base->size = 1; },
      [](Change* c) { c->base->mode = 1; },
      [](Change* c) { c->base->uid = 1; },
      [](Change* c) { c->base->gid = 1; },
      [](Change* c) { c->base->nlink = 7; },
      [](Change* c) { c->base->mtime_ns = 1; },
      [](Change* c) { c->base->ctime_ns = 1; },
      [](Change* c) { c->base->link_target = "x"; },
      [](Change* c) { c->base->sha256 = "x"; },
      [](Change* c) { c->base->tree_sha256 = "x"; },
      [](Change* c) { c->size = 1; },
      [](Change* c) { c->mode = 1; },
      [](Change* c) { c->mtime_ns = 1; },
      [](Change* c) { c->sets_mtime = true; },
      [](Change* c) { c->sha256 = "x"; },
      [](Change* c) { c->link_target = "x"; },
      [](Change* c) { c->link_to = "x"; },
      [](Change* c) { c->flags = 32; },
  };
  int number = 0;
  for (const Edit edit : kEdits) {
    EXPECT_NE(digest_with([&](ChangeSet* set) { edit(&set->changes.front()); }), digest)
        << "edit " << number;
    ++number;
  }
  EXPECT_NE(digest_with([](ChangeSet* set) { set->changes.pop_back(); }), digest);
  EXPECT_EQ(digest_with([](ChangeSet* set) { set->id = "plan_20260102_030405_0123abcd"; }), digest);
  EXPECT_EQ(digest_with([](ChangeSet* set) { set->changes[0].content.path = "undo/x"; }), digest);
}

TEST(ChangeSetTest, HasACanonicalFormWithoutAmbiguity) {
  ChangeSet left;
  left.changes = {Make(ChangeOp::kCreate, "ab")};
  left.changes[0].link_target = "c";
  ChangeSet right;
  right.changes = {Make(ChangeOp::kCreate, "a")};
  right.changes[0].link_target = "bc";
  EXPECT_NE(CanonicalForm(left), CanonicalForm(right));
  // Changing the form changes what every stored approval is bound to.
  EXPECT_EQ(FormatDigest(Digest(ChangeSet())),
            "sha256:f6795992ec64b06f0b2dc7a73f9e7c1b532ef7d03a7948f677d8f5b56bba77ad");
  EXPECT_EQ(FormatDigest(Digest(Sample())),
            "sha256:ee43fcd61cf9661d99662357d5c61e351132a68f5f087647f421362709888370");
}

TEST(ChangeSetTest, ComesBackFromItsBytes) {
  const ChangeSet set = Sample();
  Result<ChangeSet> decoded = Decode(Encode(set));
  ASSERT_THAT(decoded, IsOk());
  EXPECT_EQ(decoded.value().id, set.id);
  EXPECT_EQ(CanonicalForm(decoded.value()), CanonicalForm(set));
  ASSERT_EQ(decoded.value().changes.size(), set.changes.size());
  for (std::size_t i = 0; i < set.changes.size(); ++i) {
    EXPECT_EQ(decoded.value().changes[i].content.path, set.changes[i].content.path);
    EXPECT_EQ(decoded.value().changes[i].content.identity, set.changes[i].content.identity);
  }
}

TEST(ChangeSetTest, RefusesBytesThatAreCutOffOrTooLong) {
  const std::string bytes = Encode(Sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(Decode(std::string_view(bytes).substr(0, size)),
                FailsWith(ErrorCode::kInvalidArgument))
        << size;
  }
  EXPECT_THAT(Decode(bytes + '\0'), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(ChangeSetTest, SurvivesAnyDamagedByte) {
  const std::string bytes = Encode(Sample());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {1, 128, 255}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      Result<ChangeSet> decoded = Decode(damaged);
      // Damage that leaves a sound change set is for the digest to find.
      if (!decoded.ok()) {
        EXPECT_EQ(decoded.error().code(), ErrorCode::kInvalidArgument);
      } else {
        EXPECT_EQ(Encode(decoded.value()), damaged);
      }
    }
  }
}

TEST(ChangeSetTest, RefusesToDecodeWhatNoCaptureMakes) {
  using Edit = void (*)(Change*);
  const struct {
    const char* what;
    Edit edit;
  } kCases[] = {
      {"a path that leaves", [](Change* c) { c->path = "../x"; }},
      {"a source that leaves", [](Change* c) { c->from = "/etc"; }},
      {"a link target that leaves", [](Change* c) { c->link_to = "a//b"; }},
      {"content that leaves", [](Change* c) { c->content.path = "stage/../../x"; }},
      {"a delete without base", [](Change* c) { c->base.reset(); }},
      {"a move without source", [](Change* c) { c->op = ChangeOp::kMove; }},
      {"a create with a base", [](Change* c) { c->op = ChangeOp::kCreate; }},
      {"a short digest", [](Change* c) { c->sha256 = "abc"; }},
      {"a negative size", [](Change* c) { c->size = -1; }},
      {"a negative size of a base", [](Change* c) { c->base->size = -1; }},
      {"a mode beyond 07777", [](Change* c) { c->mode = 010000; }},
  };
  for (const auto& test : kCases) {
    ChangeSet set;
    set.changes = {Make(ChangeOp::kDelete, "a")};
    EXPECT_THAT(Decode(Encode(set)), IsOk());
    test.edit(&set.changes[0]);
    EXPECT_THAT(Decode(Encode(set)), FailsWith(ErrorCode::kInvalidArgument)) << test.what;
  }
}

TEST(ChangeSetTest, CountsBytesOncePerFile) {
  ChangeSet set = Sample();
  set.changes[0].size = 1000;  // The delete.
  for (Change& change : set.changes) {
    if (change.op == ChangeOp::kCreate) change.size = 5;
    if (change.op == ChangeOp::kModify) change.size = 20;
  }
  const ChangeCounts counts = Count(set);
  EXPECT_EQ(counts.created, 2);
  EXPECT_EQ(counts.modified, 1);
  EXPECT_EQ(counts.deleted, 1);
  EXPECT_EQ(counts.moved, 1);
  EXPECT_EQ(counts.metadata, 1);
  EXPECT_EQ(counts.total(), 6);
  EXPECT_EQ(counts.bytes_written, 25);
}

TEST(ChangeSetTest, CountsNoMoreBytesThanCanBeCounted) {
  ChangeSet set;
  set.changes = {Make(ChangeOp::kCreate, "a"), Make(ChangeOp::kModify, "b")};
  for (Change& change : set.changes) change.size = INT64_MAX;
  EXPECT_EQ(Count(set).bytes_written, INT64_MAX);
}

TEST(ChangeSetTest, NamesFlagsInOrder) {
  Change change;
  EXPECT_THAT(FlagNames(change.flags), IsEmpty());
  change.Set(ChangeFlag::kRestored);
  change.Set(ChangeFlag::kExecutable);
  EXPECT_THAT(FlagNames(change.flags), ElementsAre("executable", "restored"));
  EXPECT_THAT(FlagNames(63), ElementsAre("executable", "escaping_symlink", "breaks_hard_link",
                                         "stripped_setid", "dropped_xattrs", "restored"));
}

TEST(ValidatePathTest, TakesAnyBytesAsNames) {
  const std::string kGood[] = {"a", "a/b",  "...", ".a",  "a.",    "-rf",
                               " ", "\xff", "a\n", "..a", "a/..b", std::string(255, 'x')};
  for (const std::string& path : kGood) EXPECT_THAT(ValidatePath(path), IsOk()) << path;
}

TEST(ValidatePathTest, RefusesWhatIsNoPathInAWorkspace) {
  const std::string kBad[] = {"",
                              "/",
                              "/a",
                              "a/",
                              "a//b",
                              ".",
                              "..",
                              "a/.",
                              "a/..",
                              "./a",
                              "../a",
                              "a/../b",
                              std::string("a\0b", 3),
                              std::string(256, 'x')};
  for (const std::string& path : kBad) {
    EXPECT_THAT(ValidatePath(path), FailsWith(ErrorCode::kInvalidArgument)) << path;
  }
}

}  // namespace
}  // namespace bailiff
