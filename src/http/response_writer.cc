#include "http/response_writer.h"

#include <array>
#include <charconv>

#include "http/problem.h"

namespace bailiff {
namespace {

void AddHeader(std::string_view name, std::string_view value, std::string* head) {
  head->append(name).append(": ");
  for (const char c : value) {
    const bool is_control = (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
    head->push_back(is_control ? ' ' : c);
  }
  head->append("\r\n");
}

bool IsServers(std::string_view name) {
  return SameWord(name, "Content-Length") || SameWord(name, "Transfer-Encoding") ||
         SameWord(name, "Connection");
}

// A name that could end a line or a name is not one; it is left out whole.
bool IsName(std::string_view name) {
  return !name.empty() && name.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789-_") == std::string_view::npos;
}

}  // namespace

std::string ResponseHead(const HttpResponse& response, BodyFraming framing, bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head.append(StatusTitle(response.status)).append("\r\n");
  for (const auto& [name, value] : response.headers) {
    if (IsName(name) && !IsServers(name)) AddHeader(name, value, &head);
  }
  if (FindHeader(response.headers, "X-Content-Type-Options") == nullptr) {
    AddHeader("X-Content-Type-Options", "nosniff", &head);
  }
  if (FindHeader(response.headers, "Cache-Control") == nullptr) {
    AddHeader("Cache-Control", "no-store", &head);
  }
  switch (framing) {
    case BodyFraming::kLength:
      AddHeader("Content-Length", std::to_string(response.body.size()), &head);
      break;
    case BodyFraming::kChunked:
      AddHeader("Transfer-Encoding", "chunked", &head);
      break;
    case BodyFraming::kUntilEnd:
    case BodyFraming::kNone:
      break;
  }
  AddHeader("Connection", keep_alive ? "keep-alive" : "close", &head);
  head.append("\r\n");
  return head;
}

std::string Chunk(std::string_view piece) {
  std::array<char, 16> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), piece.size(), 16).ptr;
  std::string chunk(digits.begin(), end);
  chunk.append("\r\n").append(piece).append("\r\n");
  return chunk;
}

}  // namespace bailiff
