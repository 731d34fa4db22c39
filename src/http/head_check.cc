#include "http/head_check.h"

#include <algorithm>

#include "http/message.h"

namespace bailiff {
namespace {

constexpr std::size_t kMethodBytesMax = 32;
constexpr std::size_t kLengthDigitsMax = 18;  // What fits into 64 bits, whatever the digits are.

Refusal BadRequest(std::string detail) {
  return {400, "bad_request", std::move(detail)};
}

bool IsTokenChar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

bool IsValueChar(char c) {
  return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
}

std::string_view Trim(std::string_view text) {
  const std::size_t start = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(start, text.find_last_not_of(" \t") + 1 - start);
}

std::optional<Refusal> CheckLineEndings(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r')) {
      return BadRequest("a line of the head ends without a carriage return");
    }
    if (bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] != '\n') {
      return BadRequest("a carriage return in the head without a line feed");
    }
  }
  return std::nullopt;
}

Refusal TargetTooLong(const HttpLimits& limits) {
  return {414, "target_too_long",
          "the request target may have " + std::to_string(limits.target_bytes_max) + " bytes"};
}

Refusal HeadTooLarge(const HttpLimits& limits) {
  return {
      431, "head_too_large",
      "request line and headers may have " + std::to_string(limits.header_bytes_max) + " bytes"};
}

std::optional<Refusal> CheckRequestLine(std::string_view line, const HttpLimits& limits) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return BadRequest("the request line must be METHOD TARGET HTTP/1.1");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(method)) return BadRequest("the method is not a token");
  if (version.size() != 8 || !version.starts_with("HTTP/") || version[6] != '.' ||
      version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9') {
    return BadRequest("the request line must be METHOD TARGET HTTP/1.1");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Refusal{505, "version_not_supported", "this server speaks HTTP/1.1"};
  }
  if (method.size() > kMethodBytesMax || method == "CONNECT") {
    return Refusal{501, "method_not_implemented", "this server has no such method"};
  }
  if (target.size() > limits.target_bytes_max) return TargetTooLong(limits);
  return std::nullopt;
}

// What the headers that say where a message ends, and for whom it is, have told so far.
struct Framing {
  int hosts = 0;
  int lengths = 0;
  int encodings = 0;
};

std::optional<Refusal> CheckFraming(std::string_view name, std::string_view value,
                                    Framing* framing) {
  if (SameWord(name, "Host")) {
    ++framing->hosts;
    if (value.find_first_of(" \t,/@?#\\") != std::string_view::npos) {
      return BadRequest("Host must be a name or an address, with a port if need be");
    }
  } else if (SameWord(name, "Content-Length")) {
    ++framing->lengths;
    const bool digits = !value.empty() && value.size() <= kLengthDigitsMax &&
                        value.find_first_not_of("0123456789") == std::string_view::npos;
    if (!digits) return BadRequest("Content-Length must be one number");
  } else if (SameWord(name, "Transfer-Encoding")) {
    ++framing->encodings;
    if (!SameWord(value, "chunked")) return BadRequest("Transfer-Encoding must be chunked");
  } else if (SameWord(name, "Expect") && !SameWord(value, "100-continue")) {
    return Refusal{417, "expectation_failed", "the only expectation known is 100-continue"};
  }
  return std::nullopt;
}

std::optional<Refusal> CheckHeader(std::string_view line, Framing* framing) {
  if (line.starts_with(' ') || line.starts_with('\t')) {
    return BadRequest("a header is continued on a second line");
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return BadRequest("a header has no colon");
  const std::string_view name = line.substr(0, colon);
  if (!IsToken(name)) return BadRequest("the name of a header is not a token");
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), IsValueChar)) {
    return BadRequest("a header has a control character");
  }
  return CheckFraming(name, value, framing);
}

std::optional<Refusal> CheckCounts(const Framing& framing, bool is_old) {
  if (framing.hosts > 1 || (framing.hosts == 0 && !is_old)) {
    return BadRequest("a request must have one Host");
  }
  if (framing.lengths > 1) return BadRequest("a request may have one Content-Length");
  if (framing.encodings > 1) return BadRequest("a request may have one Transfer-Encoding");
  if (framing.encodings > 0 && framing.lengths > 0) {
    return BadRequest("a request may have Content-Length or Transfer-Encoding, not both");
  }
  if (framing.encodings > 0 && is_old) return BadRequest("HTTP/1.0 has no Transfer-Encoding");
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> CheckPartialHead(std::string_view bytes, const HttpLimits& limits) {
  if (std::optional<Refusal> refusal = CheckLineEndings(bytes)) return refusal;
  const bool is_first_line = bytes.find('\r') == std::string_view::npos;
  if (is_first_line && bytes.size() > limits.target_bytes_max + 2 * kMethodBytesMax) {
    return TargetTooLong(limits);
  }
  if (bytes.size() > limits.header_bytes_max) return HeadTooLarge(limits);
  return std::nullopt;
}

std::optional<Refusal> CheckHead(std::string_view head, const HttpLimits& limits) {
  if (std::optional<Refusal> refusal = CheckLineEndings(head)) return refusal;
  const std::string_view request_line = head.substr(0, head.find("\r\n"));
  if (std::optional<Refusal> refusal = CheckRequestLine(request_line, limits)) return refusal;
  if (head.size() > limits.header_bytes_max) return HeadTooLarge(limits);
  Framing framing;
  std::size_t count = 0;
  std::string_view rest = head.substr(request_line.size() + 2);
  while (rest != "\r\n") {
    const std::size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) return BadRequest("the head has no end");
    if (std::optional<Refusal> refusal = CheckHeader(rest.substr(0, end), &framing)) {
      return refusal;
    }
    if (++count > limits.headers_max) {
      return Refusal{431, "too_many_headers",
                     "a request may have " + std::to_string(limits.headers_max) + " headers"};
    }
    rest.remove_prefix(end + 2);
  }
  return CheckCounts(framing, request_line.ends_with("HTTP/1.0"));
}

}  // namespace bailiff
