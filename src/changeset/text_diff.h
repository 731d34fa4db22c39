#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace bailiff {

// Longer texts are not compared, and no more of one is ever read to be shown.
inline constexpr std::size_t kTextBytesMax = 1024UL * 1024;

// Whether `bytes` (a file, or its beginning) are shown as text: no zero byte in the first 8 KiB,
// and at most one byte in twenty that is not part of valid UTF-8. So Latin-1 is text, UTF-16 is
// not.
bool IsText(std::string_view bytes);

struct TextDiffOptions {
  std::size_t bytes_max = 256UL * 1024;  // Of the result, give or take one line.
  std::size_t lines_max = 5'000;         // Of the result.
  std::size_t line_bytes_max = 2'000;    // Of one line.
  bool cut = false;                      // The texts go on beyond what is given.
  // What the search for the smallest difference may cost; some tens of milliseconds. This much
  // suffices for about 5,000 changed lines anywhere in a text.
  std::int64_t steps_max = 16'000'000;
};

struct TextDiff {
  // Hunks as diff -u makes them ("@@ -1,2 +1,3 @@", then lines after ' ', '-' or '+'), each line
  // through EscapeForTerminal(): a carriage return before a newline shows as \x0d. For reading, not
  // for patch(1).
  std::string text;
  std::int64_t bytes_not_shown = 0;  // Of added and removed lines, beyond the limits.
  std::int64_t lines_not_shown = 0;  // Added and removed lines that are missing altogether.
  // Shown added lines with characters that EscapeForTerminal() escapes, beside a carriage return at
  // the end: control, invisible, bidirectional.
  std::int64_t escaped_lines = 0;
  std::int64_t steps = 0;  // What all of it did cost: the search, and up to 64 for each line.
  bool coarse = false;     // Right, but not the smallest difference: that was too costly to find.
};

// The difference of two texts by lines, with three lines of context.
//
// Takes a bounded time whatever the texts are: Myers' algorithm in linear space with a budget;
// passages for which it does not suffice are shown as replaced.
// Errors: kResourceExhausted when a text is longer than kTextBytesMax.
Result<TextDiff> DiffText(std::string_view before, std::string_view after,
                          const TextDiffOptions& options = {});

}  // namespace bailiff
