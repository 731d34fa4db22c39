#include "policy/glob.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;

bool Matches(const std::string& pattern, std::string_view text) {
  return Globs::Parse({pattern}).value().Match(text);
}

TEST(GlobsTest, MatchBytesAndSegments) {
  struct Case {
    const char* pattern;
    std::vector<std::string> yes;
    std::vector<std::string> no;
  };
  const Case cases[] = {
      {"a", {"a"}, {"A", "b", "a/b", "ab", ""}},
      {"a/*", {"a/b", "a/.x"}, {"a", "a/b/c", "b/a"}},
      {"*.pdf", {"x.pdf", ".pdf"}, {"a/x.pdf", "x.pdfs", "xpdf"}},
      {"a?c", {"abc", "a.c"}, {"a/c", "ac", "abbc"}},
      {"a/**", {"a", "a/b", "a/b/c"}, {"ab", "b/a", ""}},
      {"**/a", {"a", "b/a", "c/b/a"}, {"ba", "a/b"}},
      {"a/**/b", {"a/b", "a/x/b", "a/x/y/b"}, {"ab", "a/xb", "a"}},
      {"a/**/**", {"a", "a/b", "a/b/c"}, {"ab"}},
      {"**", {"a", "a/b", "\xff\n"}, {}},
      {"projects/*/Filings/**",
       {"projects/A/Filings", "projects/A/Filings/1/x.pdf"},
       {"projects/A/B/Filings/x", "projects/Filings/x"}},
      {"[a-c]x[!0-9]", {"axb", "cxx"}, {"dxb", "ax1", "ax/", "ax"}},
      {"[]]", {"]"}, {"["}},
      {"\\*\\[\\{", {"*[{"}, {"x[{"}},
      {"a.b+c|d(e)$^", {"a.b+c|d(e)$^"}, {"aXb+c|d(e)$^"}},
      {"\xc3\xa4*", {"\xc3\xa4\xff"}, {"\xc3\xa5"}},
      {"a\nb", {"a\nb"}, {"a b"}},
  };
  for (const Case& test : cases) {
    for (const std::string& text : test.yes) {
      EXPECT_TRUE(Matches(test.pattern, text)) << test.pattern << " on " << text;
    }
    for (const std::string& text : test.no) {
      EXPECT_FALSE(Matches(test.pattern, text)) << test.pattern << " on " << text;
    }
  }
}

TEST(GlobsTest, OneOfAListIsEnough) {
  const Globs globs = Globs::Parse({"a|b", "c/**"}).value();
  EXPECT_TRUE(globs.Match("a|b"));
  EXPECT_TRUE(globs.Match("c/d"));
  EXPECT_FALSE(globs.Match("a"));
}

TEST(GlobsTest, SayWhatIsWrongWithAPattern) {
  struct Case {
    const char* pattern;
    const char* says;
  };
  const Case cases[] = {
      {"", "'' is empty"},
      {"/a", "has an empty segment"},
      {"a/", "write dir/** for what is below dir"},
      {"a//b", "has an empty segment"},
      {"a/../b", "has a segment . or .."},
      {"a**", "has ** beside other characters"},
      {"a/b**c", "has ** beside other characters"},
      {"[a", "has a [ without its ]"},
      {"[", "has a [ without its ]"},
      {"[a-", "has a [ without its ]"},
      {"[z-a]", "has a range that ends before it begins"},
      {"[ -~]", "has a slash in [ ]"},
      {"{a,b}", "write several patterns"},
      {"a\\", "ends with a backslash"},
  };
  for (const Case& test : cases) {
    const Result<Globs> globs = Globs::Parse({test.pattern});
    ASSERT_THAT(globs, FailsWith(ErrorCode::kInvalidArgument)) << test.pattern;
    EXPECT_THAT(globs.error().message(), HasSubstr(test.says));
  }
  EXPECT_THAT(Globs::Parse({std::string(kGlobBytesMax + 1, 'a')}).error().message(),
              HasSubstr("longer than 1024 bytes"));
}

// Backtracking would take longer than the universe has.
TEST(GlobsTest, HardPatternsTakeNoLonger) {
  std::string pattern;
  for (int i = 0; i < 100; ++i) pattern += "*a";
  const std::string text(4000, 'a');
  EXPECT_TRUE(Matches(pattern, text));
  EXPECT_FALSE(Matches(pattern, text + "b"));
}

}  // namespace
}  // namespace bailiff
