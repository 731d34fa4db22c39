#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace bailiff {

// Lower-case hexadecimal.
std::string ToHex(std::string_view bytes);

// Errors: kInvalidArgument when `hex` is not an even number of hexadecimal digits.
Result<std::string> FromHex(std::string_view hex);

// RFC 4648 base64 with padding.
std::string ToBase64(std::string_view bytes);

// Errors: kInvalidArgument.
Result<std::string> FromBase64(std::string_view text);

bool IsUtf8(std::string_view bytes);

// `bytes` with each byte that is not part of valid UTF-8 replaced by U+FFFD.
std::string ToUtf8Lossy(std::string_view bytes);

// For text that a terminal will show: invalid UTF-8, control characters (but newline and tab where
// `multiline`), C1 controls, bidirectional and other invisible format characters appear escaped as
// \xNN or \u{NNNN}. A script chooses the names and contents that pass through here.
enum class Lines { kSingle, kMultiple };
std::string EscapeForTerminal(std::string_view bytes, Lines lines);

class ByteWriter;

// Writes the same bytes each time that it is called.
using Encoding = std::function<void(ByteWriter*)>;

// Fixed-size little-endian integers and length-prefixed strings, one after the other. The inverse
// of ByteReader; the encoding of change sets, journals and messages between our processes.
class ByteWriter {
 public:
  using Sink = std::function<void(std::string_view)>;

  // Collects everything, for data() and Take().
  ByteWriter() = default;

  // Hands everything on to `sink`, some tens of KiB at a time: what is encoded need not be in
  // memory as a whole.
  explicit ByteWriter(Sink sink) : sink_(std::move(sink)) {}

  void U8(std::uint8_t value);
  void U32(std::uint32_t value);
  void U64(std::uint64_t value);
  void I64(std::int64_t value) { U64(static_cast<std::uint64_t>(value)); }
  void Bytes(std::string_view value);  // u32 length, then the bytes.
  void Raw(std::string_view value);    // The bytes alone.

  // Hands on what is left. Call it last, where there is a sink.
  void Flush();

  const std::string& data() const { return data_; }
  std::string Take() { return std::move(data_); }

 private:
  friend std::string Encoded(const Encoding& encoding);

  void FlushIfLarge();

  Sink sink_;
  std::string data_;
};

// How many bytes `encoding` writes.
std::size_t EncodedSize(const Encoding& encoding);

// What `encoding` writes, in memory of just that size: a large result is not copied while it grows.
std::string Encoded(const Encoding& encoding);

// Reads what ByteWriter wrote, from untrusted bytes. The first read past the end makes every later
// one return zero or empty; check ok() once at the end.
class ByteReader {
 public:
  // `data` must outlive the reader.
  explicit ByteReader(std::string_view data) : rest_(data) {}

  std::uint8_t U8();
  std::uint32_t U32();
  std::uint64_t U64();
  std::int64_t I64() { return static_cast<std::int64_t>(U64()); }
  std::string Bytes() { return std::string(View()); }
  std::string_view View();  // As Bytes(), for as long as the data lives.

  // For a caller that found a value it cannot accept.
  void Fail();

  bool ok() const { return ok_; }
  bool AtEnd() const { return rest_.empty(); }
  std::size_t remaining() const { return rest_.size(); }

 private:
  std::string_view Consume(std::size_t size);

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace bailiff
