#include "changeset/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/sha256.h"
#include "base/units.h"
#include "changeset/text_diff.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::array<std::pair<ChangeFlag, std::string_view>, 6> kFlagWords = {{
    {ChangeFlag::kExecutable, "executable"},
    {ChangeFlag::kEscapingSymlink, "leads out of the workspace"},
    {ChangeFlag::kBreaksHardLink, "its other names keep the old content"},
    {ChangeFlag::kStrippedSetid, "setuid or setgid bit left out"},
    {ChangeFlag::kDroppedXattrs, "extended attributes left out"},
    {ChangeFlag::kRestored, "brought back"},
}};

// What all files together may cost, so that many files are no way around one file's limit.
constexpr std::int64_t kStepsMax = 80'000'000;
constexpr std::int64_t kReadBytesMax = 64L * 1024 * 1024;

// "12,345"
std::string Grouped(std::int64_t number) {
  std::string digits = fmt::format("{}", number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string Bytes(std::int64_t count) {
  return Grouped(count) + (count == 1 ? " byte" : " bytes");
}

std::string TypedPath(std::string_view path, EntryType type) {
  return QuotePath(type == EntryType::kDir ? std::string(path) + "/" : std::string(path));
}

std::string ModeWord(std::uint32_t mode) {
  return fmt::format("{:04o}", mode);
}

std::string TimeWord(std::int64_t nanos) {
  return FormatTimestamp(WallTime(std::chrono::nanoseconds(nanos)));
}

std::string_view PastTense(ChangeOp op) {
  switch (op) {
    case ChangeOp::kDelete:
      return "deleted";
    case ChangeOp::kMove:
      return "moved";
    case ChangeOp::kCreate:
      return "created";
    case ChangeOp::kModify:
      return "modified";
    case ChangeOp::kMetadata:
      return "metadata";
  }
  CheckFailed("ChangeOp out of range", __FILE__, __LINE__);
}

// What a change does to the entry at its path, for the brackets at the end of its line.
void AddModes(const Change& change, std::vector<std::string>* words) {
  if (change.type == EntryType::kSymlink) return;
  if (!change.base.has_value()) {
    words->push_back("mode " + ModeWord(change.mode));
  } else if (change.base->mode != change.mode) {
    words->push_back("mode " + ModeWord(change.base->mode) + " -> " + ModeWord(change.mode));
  }
}

void AddTimes(const Change& change, std::vector<std::string>* words) {
  const bool optional = change.type == EntryType::kDir || change.op == ChangeOp::kMetadata;
  if (optional && !change.sets_mtime) return;
  if (!change.base.has_value() || change.base->mtime_ns == change.mtime_ns) return;
  words->push_back("mtime " + TimeWord(change.base->mtime_ns) + " -> " + TimeWord(change.mtime_ns));
}

std::vector<std::string> DetailsOf(const Change& change) {
  std::vector<std::string> words;
  const bool is_file = change.type == EntryType::kFile;
  switch (change.op) {
    case ChangeOp::kDelete:
      if (is_file && change.base.has_value()) words.push_back(Bytes(change.base->size));
      break;
    case ChangeOp::kMove:
      break;
    case ChangeOp::kCreate:
      if (is_file && change.link_to.empty()) words.push_back(Bytes(change.size));
      AddModes(change, &words);
      break;
    case ChangeOp::kModify:
      if (is_file && change.base.has_value()) {
        words.push_back(Grouped(change.base->size) + " -> " + Bytes(change.size));
      }
      AddModes(change, &words);
      break;
    case ChangeOp::kMetadata:
      AddModes(change, &words);
      AddTimes(change, &words);
      break;
  }
  if (change.op != ChangeOp::kMove && !change.from.empty()) {
    words.push_back("was " + QuotePath(change.from));
  }
  for (const auto& [flag, word] : kFlagWords) {
    if (change.Has(flag)) words.emplace_back(word);
  }
  return words;
}

// The links' targets are bytes that a script chose, like paths.
std::string LinkWords(const Change& change) {
  if (!change.link_to.empty()) return ", another name of " + QuotePath(change.link_to);
  if (change.type != EntryType::kSymlink) return "";
  const std::string_view old_target =
      change.base.has_value() ? change.base->link_target.view() : std::string_view();
  switch (change.op) {
    case ChangeOp::kDelete:
      return ", a link to " + QuotePath(old_target);
    case ChangeOp::kCreate:
      return ", a link to " + QuotePath(change.link_target);
    case ChangeOp::kModify:
      return ", a link to " + QuotePath(change.link_target) + ", before to " +
             QuotePath(old_target);
    case ChangeOp::kMove:
    case ChangeOp::kMetadata:
      return "";
  }
  CheckFailed("ChangeOp out of range", __FILE__, __LINE__);
}

// Whether `sorted` has `path` or something below it.
bool HasAtOrBelow(const std::vector<std::string>& sorted, const std::string& path) {
  const auto found = std::lower_bound(sorted.begin(), sorted.end(), path, PathLess);
  return found != sorted.end() && (*found == path || IsBelow(*found, path));
}

// The one line of a change. `protected_paths` is sorted by PathLess().
std::string LineOf(const Change& change, const std::vector<std::string>& protected_paths) {
  std::string line = fmt::format("{:<8}  ", PastTense(change.op));
  if (change.op == ChangeOp::kMove) line += TypedPath(change.from, change.type) + " -> ";
  line += TypedPath(change.path, change.type);
  line += LinkWords(change);
  std::vector<std::string> words = DetailsOf(change);
  const bool moves_tree = change.op == ChangeOp::kMove && change.type == EntryType::kDir;
  const auto is_protected = [&](const std::string& path) {
    if (moves_tree) return HasAtOrBelow(protected_paths, path);
    return std::binary_search(protected_paths.begin(), protected_paths.end(), path, PathLess);
  };
  if (is_protected(change.path) || (!change.from.empty() && is_protected(change.from))) {
    words.emplace_back("PROTECTED");
  }
  if (!words.empty()) line += fmt::format("  ({})", fmt::join(words, ", "));
  return line + "\n";
}

std::vector<std::string> Sorted(std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end(), PathLess);
  return paths;
}

// Whether a change concerns the path that a reader asked for.
bool IsAt(const Change& change, std::string_view path) {
  for (const std::string& name : {change.path, change.from}) {
    if (name == path || IsBelow(name, path)) return true;
    if (!name.empty() && change.op == ChangeOp::kMove && IsBelow(path, name)) return true;
  }
  return false;
}

std::string_view WithoutOuterSlashes(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

// One side of a file's content, as far as it can be shown.
struct Side {
  enum class Kind { kText, kBinary, kMissing };
  Kind kind = Kind::kMissing;
  std::string bytes;
  std::string problem;  // kMissing, where reading failed.
};

class Renderer {
 public:
  Renderer(const DiffSources& sources, const DiffOptions& options)
      : sources_(sources),
        options_(options),
        protected_paths_(Sorted(options.protected_paths)),
        bytes_left_(options.bytes_max) {}

  void Render(const Change& change) {
    if (rendered_ == options_.changes_max) {
      left_out_.changes.push_back(change);
      AddSize(ContentSize(change), &bytes_not_shown_);
      return;
    }
    ++rendered_;
    out_ += LineOf(change, protected_paths_);
    if (change.type != EntryType::kFile || !change.link_to.empty()) return;
    switch (change.op) {
      case ChangeOp::kDelete:
        RenderWhole(change, '-');
        break;
      case ChangeOp::kCreate:
        RenderWhole(change, '+');
        break;
      case ChangeOp::kModify:
        RenderModified(change);
        break;
      case ChangeOp::kMove:
      case ChangeOp::kMetadata:
        break;
    }
  }

  std::string Finish(const ChangeCounts& counts) {
    if (!out_.empty() && !out_.ends_with("\n\n")) out_ += '\n';
    if (!left_out_.changes.empty()) {
      const auto count = static_cast<std::int64_t>(left_out_.changes.size());
      out_ += fmt::format("... {} more {} not shown: {}\n", Grouped(count),
                          count == 1 ? "change" : "changes", Describe(Count(left_out_)));
    }
    out_ += Describe(counts);
    if (counts.bytes_written > 0) out_ += "; " + Bytes(counts.bytes_written) + " written";
    if (bytes_not_shown_ > 0) out_ += "; " + Bytes(bytes_not_shown_) + " of content not shown";
    out_ += '\n';
    return std::move(out_);
  }

 private:
  static std::int64_t OldSize(const Change& change) {
    return change.base.has_value() ? change.base->size : 0;
  }

  bool IsFull() const { return bytes_left_ == 0 || read_left_ <= 0 || steps_left_ <= 0; }

  // What would be shown of a change if there were no limit.
  static std::int64_t ContentSize(const Change& change) {
    if (change.type != EntryType::kFile || !change.link_to.empty()) return 0;
    const bool writes = change.op == ChangeOp::kCreate || change.op == ChangeOp::kModify;
    if (writes) return change.size;
    return change.op == ChangeOp::kDelete ? OldSize(change) : 0;
  }

  // At most `bytes_max` bytes are read of a side that goes on after them.
  Side Load(const DiffSources::Read& read, const Change& change, std::int64_t size,
            std::size_t bytes_max) {
    if (size == 0) return {Side::Kind::kText, "", ""};
    read_left_ -= std::min(size, static_cast<std::int64_t>(bytes_max));
    Result<std::optional<std::string>> bytes = read(change, bytes_max);
    if (!bytes.ok()) return {Side::Kind::kMissing, "", bytes.error().message()};
    if (!bytes.value().has_value()) return {};
    const bool is_text = IsText(*bytes.value());
    return {is_text ? Side::Kind::kText : Side::Kind::kBinary, *std::move(bytes).value(), ""};
  }

  void Note(std::string_view words) { out_ += fmt::format("! {}\n", words); }

  void EndBody() {
    if (!out_.ends_with("\n\n")) out_ += '\n';
  }

  // Says that nothing of `bytes` bytes is shown, and why.
  void LeaveOut(std::int64_t bytes, std::string_view why) {
    Note(fmt::format("{}; {} not shown", why, Bytes(bytes)));
    AddSize(bytes, &bytes_not_shown_);
    EndBody();
  }

  static std::string DigestWord(std::string_view sha256) {
    return sha256.empty() ? "" : ", " + FormatDigest(sha256);
  }

  void RenderHeader(const Change& change, bool has_old, bool has_new) {
    out_ += "--- " + (has_old ? QuotePath("a/" + change.base_path()) : "/dev/null") + "\n";
    out_ += "+++ " + (has_new ? QuotePath("b/" + change.path) : "/dev/null") + "\n";
  }

  // A file that is there on one side only, or whose other side cannot be compared with it.
  void RenderWhole(const Change& change, char mark) {
    const bool is_new = mark == '+';
    const std::int64_t size = is_new ? change.size : OldSize(change);
    if (size == 0) return;
    const std::string_view sha256 = is_new                    ? change.sha256.view()
                                    : change.base.has_value() ? change.base->sha256.view()
                                                              : std::string_view();
    if (IsFull()) return LeaveOut(size, "the limit of this diff is reached");
    const std::size_t limit = std::min({options_.file_bytes_max, bytes_left_, kTextBytesMax});
    const Side side =
        Load(is_new ? sources_.new_content : sources_.old_content, change, size, limit);
    if (side.kind == Side::Kind::kMissing) return RenderMissing(change, side, is_new);
    if (side.kind == Side::Kind::kBinary) {
      return LeaveOut(size, "binary" + DigestWord(sha256));
    }
    const std::int64_t unread = size - static_cast<std::int64_t>(side.bytes.size());
    RenderHeader(change, !is_new, is_new);
    RenderText(is_new ? "" : side.bytes, is_new ? side.bytes : "",
               std::max(unread, std::int64_t{0}));
  }

  void RenderMissing(const Change& change, const Side& side, bool is_new) {
    const std::int64_t size = is_new ? change.size : OldSize(change);
    const std::string_view sha256 =
        is_new || !change.base.has_value() ? change.sha256 : change.base->sha256;
    std::string why = is_new ? "the new content is not kept" : "the base has changed since";
    if (!side.problem.empty()) {
      why = (is_new ? "the new content cannot be read: " : "the old content cannot be read: ") +
            EscapeForTerminal(side.problem, Lines::kSingle);
    }
    LeaveOut(size, why + DigestWord(sha256));
  }

  void RenderModified(const Change& change) {
    const std::int64_t old_size = OldSize(change);
    const std::string old_digest = change.base.has_value() ? DigestWord(change.base->sha256) : "";
    const std::string versions = fmt::format("{}{} -> {}{}", Bytes(old_size), old_digest,
                                             Bytes(change.size), DigestWord(change.sha256));
    if (IsFull()) return LeaveOut(change.size, "the limit of this diff is reached");
    const auto max = static_cast<std::int64_t>(kTextBytesMax);
    if (old_size > max || change.size > max) {
      return LeaveOut(change.size, "too large to compare: " + versions);
    }
    const Side before = Load(sources_.old_content, change, old_size, kTextBytesMax);
    const Side after = Load(sources_.new_content, change, change.size, kTextBytesMax);
    if (after.kind == Side::Kind::kMissing) return RenderMissing(change, after, true);
    if (after.kind == Side::Kind::kBinary) return LeaveOut(change.size, "binary: " + versions);
    if (before.kind == Side::Kind::kText) {
      RenderHeader(change, true, true);
      return RenderText(before.bytes, after.bytes, 0);
    }
    if (before.kind == Side::Kind::kBinary) {
      Note("the old content is binary: " + versions);
    } else if (before.problem.empty()) {
      Note("the base has changed since: the new content is shown whole");
    } else {
      Note("the old content cannot be read, the new is shown whole: " +
           EscapeForTerminal(before.problem, Lines::kSingle));
    }
    RenderWhole(change, '+');
  }

  // `unread` bytes of the text were not even looked at.
  void RenderText(std::string_view before, std::string_view after, std::int64_t unread) {
    TextDiffOptions options;
    options.bytes_max = std::min(options_.file_bytes_max, bytes_left_);
    options.lines_max = options_.file_lines_max;
    options.cut = unread > 0;
    options.steps_max = std::min(options.steps_max, std::max<std::int64_t>(steps_left_, 0));
    const Result<TextDiff> made = DiffText(before, after, options);
    if (!made.ok()) {
      return LeaveOut(static_cast<std::int64_t>(after.size()), made.error().message());
    }
    const TextDiff& diff = made.value();
    out_ += diff.text;
    bytes_left_ -= std::min(bytes_left_, diff.text.size());
    steps_left_ -= diff.steps;
    std::int64_t missing = unread;
    AddSize(diff.bytes_not_shown, &missing);
    AddSize(missing, &bytes_not_shown_);
    if (missing > 0) out_ += fmt::format("... {} more bytes not shown\n", Grouped(missing));
    if (diff.coarse) Note("too different to compare line by line: passages are shown as replaced");
    if (diff.escaped_lines > 0) {
      Note(fmt::format("{} added {} control or invisible characters, shown as \\xNN or \\u{{NNNN}}",
                       Grouped(diff.escaped_lines),
                       diff.escaped_lines == 1 ? "line has" : "lines have"));
    }
    EndBody();
  }

  const DiffSources& sources_;
  const DiffOptions& options_;
  const std::vector<std::string> protected_paths_;
  std::string out_;
  std::size_t rendered_ = 0;
  std::size_t bytes_left_;
  std::int64_t read_left_ = kReadBytesMax;
  std::int64_t steps_left_ = kStepsMax;
  std::int64_t bytes_not_shown_ = 0;
  ChangeSet left_out_;
};

}  // namespace

Result<std::string> RenderDiff(const ChangeSet& set, const DiffSources& sources,
                               const DiffOptions& options) {
  if (!options.path.has_value()) {
    Renderer renderer(sources, options);
    for (const Change& change : set.changes) renderer.Render(change);
    return renderer.Finish(Count(set));
  }
  const std::string_view path = WithoutOuterSlashes(*options.path);
  ChangeSet chosen;
  for (const Change& change : set.changes) {
    if (path.empty() || IsAt(change, path)) chosen.changes.push_back(change);
  }
  if (chosen.changes.empty()) {
    return Error(ErrorCode::kNotFound, fmt::format("no change at {}; {} elsewhere",
                                                   QuotePath(*options.path), Describe(Count(set))));
  }
  Renderer renderer(sources, options);
  for (const Change& change : chosen.changes) renderer.Render(change);
  return renderer.Finish(Count(chosen));
}

std::string RenderChanges(const ChangeSet& set, const std::vector<std::string>& protected_paths) {
  const std::vector<std::string> sorted = Sorted(protected_paths);
  std::string lines;
  for (const Change& change : set.changes) lines += LineOf(change, sorted);
  return lines;
}

std::string QuotePath(std::string_view path) {
  const std::string escaped = EscapeForTerminal(path, Lines::kSingle);
  const bool plain = !path.empty() && escaped == path && path.front() != ' ' &&
                     path.back() != ' ' && path.find_first_of("\"\\,(") == std::string_view::npos &&
                     path.find(" -> ") == std::string_view::npos &&
                     path.find("  ") == std::string_view::npos;
  if (plain) return std::string(path);
  // Backslashes are doubled first, so that what EscapeForTerminal() adds cannot be in a name.
  std::string doubled;
  for (const char c : path) {
    if (c == '"' || c == '\\') doubled += '\\';
    doubled += c;
  }
  return "\"" + EscapeForTerminal(doubled, Lines::kSingle) + "\"";
}

std::string Describe(const ChangeCounts& counts) {
  const std::array<std::pair<std::int64_t, std::string_view>, 5> kinds = {{
      {counts.created, "created"},
      {counts.modified, "modified"},
      {counts.deleted, "deleted"},
      {counts.moved, "moved"},
      {counts.metadata, "with new metadata"},
  }};
  std::vector<std::string> words;
  for (const auto& [count, word] : kinds) {
    if (count > 0) words.push_back(fmt::format("{} {}", Grouped(count), word));
  }
  return words.empty() ? "no changes" : fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace bailiff
