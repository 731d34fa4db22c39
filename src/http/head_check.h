#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/limits.h"

namespace bailiff {

// Why a request is not read any further.
struct Refusal {
  int status;
  std::string code;
  std::string detail;
};

// Whether the beginning of a request can still become a head that CheckHead() takes. For bytes
// without an empty line so far.
std::optional<Refusal> CheckPartialHead(std::string_view bytes, const HttpLimits& limits);

// Checks a head, from the request line to the empty line, byte by byte against RFC 9112: wherever
// two programs could read it differently, it is refused. That is more than the parser behind it
// does, which is made to cope with what clients send.
std::optional<Refusal> CheckHead(std::string_view head, const HttpLimits& limits);

}  // namespace bailiff
