#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bailiff {

std::string Shown(std::string_view bytes);  // Safe for a terminal, on one line.

// "a, b, c, d, e and 7 more"
std::string FirstFew(const std::vector<std::string>& items);

// "1 file", "3 files"
std::string Counted(std::size_t count, std::string_view noun);

}  // namespace bailiff
