#include <charconv>
#include <vector>

#include "base/bytes.h"
#include "changeset/text_diff.h"
#include "tests/fuzz/fuzzing.h"

// The diff that people decide by: applied to the old text it gives the new one, within its bounds.

namespace bailiff {
namespace {

// For each line: a round that began within the budget goes over all diagonals; and what a line
// costs.
constexpr std::int64_t kStepsSlack = 4 + 64;

std::vector<std::string_view> LinesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    const std::size_t size = newline == text.npos ? text.size() : newline + 1;
    lines.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

// The first line of a hunk in the old text, from 0: "@@ -1,2 +1,3 @@".
std::size_t OldStart(std::string_view header) {
  std::size_t first = 0;
  const char* end = header.data() + header.size();
  const auto [rest, error] = std::from_chars(header.data() + 4, end, first);
  CHECK(error == std::errc());
  std::size_t count = 1;
  if (*rest == ',') CHECK(std::from_chars(rest + 1, end, count).ec == std::errc());
  return count == 0 ? first : first - 1;
}

// Applies a diff of texts in which nothing had to be escaped or cut.
std::string Patch(std::string_view before, std::string_view diff) {
  const std::vector<std::string_view> old_lines = LinesOf(before);
  std::string result;
  std::size_t next = 0;
  bool last_is_new = false;
  for (std::string_view line : LinesOf(diff)) {
    const char mark = line.front();
    if (mark == '@') {
      for (const std::size_t start = OldStart(line); next < start; ++next)
        result += old_lines[next];
      continue;
    }
    if (mark == '\\') {  // The line before ends without a newline.
      if (last_is_new) result.pop_back();
      continue;
    }
    line.remove_prefix(1);
    last_is_new = mark != '-';
    if (last_is_new) result += line;
    if (mark == '+') continue;
    CHECK(next < old_lines.size());
    const std::string_view old_line = old_lines[next++];
    CHECK(old_line == line || std::string(old_line) + "\n" == line);
  }
  for (; next < old_lines.size(); ++next) result += old_lines[next];
  return result;
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  std::string_view input = TextOf(data, size);
  const std::uint8_t budget = Choose(&input, 3);
  const std::size_t middle = std::min(input.find('\0'), input.size());
  const std::string_view before = input.substr(0, middle);
  const std::string_view after = middle == input.size() ? "" : input.substr(middle + 1);

  TextDiffOptions options;
  options.steps_max = budget == 0 ? 0 : budget == 1 ? 50 : 16'000'000;
  options.bytes_max = std::size_t{1} << 30;
  options.lines_max = std::size_t{1} << 30;
  options.line_bytes_max = std::size_t{1} << 30;
  const TextDiff diff = DiffText(before, after, options).value();
  const auto lines = static_cast<std::int64_t>(LinesOf(before).size() + LinesOf(after).size());
  CHECK(diff.steps <= options.steps_max + kStepsSlack * (lines + 2));
  CHECK(diff.lines_not_shown == 0 && diff.bytes_not_shown == 0);
  CHECK((before == after) == diff.text.empty());
  CHECK(EscapeForTerminal(diff.text, Lines::kMultiple) == diff.text);
  const bool plain = EscapeForTerminal(before, Lines::kMultiple) == before &&
                     EscapeForTerminal(after, Lines::kMultiple) == after;
  if (plain) CHECK(Patch(before, diff.text) == after);
  (void)IsText(before);  // Any answer, but one.

  TextDiffOptions small;
  small.bytes_max = 200;
  small.lines_max = 10;
  small.line_bytes_max = 20;
  const TextDiff cut = DiffText(before, after, small).value();
  constexpr std::size_t kLineMax = 4 * 20 + 64;  // Escaped, and what is said of the rest.
  CHECK(cut.text.size() <= small.bytes_max + kLineMax + 64);
  return 0;
}
