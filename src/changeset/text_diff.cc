#include "changeset/text_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace bailiff {
namespace {

constexpr std::size_t kZeroSearchBytes = 8UL * 1024;
constexpr std::int64_t kContextLines = 3;

// Texts that differ in more lines than this are not searched: numbering the lines costs time too.
constexpr std::size_t kSearchedLinesMax = 100'000;

// What else a line costs, in steps of the search: to be found and written, and to be numbered.
constexpr std::int64_t kStepsPerLine = 16;
constexpr std::int64_t kStepsPerNumberedLine = 48;

using TextLines = std::vector<std::string_view>;

// With their newlines, so that a missing one at the end is a difference.
TextLines SplitLines(std::string_view text) {
  TextLines lines;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    const std::size_t size = newline == std::string_view::npos ? text.size() : newline + 1;
    lines.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

// Which lines of each side are not in the other.
struct Marks {
  std::vector<bool> removed;
  std::vector<bool> added;
  std::int64_t steps = 0;
  bool coarse = false;
};

// Part of both texts: [old_begin, old_end) against [new_begin, new_end).
struct Box {
  std::int64_t old_begin;
  std::int64_t old_end;
  std::int64_t new_begin;
  std::int64_t new_end;
};

struct Point {
  std::int64_t old_line;
  std::int64_t new_line;
};

// E. Myers, "An O(ND) Difference Algorithm and Its Variations", section 4b: searches from both ends
// at once and divides where the searches meet.
class Search {
 public:
  Search(const std::vector<std::int32_t>& before, const std::vector<std::int32_t>& after,
         Point offset, std::int64_t budget, Marks* marks)
      : old_(before), new_(after), offset_(offset), budget_(budget), marks_(marks) {
    // One diagonal beyond each end, where the searches look for a neighbour.
    diagonal_zero_ = static_cast<std::int64_t>(new_.size()) + 1;
    forward_.resize(old_.size() + new_.size() + 3);
    backward_.resize(forward_.size());
  }

  std::int64_t budget() const { return budget_; }

  void Compare(Box box) {
    while (box.old_begin < box.old_end && box.new_begin < box.new_end &&
           Equal(box.old_begin, box.new_begin)) {
      ++box.old_begin;
      ++box.new_begin;
    }
    while (box.old_begin < box.old_end && box.new_begin < box.new_end &&
           Equal(box.old_end - 1, box.new_end - 1)) {
      --box.old_end;
      --box.new_end;
    }
    if (box.old_begin == box.old_end || box.new_begin == box.new_end) return Replace(box);
    const std::optional<Point> middle = Middle(box);
    if (!middle.has_value()) {
      marks_->coarse = true;
      return Replace(box);
    }
    // Each half has half of the differences, so that this is never deep.
    Compare({box.old_begin, middle->old_line, box.new_begin, middle->new_line});
    Compare({middle->old_line, box.old_end, middle->new_line, box.new_end});
  }

 private:
  static constexpr std::int64_t kNowhere = -1;
  static constexpr std::int64_t kFarAway = std::numeric_limits<std::int64_t>::max();

  // The diagonals (old line minus new line) that one of the searches has reached.
  struct Range {
    std::int64_t low;
    std::int64_t high;
    bool Has(std::int64_t diagonal) const { return diagonal >= low && diagonal <= high; }
  };

  bool Equal(std::int64_t old_line, std::int64_t new_line) const {
    return old_[static_cast<std::size_t>(old_line)] == new_[static_cast<std::size_t>(new_line)];
  }
  std::int64_t& Forward(std::int64_t diagonal) {
    return forward_[static_cast<std::size_t>(diagonal + diagonal_zero_)];
  }
  std::int64_t& Backward(std::int64_t diagonal) {
    return backward_[static_cast<std::size_t>(diagonal + diagonal_zero_)];
  }

  void Replace(const Box& box) {
    for (std::int64_t i = box.old_begin; i < box.old_end; ++i) {
      marks_->removed[static_cast<std::size_t>(i + offset_.old_line)] = true;
    }
    for (std::int64_t i = box.new_begin; i < box.new_end; ++i) {
      marks_->added[static_cast<std::size_t>(i + offset_.new_line)] = true;
    }
  }

  // A point on a shortest path through `box`; nothing when the budget is used up.
  std::optional<Point> Middle(const Box& box) {
    const std::int64_t start = box.old_begin - box.new_begin;
    const std::int64_t end = box.old_end - box.new_end;
    const bool odd = ((start - end) & 1) != 0;
    Range forward{start, start};
    Range backward{end, end};
    Forward(start) = box.old_begin;
    Backward(end) = box.old_end;
    while (budget_ > 0) {
      Widen(box, &forward, kNowhere, &forward_);
      for (std::int64_t d = forward.high; d >= forward.low; d -= 2) {
        const std::int64_t at = StepForward(box, d);
        if (odd && backward.Has(d) && Backward(d) <= at) return Point{at, at - d};
      }
      Widen(box, &backward, kFarAway, &backward_);
      for (std::int64_t d = backward.high; d >= backward.low; d -= 2) {
        const std::int64_t at = StepBackward(box, d);
        if (!odd && forward.Has(d) && at <= Forward(d)) return Point{at, at - d};
      }
    }
    return std::nullopt;
  }

  // One more edit: one more diagonal at each end, but none outside of the box.
  void Widen(const Box& box, Range* range, std::int64_t beyond,
             std::vector<std::int64_t>* reached) {
    const auto at = [&](std::int64_t d) -> std::int64_t& {
      return (*reached)[static_cast<std::size_t>(d + diagonal_zero_)];
    };
    if (range->low > box.old_begin - box.new_end) {
      at(--range->low - 1) = beyond;
    } else {
      ++range->low;
    }
    if (range->high < box.old_end - box.new_begin) {
      at(++range->high + 1) = beyond;
    } else {
      --range->high;
    }
  }

  std::int64_t StepForward(const Box& box, std::int64_t d) {
    std::int64_t at = std::max(Forward(d - 1) + 1, Forward(d + 1));
    --budget_;
    while (at < box.old_end && at - d < box.new_end && Equal(at, at - d)) {
      ++at;
      --budget_;
    }
    return Forward(d) = at;
  }

  std::int64_t StepBackward(const Box& box, std::int64_t d) {
    const std::int64_t above = Backward(d + 1);
    std::int64_t at = std::min(Backward(d - 1), above == kFarAway ? kFarAway : above - 1);
    --budget_;
    while (at > box.old_begin && at - d > box.new_begin && Equal(at - 1, at - d - 1)) {
      --at;
      --budget_;
    }
    return Backward(d) = at;
  }

  const std::vector<std::int32_t>& old_;
  const std::vector<std::int32_t>& new_;
  Point offset_;
  std::int64_t budget_;  // Steps and comparisons that are left.
  Marks* marks_;
  std::int64_t diagonal_zero_ = 0;
  std::vector<std::int64_t> forward_;  // By diagonal: the old line that was reached.
  std::vector<std::int64_t> backward_;
};

// Gives equal lines equal numbers. By sorting: no choice of lines makes it slow, as one could with
// a hash.
std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> Number(const TextLines& before,
                                                                       const TextLines& after) {
  std::vector<std::size_t> order(before.size() + after.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto line = [&](std::size_t i) {
    return i < before.size() ? before[i] : after[i - before.size()];
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t left, std::size_t right) { return line(left) < line(right); });
  std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> numbers(before.size(),
                                                                          after.size());
  std::int32_t number = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && line(order[i]) != line(order[i - 1])) ++number;
    if (order[i] < before.size()) {
      numbers.first[order[i]] = number;
    } else {
      numbers.second[order[i] - before.size()] = number;
    }
  }
  return numbers;
}

