#pragma once

#include <string>
#include <string_view>

#include "http/message.h"

namespace bailiff {

// How the body of a response is sent.
enum class BodyFraming {
  kLength,    // As a whole, with Content-Length.
  kChunked,   // In chunks.
  kUntilEnd,  // A stream to an HTTP/1.0 client: the end of the connection ends it.
  kNone,      // Of a status that has none: not even Content-Length.
};

// Status line and headers up to the empty line. Adds what every response carries
// (X-Content-Type-Options, and Cache-Control unless it is there).
std::string ResponseHead(const HttpResponse& response, BodyFraming framing, bool keep_alive);

// One piece of a chunked body. An empty piece ends the body.
std::string Chunk(std::string_view piece);

}  // namespace bailiff
