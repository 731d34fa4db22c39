#include "policy/lint.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <set>
#include <utility>

#include "base/bytes.h"

namespace bailiff {
namespace {

constexpr std::size_t kNamedMax = 5;

// docs/policy.md has the same table.
constexpr auto kNames = std::to_array<std::string_view>(
    {"os-system", "shell-true", "subprocess", "eval", "exec", "encoded-exec", "dynamic-import",
     "rmtree", "rm-rf", "network", "outside-write", "secrets", "native-code", "unpickle",
     kLintNotParsed});

struct Pattern {
  std::string_view name;
  const char* regex;
};

constexpr auto kPatterns = std::to_array<Pattern>({
    {"os-system", R"(\bos\.(system|popen)\s*\()"},
    {"shell-true", R"(\bshell\s*=\s*True\b)"},
    {"subprocess", R"(\bsubprocess\.(run|call|check_call|check_output|Popen|getoutput)\b)"},
    {"subprocess", R"(\bos\.(exec[lv]|spawn[lv]|posix_spawn))"},
    {"eval", R"((^|[^\w.])eval\s*\()"},
    {"eval", R"(^\s*eval\s+["'$])"},
    {"exec", R"((^|[^\w.])exec\s*\()"},
    {"encoded-exec", R"(\b(eval|exec)\s*\(.*(b64decode|unhexlify|fromhex|decompress|rot13))"},
    {"encoded-exec", R"(base64\s+(-d|-D|--decode)\b.*\|\s*\S*(sh|python3?|perl)\b)"},
    {"dynamic-import", R"(__import__\s*\(|\bimportlib\.import_module\b)"},
    {"rmtree", R"(\brmtree\s*\()"},
    {"rm-rf", R"(\brm\s+(-\w+\s+)*-\w*([rR]\w*f|f\w*[rR])\w*\b)"},
    {"network",
     R"(^\s*(import|from)\s+(socket|ssl|requests|urllib3?|httpx?|aiohttp|ftplib|smtplib)\b)"},
    {"network", R"((^|[;&|(\s])(curl|wget|ncat|ssh|scp)\s+[^\s=])"},
    {"network", R"(/dev/(tcp|udp)/)"},
    {"outside-write",
     R"(open\s*\(\s*["']/(etc|usr|home|root|var|boot|opt|srv|bin|lib)/[^"']*["'],\s*["'][wax])"},
    {"outside-write", R"(>>?\s*/(etc|usr|home|root|var|boot|opt|srv|bin|lib)/)"},
    {"secrets", R"(/etc/(passwd|shadow)\b|\.ssh/|\bid_(rsa|ed25519)\b|\.aws/credentials)"},
    {"native-code", R"(^\s*(import|from)\s+(ctypes|cffi)\b)"},
    {"unpickle", R"(\b(pickle|marshal|dill)\.loads?\s*\(|\bshelve\.open\s*\()"},
});

struct Compiled {
  std::string_view name;
  std::unique_ptr<re2::RE2> regex;
};

const std::vector<Compiled>& CompiledPatterns() {
  static const std::vector<Compiled> kCompiled = [] {
    re2::RE2::Options options;
    options.set_encoding(re2::RE2::Options::EncodingLatin1);
    options.set_never_capture(true);
    std::vector<Compiled> compiled;
    for (const Pattern& pattern : kPatterns) {
      compiled.push_back({pattern.name, std::make_unique<re2::RE2>(pattern.regex, options)});
      CHECK(compiled.back().regex->ok());
    }
    return compiled;
  }();
  return kCompiled;
}

std::string_view Trimmed(std::string_view line) {
  const std::size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
}

// A line as a fact shows it.
std::string Excerpt(std::string_view line) {
  const std::string_view trimmed = Trimmed(line);
  if (trimmed.size() <= kLintTextBytesMax) return ToUtf8Lossy(trimmed);
  std::size_t end = kLintTextBytesMax;
  while (end > 0 && (static_cast<unsigned char>(trimmed[end]) & 0xc0) == 0x80) --end;
  return ToUtf8Lossy(trimmed.substr(0, end)) + "...";
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

void AddFacts(std::string_view line, int number, std::vector<LintFact>* facts) {
  const std::string_view trimmed = Trimmed(line);
  if (trimmed.empty() || trimmed.starts_with('#')) return;
  const std::size_t first = facts->size();
  for (const Compiled& pattern : CompiledPatterns()) {
    const bool known =
        std::any_of(facts->begin() + static_cast<std::ptrdiff_t>(first), facts->end(),
                    [&](const LintFact& fact) { return fact.name == pattern.name; });
    if (known) continue;
    const re2::StringPiece piece(line.data(), line.size());
    if (!re2::RE2::PartialMatch(piece, *pattern.regex)) continue;
    facts->push_back({std::string(pattern.name), number, Excerpt(line)});
  }
}

}  // namespace

std::span<const std::string_view> LintNames() {
  return kNames;
}

bool IsLintName(std::string_view name) {
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

std::vector<LintFact> LintText(std::string_view script) {
  std::vector<LintFact> facts;
  int number = 0;
  for (const std::string_view line : SplitLines(script.substr(0, kLintScriptBytesMax))) {
    AddFacts(line, ++number, &facts);
    if (facts.size() >= kLintFactsMax) break;
  }
  facts.resize(std::min(facts.size(), kLintFactsMax));
  return facts;
}

Result<std::vector<LintFact>> ParseLintOutput(std::string_view output, std::string_view script) {
  const auto bad = [] {
    return Error(ErrorCode::kInvalidArgument, "lint: the parser did not answer as it should");
  };
  const std::vector<std::string_view> source = SplitLines(script);
  std::vector<LintFact> facts;
  if (!output.empty() && !output.ends_with('\n')) return bad();
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(line.size() + 1);
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || facts.size() == kLintFactsMax) return bad();
    const std::string_view name = line.substr(0, space);
    const char* end = line.data() + line.size();
    int number = 0;
    const auto [at, error] = std::from_chars(line.data() + space + 1, end, number);
    if (error != std::errc() || at != end || !IsLintName(name) || number < 1) return bad();
    // Python also ends lines where a text has a lone carriage return or a form feed.
    const auto index = static_cast<std::size_t>(number) - 1;
    facts.push_back(
        {std::string(name), number, index < source.size() ? Excerpt(source[index]) : ""});
  }
  return facts;
}

LintFact NotParsed(std::string_view why) {
  return {std::string(kLintNotParsed), 1, Excerpt(why)};
}

std::vector<LintFact> MergeLint(std::vector<LintFact> first, std::vector<LintFact> second) {
  std::vector<LintFact> facts = std::move(first);
  std::set<std::pair<int, std::string>> known;
  for (const LintFact& fact : facts) known.emplace(fact.line, fact.name);
  for (LintFact& fact : second) {
    if (known.emplace(fact.line, fact.name).second) facts.push_back(std::move(fact));
  }
  std::stable_sort(facts.begin(), facts.end(), [](const LintFact& left, const LintFact& right) {
    return left.line < right.line;
  });
  facts.resize(std::min(facts.size(), kLintFactsMax));
  return facts;
}

std::string LintSentence(const std::vector<LintFact>& facts) {
  std::string text;
  for (std::size_t i = 0; i < std::min(facts.size(), kNamedMax); ++i) {
    text += fmt::format("{}line {}: {}: {}", i > 0 ? "; " : "", facts[i].line, facts[i].name,
                        EscapeForTerminal(facts[i].text, Lines::kSingle));
  }
  if (facts.size() > kNamedMax) text += fmt::format("; and {} more", facts.size() - kNamedMax);
  return text;
}

}  // namespace bailiff