Marks MarkDifferences(const TextLines& before, const TextLines& after, std::int64_t steps_max) {
  const auto same_from = std::mismatch(before.begin(), before.end(), after.begin(), after.end());
  const auto prefix = same_from.first - before.begin();
  std::ptrdiff_t suffix = 0;
  const auto shorter = static_cast<std::ptrdiff_t>(std::min(before.size(), after.size()));
  while (suffix < shorter - prefix && before.end()[-1 - suffix] == after.end()[-1 - suffix]) {
    ++suffix;
  }
  const TextLines old_middle(before.begin() + prefix, before.end() - suffix);
  const TextLines new_middle(after.begin() + prefix, after.end() - suffix);

  Marks marks{std::vector<bool>(before.size()), std::vector<bool>(after.size())};
  if (std::max(old_middle.size(), new_middle.size()) > kSearchedLinesMax) {
    std::fill(marks.removed.begin() + prefix, marks.removed.end() - suffix, true);
    std::fill(marks.added.begin() + prefix, marks.added.end() - suffix, true);
    marks.coarse = !old_middle.empty() && !new_middle.empty();
    return marks;
  }
  const auto [old_numbers, new_numbers] = Number(old_middle, new_middle);
  Search search(old_numbers, new_numbers, {prefix, prefix}, steps_max, &marks);
  search.Compare({0, static_cast<std::int64_t>(old_middle.size()), 0,
                  static_cast<std::int64_t>(new_middle.size())});
  marks.steps =
      steps_max - search.budget() +
      kStepsPerNumberedLine * static_cast<std::int64_t>(old_middle.size() + new_middle.size());
  return marks;
}

