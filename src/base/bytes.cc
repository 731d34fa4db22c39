#include "base/bytes.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

namespace bailiff {
namespace {

struct Decoded {
  char32_t code_point = 0;
  std::size_t size = 0;  // 0 when the bytes are not valid UTF-8.
};

// The bits that the first byte of a sequence of `size` bytes gives, and the smallest code point
// that may be written with so many bytes (a longer form than needed is not valid UTF-8).
struct Form {
  std::uint8_t mask;
  char32_t smallest;
};
constexpr std::array<Form, 5> kForms = {
    {{0, 0}, {0x7f, 0}, {0x1f, 0x80}, {0x0f, 0x800}, {0x07, 0x10000}}};

std::size_t SequenceSize(std::uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

Decoded DecodeOne(std::string_view bytes) {
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  const std::size_t size = SequenceSize(first);
  if (size == 0 || size > bytes.size()) return {};
  char32_t code_point = first & kForms[size].mask;
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<std::uint8_t>(bytes[i]);
    if ((next & 0xc0) != 0x80) return {};
    code_point = (code_point << 6) | (next & 0x3fU);
  }
  if (code_point < kForms[size].smallest || code_point > 0x10ffff) return {};
  if (code_point >= 0xd800 && code_point < 0xe000) return {};
  return {code_point, size};
}

// Characters that change how a line looks without being seen: C1 controls, soft hyphen, zero-width
// and bidirectional controls (the Trojan Source set), line and paragraph separators, tags.
bool IsInvisible(char32_t c) {
  if (c >= 0x80 && c < 0xa0) return true;
  if (c == 0xad || c == 0x61c || c == 0x180e || c == 0xfeff) return true;
  if (c >= 0x200b && c <= 0x200f) return true;
  if (c >= 0x2028 && c <= 0x202e) return true;
  if (c >= 0x2060 && c <= 0x206f) return true;
  if (c >= 0xfff9 && c <= 0xfffb) return true;
  return c >= 0xe0000 && c <= 0xe007f;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

template <typename Word>
void AppendLittleEndian(Word value, std::string* bytes) {
  std::array<char, sizeof(Word)> word{};
  for (char& byte : word) {
    byte = static_cast<char>(value & 0xff);
    value >>= 8;
  }
  bytes->append(word.data(), word.size());
}

}  // namespace

std::string ToHex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

Result<std::string> FromHex(std::string_view hex) {
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    const int high = HexDigit(hex[i]);
    const int low = HexDigit(hex[i + 1]);
    if (high < 0 || low < 0) break;
    bytes += static_cast<char>(high * 16 + low);
  }
  if (bytes.size() * 2 != hex.size()) {
    return Error(ErrorCode::kInvalidArgument, "not an even number of hexadecimal digits");
  }
  return bytes;
}

std::string ToBase64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

Result<std::string> FromBase64(std::string_view text) {
  if (text.size() % 4 != 0) return Error(ErrorCode::kInvalidArgument, "not base64");
  std::string bytes(text.size() / 4 * 3 + 1, '\0');
  const int size = ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  if (size < 0) return Error(ErrorCode::kInvalidArgument, "not base64");
  std::size_t padding = 0;
  while (padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  if (padding > 2) return Error(ErrorCode::kInvalidArgument, "not base64");
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Decoded next = DecodeOne(bytes);
    if (next.size == 0) return false;
    bytes.remove_prefix(next.size);
  }
  return true;
}

std::string ToUtf8Lossy(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Decoded next = DecodeOne(bytes);
    if (next.size == 0) {
      text += "\xef\xbf\xbd";
      bytes.remove_prefix(1);
      continue;
    }
    text += bytes.substr(0, next.size);
    bytes.remove_prefix(next.size);
  }
  return text;
}

std::string EscapeForTerminal(std::string_view bytes, Lines lines) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Decoded next = DecodeOne(bytes);
    const std::size_t size = next.size == 0 ? 1 : next.size;
    const char32_t c = next.code_point;
    const bool line_break = lines == Lines::kMultiple && (c == '\n' || c == '\t');
    if (next.size == 0 || ((c < 0x20 || c == 0x7f) && !line_break)) {
      text += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(bytes[0]));
    } else if (IsInvisible(c)) {
      text += fmt::format("\\u{{{:04x}}}", static_cast<std::uint32_t>(c));
    } else {
      text += bytes.substr(0, size);
    }
    bytes.remove_prefix(size);
  }
  return text;
}

void ByteWriter::FlushIfLarge() {
  constexpr std::size_t kPieceBytes = 64UL * 1024;
  if (data_.size() >= kPieceBytes && sink_) Flush();
}

void ByteWriter::Flush() {
  if (!data_.empty()) sink_(data_);
  data_.clear();
}

void ByteWriter::U8(std::uint8_t value) {
  data_ += static_cast<char>(value);
}

void ByteWriter::U32(std::uint32_t value) {
  AppendLittleEndian(value, &data_);
}

void ByteWriter::U64(std::uint64_t value) {
  AppendLittleEndian(value, &data_);
}

void ByteWriter::Bytes(std::string_view value) {
  CHECK(value.size() <= UINT32_MAX);
  U32(static_cast<std::uint32_t>(value.size()));
  Raw(value);
}

void ByteWriter::Raw(std::string_view value) {
  data_ += value;
  FlushIfLarge();
}

std::size_t EncodedSize(const Encoding& encoding) {
  std::size_t size = 0;
  ByteWriter writer([&size](std::string_view bytes) { size += bytes.size(); });
  encoding(&writer);
  writer.Flush();
  return size;
}

std::string Encoded(const Encoding& encoding) {
  ByteWriter writer;
  writer.data_.reserve(EncodedSize(encoding));
  encoding(&writer);
  return writer.Take();
}

void ByteReader::Fail() {
  ok_ = false;
  rest_ = {};
}

std::string_view ByteReader::Consume(std::size_t size) {
  if (!ok_ || size > rest_.size()) {
    Fail();
    return {};
  }
  const std::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

std::uint8_t ByteReader::U8() {
  const std::string_view bytes = Consume(1);
  return bytes.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(bytes[0]);
}

std::uint32_t ByteReader::U32() {
  std::uint32_t value = 0;
  int shift = 0;
  for (const char c : Consume(4)) {
    value |= std::uint32_t{static_cast<std::uint8_t>(c)} << shift;
    shift += 8;
  }
  return value;
}

std::uint64_t ByteReader::U64() {
  std::uint64_t value = 0;
  int shift = 0;
  for (const char c : Consume(8)) {
    value |= std::uint64_t{static_cast<std::uint8_t>(c)} << shift;
    shift += 8;
  }
  return value;
}

std::string_view ByteReader::View() {
  const std::uint32_t size = U32();
  return Consume(size);
}

}  // namespace bailiff
