#include "http/sse.h"

#include <algorithm>

namespace bailiff {
namespace {

void AddField(std::string_view name, std::string_view value, std::string* frame) {
  if (value.empty()) return;
  frame->append(name).append(": ");
  for (const char c : value) frame->push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
  frame->push_back('\n');
}

}  // namespace

std::string EventFrame(std::string_view id, std::string_view event, std::string_view data) {
  std::string frame;
  frame.reserve(id.size() + event.size() + data.size() + 32);
  AddField("id", id, &frame);
  AddField("event", event, &frame);
  for (;;) {
    const std::size_t end = std::min(data.find_first_of("\r\n"), data.size());
    frame.append("data: ").append(data.substr(0, end)).push_back('\n');
    if (end == data.size()) break;
    data = data.substr(end + (data.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  frame.push_back('\n');
  return frame;
}

}  // namespace bailiff
