#include "http/target.h"

#include <algorithm>

namespace bailiff {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Error BadTarget(const char* what) {
  return {ErrorCode::kInvalidArgument, std::string("request target: ") + what};
}

Result<std::string> DecodePart(std::string_view text) {
  std::optional<std::string> decoded = PercentDecode(text);
  if (!decoded) return BadTarget("a percent sign must be followed by two hexadecimal digits");
  if (decoded->find('\0') != std::string::npos) return BadTarget("%00 is not allowed");
  return *std::move(decoded);
}

bool HasDotSegment(std::string_view path) {
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view segment = path.substr(start, end - start);
    if (segment == "." || segment == "..") return true;
    start = end + 1;
  }
  return false;
}

Result<std::string> DecodeQueryPart(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return DecodePart(spaced);
}

}  // namespace

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = HexDigit(text[i + 1]);
    const int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

Result<Target> ParseTarget(std::string_view text) {
  if (!text.starts_with('/')) return BadTarget("must start with /");
  const bool visible = std::all_of(text.begin(), text.end(),
                                   [](char c) { return c > ' ' && c < '\x7f' && c != '#'; });
  if (!visible) return BadTarget("must be visible ASCII characters without #");
  Target target;
  const std::size_t mark = std::min(text.find('?'), text.size());
  target.path = text.substr(0, mark);
  if (HasDotSegment(TRY(DecodePart(target.path)))) return BadTarget(". and .. are not allowed");
  std::string_view rest = text.substr(std::min(mark + 1, text.size()));
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest = rest.substr(std::min(end + 1, rest.size()));
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    std::string name = TRY(DecodeQueryPart(part.substr(0, equals)));
    std::string value = TRY(DecodeQueryPart(part.substr(std::min(equals + 1, part.size()))));
    target.query.emplace_back(std::move(name), std::move(value));
  }
  return target;
}

}  // namespace bailiff