// One line of the result: of the old text (' ' and '-') or the new one ('+').
struct Line {
  char mark;
  std::int64_t old_line;
  std::int64_t new_line;
  std::string_view bytes;
};

std::vector<Line> Merge(const TextLines& before, const TextLines& after, const Marks& marks) {
  std::vector<Line> merged;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < before.size() || j < after.size()) {
    const auto old_line = static_cast<std::int64_t>(i);
    const auto new_line = static_cast<std::int64_t>(j);
    if (i < before.size() && marks.removed[i]) {
      merged.push_back({'-', old_line, new_line, before[i++]});
    } else if (j < after.size() && marks.added[j]) {
      merged.push_back({'+', old_line, new_line, after[j++]});
    } else {
      merged.push_back({' ', old_line, new_line, before[i++]});
      ++j;
    }
  }
  return merged;
}

// "7,3" in a hunk's header; of no lines, the line before.
std::string HunkRange(std::int64_t first, std::int64_t count) {
  if (count == 1) return fmt::format("{}", first + 1);
  return fmt::format("{},{}", count == 0 ? first : first + 1, count);
}

class Writer {
 public:
  Writer(const TextDiffOptions& options, TextDiff* diff) : options_(options), diff_(diff) {}

  void WriteHunk(const std::vector<Line>& lines, std::size_t begin, std::size_t end) {
    std::int64_t removed = 0;
    std::int64_t added = 0;
    for (std::size_t i = begin; i < end; ++i) {
      if (lines[i].mark != '+') ++removed;
      if (lines[i].mark != '-') ++added;
    }
    if (!IsFull()) {
      diff_->text += fmt::format("@@ -{} +{} @@\n", HunkRange(lines[begin].old_line, removed),
                                 HunkRange(lines[begin].new_line, added));
    }
    for (std::size_t i = begin; i < end; ++i) WriteLine(lines[i]);
  }

 private:
  bool IsFull() const {
    return lines_ >= options_.lines_max || diff_->text.size() >= options_.bytes_max;
  }

