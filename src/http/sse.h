#pragma once

#include <string>
#include <string_view>

namespace bailiff {

// One server-sent event: "id: ...", "event: ...", a "data: ..." for each line, an empty line. An
// empty `id` or `event` is left out. Line breaks in those two become spaces; in `data`, "\n",
// "\r\n" and "\r" each end a line, which is how a browser would read them.
std::string EventFrame(std::string_view id, std::string_view event, std::string_view data);

}  // namespace bailiff
