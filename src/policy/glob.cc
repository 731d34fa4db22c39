#include "policy/glob.h"

#include <re2/re2.h>

#include <optional>

#include "base/bytes.h"

namespace bailiff {
namespace {

// Where a pattern is read, and the regular expression that it becomes.
struct Reader {
  std::string_view rest;
  std::string regex;

  char Take() {
    const char c = rest.front();
    rest.remove_prefix(1);
    return c;
  }
};

void AddLiteral(char c, std::string* regex) {
  *regex += re2::RE2::QuoteMeta(re2::StringPiece(&c, 1));
}

// What is wrong, or nothing.
using Problem = std::optional<std::string>;

Problem ReadEscaped(Reader* reader) {
  if (reader->rest.empty()) return "ends with a backslash; write \\\\ for one";
  AddLiteral(reader->Take(), &reader->regex);
  return std::nullopt;
}

// One end of a range, or a byte alone.
std::optional<char> ReadSetByte(Reader* reader) {
  if (reader->rest.empty()) return std::nullopt;
  const char c = reader->Take();
  if (c != '\\') return c;
  if (reader->rest.empty()) return std::nullopt;
  return reader->Take();
}

// After "[".
Problem ReadSet(Reader* reader) {
  const bool negated = !reader->rest.empty() && (reader->rest[0] == '!' || reader->rest[0] == '^');
  if (negated) reader->Take();
  std::string regex = negated ? "[^/" : "[";
  bool any = false;
  while (reader->rest.empty() || reader->rest.front() != ']' || !any) {
    const std::optional<char> first = ReadSetByte(reader);
    if (!first.has_value()) return "has a [ without its ]; write \\[ for the character";
    std::optional<char> last = first;
    if (reader->rest.size() > 1 && reader->rest[0] == '-' && reader->rest[1] != ']') {
      reader->Take();
      last = ReadSetByte(reader);
    }
    if (!last.has_value()) return "has a [ without its ]; write \\[ for the character";
    const auto low = static_cast<unsigned char>(*first);
    const auto high = static_cast<unsigned char>(*last);
    if (low > high) return "has a range that ends before it begins";
    if (low <= '/' && high >= '/') return "has a slash in [ ]";
    AddLiteral(*first, &regex);
    regex += '-';
    AddLiteral(*last, &regex);
    any = true;
  }
  reader->Take();
  reader->regex += regex + "]";
  return std::nullopt;
}

Problem ReadSegment(std::string_view segment, std::string* regex) {
  if (segment.empty()) {
    return "has an empty segment: no slash at its ends, and none twice; write dir/** for what is "
           "below dir";
  }
  if (segment == "." || segment == "..") return "has a segment . or ..";
  Reader reader{segment, ""};
  while (!reader.rest.empty()) {
    const char c = reader.Take();
    Problem problem;
    if (c == '*') {
      if (reader.rest.starts_with('*')) return "has ** beside other characters; it stands alone";
      reader.regex += "[^/]*";
    } else if (c == '?') {
      reader.regex += "[^/]";
    } else if (c == '[') {
      problem = ReadSet(&reader);
    } else if (c == '{' || c == '}') {
      problem = "has { }; write several patterns, or \\{ for the character";
    } else if (c == '\\') {
      problem = ReadEscaped(&reader);
    } else {
      AddLiteral(c, &reader.regex);
    }
    if (problem.has_value()) return problem;
  }
  *regex += reader.regex;
  return std::nullopt;
}

std::vector<std::string_view> SplitSegments(std::string_view pattern) {
  std::vector<std::string_view> segments;
  while (true) {
    const std::size_t slash = pattern.find('/');
    segments.push_back(pattern.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    pattern.remove_prefix(slash + 1);
  }
}

Problem Translate(std::string_view pattern, std::string* regex) {
  if (pattern.empty()) return "is empty";
  if (pattern.size() > kGlobBytesMax) return "is longer than 1024 bytes";
  if (pattern.find('\0') != std::string_view::npos) return "has a zero byte";
  const std::vector<std::string_view> segments = SplitSegments(pattern);
  bool needs_slash = false;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const bool last = i + 1 == segments.size();
    if (segments[i] == "**") {
      if (!last && segments[i + 1] == "**") continue;  // As one.
      // Each form takes the slash that joins it to what is before or after, or neither.
      if (last) *regex += needs_slash ? "(?:/.*)?" : ".*";
      if (!last) *regex += needs_slash ? "/(?:[^/]+/)*" : "(?:[^/]+/)*";
      needs_slash = false;
      continue;
    }
    if (needs_slash) *regex += '/';
    const Problem problem = ReadSegment(segments[i], regex);
    if (problem.has_value()) return problem;
    needs_slash = true;
  }
  return std::nullopt;
}

}  // namespace

Result<Globs> Globs::Parse(const std::vector<std::string>& patterns) {
  Globs globs;
  std::string all;
  for (const std::string& pattern : patterns) {
    std::string regex;
    const Problem problem = Translate(pattern, &regex);
    if (problem.has_value()) {
      return Error(ErrorCode::kInvalidArgument,
                   "'" + EscapeForTerminal(pattern, Lines::kSingle) + "' " + *problem);
    }
    all += (all.empty() ? "(?:" : "|(?:") + regex + ")";
  }
  re2::RE2::Options options;
  options.set_encoding(re2::RE2::Options::EncodingLatin1);  // Bytes, whatever they mean.
  options.set_dot_nl(true);
  options.set_never_capture(true);
  options.set_log_errors(false);
  auto matcher = std::make_shared<re2::RE2>(all, options);
  if (!matcher->ok()) {
    return Error(ErrorCode::kInvalidArgument, "these patterns are too large together");
  }
  globs.patterns_ = patterns;
  globs.matcher_ = std::move(matcher);
  return globs;
}

bool Globs::Match(std::string_view text) const {
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), *matcher_);
}

}  // namespace bailiff