  void WriteLine(const Line& line) {
    const bool is_change = line.mark != ' ';
    if (IsFull()) {
      if (is_change) {
        ++diff_->lines_not_shown;
        diff_->bytes_not_shown += static_cast<std::int64_t>(line.bytes.size());
      }
      return;
    }
    ++lines_;
    std::string_view bytes = line.bytes;
    const bool ends = bytes.ends_with('\n');
    if (ends) bytes.remove_suffix(1);
    const std::string_view shown = Shorten(bytes);
    const std::string escaped = EscapeForTerminal(shown, Lines::kMultiple);
    diff_->text += line.mark;
    diff_->text += escaped;
    if (shown.size() < bytes.size()) {
      const std::size_t missing = bytes.size() - shown.size();
      diff_->text += fmt::format(" [... {} more bytes in this line]", missing);
      if (is_change) diff_->bytes_not_shown += static_cast<std::int64_t>(missing);
    }
    diff_->text += '\n';
    if (!ends && !options_.cut) diff_->text += "\\ No newline at end of file\n";
    const std::size_t carriage_return = shown.ends_with('\r') ? 3 : 0;
    if (line.mark == '+' && escaped.size() != shown.size() + carriage_return) {
      ++diff_->escaped_lines;
    }
  }

  // Not in the middle of a character, which would show as bytes that are not UTF-8.
  std::string_view Shorten(std::string_view bytes) const {
    if (bytes.size() <= options_.line_bytes_max) return bytes;
    std::size_t size = options_.line_bytes_max;
    for (int i = 0; i < 3 && size > 0; ++i) {
      if ((static_cast<unsigned char>(bytes[size]) & 0xc0) != 0x80) break;
      --size;
    }
    return bytes.substr(0, size);
  }

  const TextDiffOptions& options_;
  TextDiff* diff_;
  std::size_t lines_ = 0;
};

}  // namespace

bool IsText(std::string_view bytes) {
  if (bytes.substr(0, kZeroSearchBytes).find('\0') != std::string_view::npos) return false;
  // Each byte that is not UTF-8 becomes the three of U+FFFD.
  const std::size_t invalid = (ToUtf8Lossy(bytes).size() - bytes.size()) / 2;
  // A character that was cut off at the end says nothing about the file.
  return invalid <= 3 ? invalid * 2 <= bytes.size() : invalid * 20 <= bytes.size();
}

Result<TextDiff> DiffText(std::string_view before, std::string_view after,
                          const TextDiffOptions& options) {
  if (std::max(before.size(), after.size()) > kTextBytesMax) {
    return Error(ErrorCode::kResourceExhausted,
                 fmt::format("too large to compare: a text has more than {} bytes", kTextBytesMax));
  }
  const TextLines old_lines = SplitLines(before);
  const TextLines new_lines = SplitLines(after);
  const Marks marks = MarkDifferences(old_lines, new_lines, options.steps_max);
  const std::vector<Line> lines = Merge(old_lines, new_lines, marks);

  TextDiff diff;
  diff.steps =
      marks.steps + kStepsPerLine * static_cast<std::int64_t>(old_lines.size() + new_lines.size());
  diff.coarse = marks.coarse;
  Writer writer(options, &diff);
  const auto is_change = [](const Line& line) { return line.mark != ' '; };
  auto next = std::find_if(lines.begin(), lines.end(), is_change);
  while (next != lines.end()) {
    const auto begin = next - std::min<std::ptrdiff_t>(next - lines.begin(), kContextLines);
    auto last = next;
    do {
      last = next;
      next = std::find_if(next + 1, lines.end(), is_change);
    } while (next != lines.end() && next - last <= 2 * kContextLines + 1);
    const auto end = last + 1 + std::min<std::ptrdiff_t>(lines.end() - last - 1, kContextLines);
    writer.WriteHunk(lines, static_cast<std::size_t>(begin - lines.begin()),
                     static_cast<std::size_t>(end - lines.begin()));
  }
  return diff;
}

}  // namespace bailiff
