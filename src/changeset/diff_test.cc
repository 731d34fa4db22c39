#include "changeset/diff.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>

#include "base/sha256.h"
#include "changeset/text_diff.h"
#include "sys/file.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string Diff(std::string_view before, std::string_view after) {
  return DiffText(before, after).value().text;
}

TEST(DiffTextTest, ShowsThreeLinesOfContextAroundAChange) {
  EXPECT_EQ(Diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n"),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
}

TEST(DiffTextTest, MakesOneHunkOfChangesWhoseContextTouches) {
  std::string before;
  for (int i = 1; i <= 20; ++i) before += std::to_string(i) + "\n";
  std::string after = before;
  after.replace(after.find("3\n"), 1, "x");
  after.replace(after.find("10\n"), 2, "y");
  after.replace(after.find("18\n"), 2, "z");
  EXPECT_EQ(Diff(before, after),
            "@@ -1,13 +1,13 @@\n 1\n 2\n-3\n+x\n 4\n 5\n 6\n 7\n 8\n 9\n-10\n+y\n 11\n 12\n 13\n"
            "@@ -15,6 +15,6 @@\n 15\n 16\n 17\n-18\n+z\n 19\n 20\n");
}

TEST(DiffTextTest, IsTheSmallestDifference) {
  const std::string text = Diff("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '-') + std::count(text.begin(), text.end(), '+'),
            5 + 2)
      << text;  // Five edits, and one of each in the hunk's header.
}

TEST(DiffTextTest, SaysWhereTheNewlineAtTheEndIsMissing) {
  EXPECT_EQ(Diff("a\nb", "a\nb\n"), "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n");
  EXPECT_EQ(Diff("", "x"), "@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n");
  EXPECT_EQ(Diff("x\n", ""), "@@ -1 +0,0 @@\n-x\n");
  EXPECT_EQ(Diff("same\n", "same\n"), "");
}

TEST(DiffTextTest, MakesWhatHidesVisible) {
  struct Case {
    const char* what;
    std::string line;
    std::string shown;
    std::int64_t escaped_lines;
  };
  const Case cases[] = {
      {"colours", "\x1b[32mok\x1b[0m", "\\x1b[32mok\\x1b[0m", 1},
      {"cursor up, erase", "\x1b[1A\x1b[2K", "\\x1b[1A\\x1b[2K", 1},
      {"bidirectional override", "if a != \"user\xe2\x80\xae \xe2\x81\xa6// admin\"",
       "if a != \"user\\u{202e} \\u{2066}// admin\"", 1},
      {"zero-width space", "pass\xe2\x80\x8bword", "pass\\u{200b}word", 1},
      {"bare carriage return", "evil\rfine", "evil\\x0dfine", 1},
      {"carriage return at the end", "text\r", "text\\x0d", 0},
      {"bytes that are not UTF-8", "caf\xe9 noir, sans sucre et sans lait",
       "caf\\xe9 noir, sans sucre et sans lait", 1},
      {"tab and umlaut", "\tgr\xc3\xbc\xc3\x9f", "\tgr\xc3\xbc\xc3\x9f", 0},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.what);
    const TextDiff diff = DiffText("", test.line + "\n").value();
    EXPECT_EQ(diff.text, "@@ -0,0 +1 @@\n+" + test.shown + "\n");
    EXPECT_EQ(diff.escaped_lines, test.escaped_lines);
  }
}

TEST(DiffTextTest, CountsWhatTheLimitsLeaveOut) {
  TextDiffOptions options;
  options.lines_max = 2;
  const TextDiff lines = DiffText("", "one\ntwo\nthree\nfour\n", options).value();
  EXPECT_EQ(lines.text, "@@ -0,0 +1,4 @@\n+one\n+two\n");
  EXPECT_EQ(lines.lines_not_shown, 2);
  EXPECT_EQ(lines.bytes_not_shown, 11);

  options = {};
  options.line_bytes_max = 4;
  const TextDiff cut = DiffText("",
                                "abc\xc3\xa9"
                                "defgh\nx\n",
                                options)
                           .value();
  EXPECT_EQ(cut.text, "@@ -0,0 +1,2 @@\n+abc [... 7 more bytes in this line]\n+x\n");
  EXPECT_EQ(cut.bytes_not_shown, 7);

  options = {};
  options.bytes_max = 20;
  const TextDiff bytes = DiffText("", "123456789\n123\n", options).value();
  EXPECT_EQ(bytes.text, "@@ -0,0 +1,2 @@\n+123456789\n");
  EXPECT_EQ(bytes.bytes_not_shown, 4);
}

