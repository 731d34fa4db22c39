#include "http/credential.h"

#include <algorithm>
#include <string_view>

#include "base/bytes.h"

namespace bailiff {
namespace {

// RFC 6750's b64token.
bool IsToken(std::string_view text) {
  const std::size_t end = std::min(text.find('='), text.size());
  const auto is_token_char = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-._~+/").find(c) != std::string_view::npos;
  };
  return end > 0 &&
         std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end),
                     is_token_char) &&
         text.find_first_not_of('=', end) == std::string_view::npos;
}

std::optional<std::string> PasswordOf(std::string_view encoded) {
  const Result<std::string> decoded = FromBase64(encoded);
  if (!decoded.ok()) return std::nullopt;
  const std::size_t colon = decoded.value().find(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string password = decoded.value().substr(colon + 1);
  const bool visible = std::all_of(password.begin(), password.end(), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' && c != '\x7f';
  });
  if (password.empty() || !visible) return std::nullopt;
  return password;
}

}  // namespace

std::optional<std::string> CredentialOf(const HttpRequest& request) {
  constexpr std::string_view kName = "Authorization";
  const auto count =
      std::count_if(request.headers.begin(), request.headers.end(),
                    [&](const auto& header) { return SameWord(header.first, kName); });
  if (count != 1) return std::nullopt;
  const std::string_view value = *request.Header(kName);
  const std::size_t space = value.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = value.substr(0, space);
  const std::string_view rest = value.substr(space + 1);
  if (SameWord(scheme, "Bearer") && IsToken(rest)) return std::string(rest);
  if (SameWord(scheme, "Basic") && IsToken(rest)) return PasswordOf(rest);
  return std::nullopt;
}

}  // namespace bailiff
