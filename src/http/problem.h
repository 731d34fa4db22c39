#pragma once

#include <string_view>

#include "http/message.h"

namespace bailiff {

// An error as RFC 9457 wants it: {"type", "title", "status", "detail", "code", "field"?}. `code` is
// for programs and stays the same; `detail` is for people. `field` names what was wrong.
HttpResponse Problem(int status, std::string_view code, std::string_view detail,
                     std::string_view field = "");

// "Not Found".
std::string_view StatusTitle(int status);

}  // namespace bailiff