// Texts that make Myers' algorithm quadratic. The deadline is generous: without the budget each
// takes minutes.
// As many lines as `line` makes before the text is as long as one may be.
std::string Fill(const std::function<std::string(std::size_t)>& line,
                 std::size_t lines_max = kTextBytesMax) {
  std::string text;
  for (std::size_t i = 0; i < lines_max; ++i) {
    const std::string next = line(i);
    if (text.size() + next.size() > kTextBytesMax) break;
    text += next;
  }
  return text;
}

TEST(DiffTextTest, IsBoundedInTimeForHostileTexts) {
  const auto fixed = [](const char* line) { return [line](std::size_t) { return line; }; };
  const auto number = [](std::size_t factor, std::size_t modulus) {
    return [=](std::size_t i) { return fmt::format("{:06}\n", i * factor % modulus); };
  };
  const std::string all_equal = Fill(fixed("\n"));
  const struct {
    const char* name;
    std::string before;
    std::string after;
    bool coarse;
  } kCases[] = {
      {"distinct lines", Fill(number(1, 90'000), 90'000),
       Fill([](std::size_t i) { return fmt::format("x{:05}\n", i); }, 90'000), true},
      {"a million short lines", all_equal, "x" + all_equal.substr(0, kTextBytesMax - 2) + "y",
       true},
      {"a permutation", Fill(number(1, 90'001), 90'000), Fill(number(7'919, 90'001), 90'000), true},
      {"two lines in turn", Fill([](std::size_t i) { return i % 2 == 0 ? "a\n" : "b\n"; }, 80'000),
       Fill([](std::size_t i) { return i % 3 == 0 ? "b\n" : "c\n"; }, 80'000), true},
      {"two lines by chance",
       Fill([](std::size_t i) { return i * i % 7 < 3 ? "a\n" : "b\n"; }, 80'000),
       Fill([](std::size_t i) { return i * i % 11 < 5 ? "a\n" : "b\n"; }, 80'000), true},
      {"one huge line", std::string(kTextBytesMax, 'a'), std::string(kTextBytesMax - 1, 'a'),
       false},
      {"long equal beginnings",
       Fill([](std::size_t i) { return std::string(1'000, 'a') + std::to_string(i) + "\n"; }),
       Fill([](std::size_t i) { return std::string(1'000, 'a') + std::to_string(i * 3) + "\n"; }),
       false},
      {"nothing against much", "", all_equal, false},
  };
  for (const auto& hostile : kCases) {
    SCOPED_TRACE(hostile.name);
    const TextDiff diff = DiffText(hostile.before, hostile.after).value();
    const std::int64_t lines = std::count(hostile.before.begin(), hostile.before.end(), '\n') +
                               std::count(hostile.after.begin(), hostile.after.end(), '\n') + 2;
    EXPECT_LE(diff.steps, TextDiffOptions().steps_max + (64 + 4) * lines);
    EXPECT_EQ(diff.coarse, hostile.coarse);
    EXPECT_LE(diff.text.size(), TextDiffOptions().bytes_max + 5'000);
  }
  EXPECT_THAT(DiffText(all_equal + "12345", ""), FailsWith(ErrorCode::kResourceExhausted));
}

TEST(IsTextTest, KnowsTextFromBytes) {
  EXPECT_TRUE(IsText(""));
  EXPECT_TRUE(IsText("plain\n"));
  EXPECT_TRUE(IsText("na\xc3\xafve \x1b[1m"));
  EXPECT_TRUE(IsText(std::string(100, 'x') + "caf\xe9 \xe0 la carte"));
  EXPECT_TRUE(IsText(std::string(9'000, 'x') + '\0'));
  EXPECT_FALSE(
      IsText(std::string("\x7f"
                         "ELF\0\0",
                         6)));
  EXPECT_FALSE(IsText("\x89\xff\xfe\xd8\xe3\x91\x80\x81\x82"));
  EXPECT_FALSE(IsText(std::string("h\0i\0", 4)));
}

// A change set and its contents, without any files.
class RenderDiffTest : public ::testing::Test {
 protected:
  Change& Add(ChangeOp op, const std::string& path, EntryType type = EntryType::kFile) {
    Change change;
    change.op = op;
    change.type = type;
    change.path = path;
    change.mode = type == EntryType::kDir ? 0755 : 0644;
    if (op != ChangeOp::kCreate) {
      change.base = Identity();
      change.base->type = type;
      change.base->mode = change.mode;
    }
    set_.changes.push_back(change);
    return set_.changes.back();
  }
  Change& AddCreate(const std::string& path, const std::string& content) {
    Change& change = Add(ChangeOp::kCreate, path);
    change.size = static_cast<std::int64_t>(content.size());
    change.sha256 = Sha256::Of(content);
    new_[path] = content;
    return change;
  }
  Change& AddDelete(const std::string& path, const std::string& content) {
    Change& change = Add(ChangeOp::kDelete, path);
    change.base->size = static_cast<std::int64_t>(content.size());
    old_[path] = content;
    return change;
  }
  Change& AddModify(const std::string& path, const std::string& before, const std::string& after) {
    Change& change = Add(ChangeOp::kModify, path);
    change.base->size = static_cast<std::int64_t>(before.size());
    change.size = static_cast<std::int64_t>(after.size());
    change.sha256 = Sha256::Of(after);
    old_[path] = before;
    new_[path] = after;
    return change;
  }
  Result<std::string> Render(const DiffOptions& options = {}) {
    SortCanonically(&set_);
    return RenderDiff(set_, {Reader(old_), Reader(new_)}, options);
  }

  static DiffSources::Read Reader(const std::map<std::string, std::string>& contents) {
    return [&contents](const Change& change,
                       std::size_t bytes_max) -> Result<std::optional<std::string>> {
      const auto found = contents.find(change.path);
      if (found == contents.end()) return std::optional<std::string>();
      return std::optional(found->second.substr(0, bytes_max));
    };
  }

  ChangeSet set_;
  std::map<std::string, std::string> old_;
  std::map<std::string, std::string> new_;
};

// Many files are no way around what one file may cost, however little is shown of each.
TEST_F(RenderDiffTest, IsBoundedInWorkForHostileChangeSets) {
  constexpr int kFiles = 100;
  const std::string before(kTextBytesMax, '\n');
  const std::string after = "x" + before.substr(1);
  for (int i = 0; i < kFiles; ++i) AddModify(fmt::format("{:03}", i), before, after);
  int reads = 0;
  const auto count = [&reads](const DiffSources::Read& read) {
    return [&reads, read](const Change& change, std::size_t bytes_max) {
      ++reads;
      return read(change, bytes_max);
    };
  };
  SortCanonically(&set_);
  const std::string shown =
      RenderDiff(set_, {count(Reader(old_)), count(Reader(new_))}, {}).value();
  EXPECT_LE(reads, 2 * 4);
  EXPECT_THAT(shown, HasSubstr("the limit of this diff is reached"));
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '@'), 4 * (reads / 2));
}

TEST_F(RenderDiffTest, ShowsEachKindOfChange) {
  AddCreate("a/new.sh", "#!/bin/sh\n").Set(ChangeFlag::kExecutable);
  set_.changes.back().mode = 0755;
  AddModify("a/notes.txt", "one\ntwo\n", "one\nthree\n").from = "old/notes.txt";
  AddDelete("b/gone.txt", "bye\n");
  Add(ChangeOp::kMove, "c/d", EntryType::kDir).from = "c/b";
  Add(ChangeOp::kMove, "c/e.pdf").from = "x/e.pdf";
  Add(ChangeOp::kCreate, "dir", EntryType::kDir);
  Change& link = Add(ChangeOp::kCreate, "link", EntryType::kSymlink);
  link.link_target = "/etc/passwd";
  link.Set(ChangeFlag::kEscapingSymlink);
  Change& relink = Add(ChangeOp::kModify, "link2", EntryType::kSymlink);
  relink.link_target = "b";
  relink.base->link_target = "a";
  Add(ChangeOp::kCreate, "name2").link_to = "a/new.sh";
  Change& metadata = Add(ChangeOp::kMetadata, "run.sh");
  metadata.mode = 0755;
  metadata.mtime_ns = 1'000'000'000;
  metadata.sets_mtime = true;

  EXPECT_EQ(Render().value(),
            "created   a/new.sh  (10 bytes, mode 0755, executable)\n"
            "--- /dev/null\n+++ b/a/new.sh\n@@ -0,0 +1 @@\n+#!/bin/sh\n"
            "\n"
            "modified  a/notes.txt  (8 -> 10 bytes, was old/notes.txt)\n"
            "--- a/old/notes.txt\n+++ b/a/notes.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
            "\n"
            "deleted   b/gone.txt  (4 bytes)\n"
            "--- a/b/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n"
            "\n"
            "moved     c/b/ -> c/d/\n"
            "moved     x/e.pdf -> c/e.pdf\n"
            "created   dir/  (mode 0755)\n"
            "created   link, a link to /etc/passwd  (leads out of the workspace)\n"
            "modified  link2, a link to b, before to a\n"
            "created   name2, another name of a/new.sh  (mode 0644)\n"
            "metadata  run.sh  (mode 0644 -> 0755, mtime 1970-01-01T00:00:00.000000Z -> "
            "1970-01-01T00:00:01.000000Z)\n"
            "\n"
            "4 created, 2 modified, 1 deleted, 2 moved, 1 with new metadata; 20 bytes written\n");
}

TEST_F(RenderDiffTest, ListsChangesOneToALine) {
  AddCreate("Tools/a.py", "x\n").Set(ChangeFlag::kStrippedSetid);
  Add(ChangeOp::kDelete, "b", EntryType::kDir);
  Add(ChangeOp::kMove, ".git", EntryType::kDir).from = "harmless";
  SortCanonically(&set_);
  EXPECT_EQ(RenderChanges(set_, {".git/hooks/pre-commit"}),
            "moved     harmless/ -> .git/  (PROTECTED)\n"
            "created   Tools/a.py  (2 bytes, mode 0644, setuid or setgid bit left out)\n"
            "deleted   b/\n");
}

TEST_F(RenderDiffTest, QuotesPathsThatCouldBeMistaken) {
  AddCreate("a -> b", "");
  AddCreate("new\nline", "");
  AddCreate("say \"hi\" \\x0a", "");
  AddCreate("\xe2\x80\xaetxt.exe", "x\n");
  AddCreate("Wilson MVA 2024.txt", "");
  EXPECT_EQ(Render().value(),
            "created   Wilson MVA 2024.txt  (0 bytes, mode 0644)\n"
            "created   \"a -> b\"  (0 bytes, mode 0644)\n"
            "created   \"new\\x0aline\"  (0 bytes, mode 0644)\n"
            "created   \"say \\\"hi\\\" \\\\x0a\"  (0 bytes, mode 0644)\n"
            "created   \"\\u{202e}txt.exe\"  (2 bytes, mode 0644)\n"
            "--- /dev/null\n+++ \"b/\\u{202e}txt.exe\"\n@@ -0,0 +1 @@\n+x\n"
            "\n"
            "5 created; 2 bytes written\n");
}

TEST_F(RenderDiffTest, WarnsOfLinesWithHiddenCharacters) {
  AddModify("a.py", "x\n", "x\nif\xe2\x80\xae y\n");
  EXPECT_THAT(Render().value(),
              HasSubstr(" x\n+if\\u{202e} y\n! 1 added line has control or invisible characters"));
}

TEST_F(RenderDiffTest, GivesSizesAndDigestsOfBinaryFiles) {
  const std::string png("\x89PNG\0\0", 6);
  AddModify("a.png", png, png + png).base->sha256 = Sha256::Of(png);
  AddCreate("b.png", png);
  const std::string digest = FormatDigest(Sha256::Of(png));
  EXPECT_EQ(Render().value(), "modified  a.png  (6 -> 12 bytes)\n! binary: 6 bytes, " + digest +
                                  " -> 12 bytes, " + FormatDigest(Sha256::Of(png + png)) +
                                  "; 12 bytes not shown\n\n"
                                  "created   b.png  (6 bytes, mode 0644)\n! binary, " +
                                  digest +
                                  "; 6 bytes not shown\n\n"
                                  "1 created, 1 modified; 18 bytes written; 18 bytes of content "
                                  "not shown\n");
}

TEST_F(RenderDiffTest, DoesNotReadOnWhereTheBaseHasChanged) {
  AddModify("a", "old\n", "new\n");
  AddDelete("b", "gone\n");
  old_.clear();
  EXPECT_EQ(Render().value(),
            "modified  a  (4 -> 4 bytes)\n"
            "! the base has changed since: the new content is shown whole\n"
            "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+new\n"
            "\n"
            "deleted   b  (5 bytes)\n! the base has changed since; 5 bytes not shown\n"
            "\n"
            "1 modified, 1 deleted; 4 bytes written; 5 bytes of content not shown\n");
}

TEST_F(RenderDiffTest, SaysWhatIsNotShownOfHugeFiles) {
  const std::string alternating = "aaaaaaaaa\nbbbbbbbbb\n";
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += alternating;
  AddCreate("created", text);
  AddModify("modified", text, "x" + text);
  DiffOptions options;
  options.file_bytes_max = 1'000;
  const std::string diff = Render(options).value();
  EXPECT_LT(diff.size(), 3'000U);
  EXPECT_THAT(diff,
              HasSubstr("! too large to compare: 2,000,000 bytes -> 2,000,001 bytes, sha256:"));
  EXPECT_THAT(diff, Not(HasSubstr("No newline")));
  // 1,000 bytes are read of the first: 100 lines, of which the header and 11 bytes each fit.
  const auto shown = std::count(diff.begin(), diff.end(), '+') - 4;
  EXPECT_THAT(diff, HasSubstr("... 1,999,1"));
  EXPECT_GT(shown, 80);
  EXPECT_THAT(diff, HasSubstr("; 4,000,001 bytes written; 3,999,1"));
}

TEST_F(RenderDiffTest, CountsNoMoreBytesThanCanBeCounted) {
  AddCreate("a", "some").size = INT64_MAX;
  AddDelete("b", "some").base->size = INT64_MAX;
  AddDelete("c", std::string("\0", 1)).base->size = INT64_MAX;
  EXPECT_THAT(Render().value(),
              HasSubstr("; 9,223,372,036,854,775,807 bytes of content not shown"));
}

TEST_F(RenderDiffTest, NamesEveryChangeThoughContentMeetsTheLimit) {
  for (char c = 'a'; c <= 'e'; ++c) AddCreate(std::string(1, c), "123456789\n");
  DiffOptions options;
  options.bytes_max = 30;
  options.changes_max = 4;
  EXPECT_EQ(Render(options).value(),
            "created   a  (10 bytes, mode 0644)\n"
            "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+123456789\n"
            "\n"
            "created   b  (10 bytes, mode 0644)\n"
            "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n... 10 more bytes not shown\n"
            "\n"
            "created   c  (10 bytes, mode 0644)\n"
            "! the limit of this diff is reached; 10 bytes not shown\n"
            "\n"
            "created   d  (10 bytes, mode 0644)\n"
            "! the limit of this diff is reached; 10 bytes not shown\n"
            "\n"
            "... 1 more change not shown: 1 created\n"
            "5 created; 50 bytes written; 40 bytes of content not shown\n");
}

TEST_F(RenderDiffTest, ShowsOnlyThePathThatWasAskedFor) {
  AddCreate("a/one", "");
  AddCreate("ab", "");
  Add(ChangeOp::kMove, "c", EntryType::kDir).from = "a/dir";
  DiffOptions options;
  options.path = "/a/";
  EXPECT_EQ(
      Render(options).value(),
      "created   a/one  (0 bytes, mode 0644)\nmoved     a/dir/ -> c/\n\n1 created, 1 moved\n");
  options.path = "c/deep/inside";
  EXPECT_THAT(Render(options).value(), StartsWith("moved     a/dir/ -> c/\n"));
  options.path = "elsewhere";
  const Result<std::string> nothing = Render(options);
  ASSERT_THAT(nothing, FailsWith(ErrorCode::kNotFound));
  EXPECT_EQ(nothing.error().message(), "no change at elsewhere; 2 created, 1 moved elsewhere");
}

TEST_F(RenderDiffTest, SaysWhichContentCannotBeRead) {
  AddCreate("a", "text\n");
  SortCanonically(&set_);
  const DiffSources::Read broken = [](const Change&, std::size_t) {
    return Error(ErrorCode::kIo, "read a: Input/output\x1b error");
  };
  const std::string diff = RenderDiff(set_, {broken, broken}).value();
  EXPECT_THAT(diff, HasSubstr("! the new content cannot be read: read a: Input/output\\x1b error"));
  EXPECT_THAT(diff, HasSubstr("5 bytes of content not shown"));
}

// workspace/f, and stage/1 with what replaces it.
class UncommittedSourcesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::mkdir(dir_.Path("stage").c_str(), 0700), 0);
    Put("f", "old\n");
    Put("stage/1", "new\n");
    root_ = OpenPath(dir_.path(), O_RDONLY | O_DIRECTORY).value();
    change_.op = ChangeOp::kModify;
    change_.path = "f";
    change_.base = IdentityBeneath(root_, "f").value();
    change_.content.path = "stage/1";
    change_.content.identity = IdentityBeneath(root_, "stage/1").value().value();
    change_.size = 4;
    change_.sha256 = Sha256::Of("new\n");
  }
  void Put(const std::string& path, const std::string& content) {
    std::ofstream(dir_.Path(path)) << content;
  }

  TempDir dir_;
  Fd root_;
  Change change_;
};

TEST_F(UncommittedSourcesTest, ReadsBothSides) {
  const DiffSources sources = UncommittedSources(root_, root_);
  EXPECT_EQ(sources.old_content(change_, 100).value(), "old\n");
  EXPECT_EQ(sources.new_content(change_, 100).value(), "new\n");
  EXPECT_EQ(sources.old_content(change_, 2).value(), "ol");
}

TEST_F(UncommittedSourcesTest, HasNothingOfABaseThatIsAnotherOneNow) {
  const DiffSources sources = UncommittedSources(root_, root_);
  Put("f", "newer\n");
  EXPECT_EQ(sources.old_content(change_, 100).value(), std::nullopt);
  ASSERT_EQ(::unlink(dir_.Path("f").c_str()), 0);
  EXPECT_EQ(sources.old_content(change_, 100).value(), std::nullopt);
  ASSERT_EQ(::symlink("stage/1", dir_.Path("f").c_str()), 0);
  EXPECT_EQ(sources.old_content(change_, 100).value(), std::nullopt);
}

TEST_F(UncommittedSourcesTest, RefusesStagedContentThatIsNotWhatTheSetSays) {
  const DiffSources sources = UncommittedSources(root_, root_);
  change_.sha256 = Sha256::Of("something else\n");
  EXPECT_THAT(sources.new_content(change_, 100), FailsWith(ErrorCode::kConflict));
  change_.sha256 = Sha256::Of("new\n");
  Put("stage/1", "bad\n");
  EXPECT_THAT(sources.new_content(change_, 100), FailsWith(ErrorCode::kConflict));
  ASSERT_EQ(::unlink(dir_.Path("stage/1").c_str()), 0);
  EXPECT_EQ(sources.new_content(change_, 100).value(), std::nullopt);
}

}  // namespace
}  // namespace bailiff
