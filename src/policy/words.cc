#include "policy/words.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"

namespace bailiff {
namespace {

constexpr std::size_t kNamedMax = 5;

}  // namespace

std::string Shown(std::string_view bytes) {
  return EscapeForTerminal(bytes, Lines::kSingle);
}

std::string FirstFew(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), kNamedMax); ++i) {
    if (i > 0) text += ", ";
    text += Shown(items[i]);
  }
  if (items.size() > kNamedMax) text += fmt::format(" and {} more", items.size() - kNamedMax);
  return text;
}

std::string Counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace bailiff
