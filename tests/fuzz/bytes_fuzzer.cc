#include "base/bytes.h"
#include "base/ids.h"
#include "tests/fuzz/fuzzing.h"

// What every name and every byte of a script passes through.

namespace bailiff {
namespace {

void CheckEscaped(std::string_view bytes, Lines lines) {
  const std::string escaped = EscapeForTerminal(bytes, lines);
  CHECK(IsUtf8(escaped));
  for (const char c : escaped) {
    const auto byte = static_cast<std::uint8_t>(c);
    const bool line_break = lines == Lines::kMultiple && (c == '\n' || c == '\t');
    CHECK((byte >= 0x20 && byte != 0x7f) || line_break);
  }
  CHECK(EscapeForTerminal(escaped, lines) == escaped);  // Nothing is left to escape.
  CHECK(escaped.size() <= bytes.size() * 4);
}

void CheckHex(std::string_view text) {
  CHECK(FromHex(ToHex(text)).value() == text);
  const Result<std::string> raw = FromHex(text);
  if (raw.ok()) CHECK(raw.value().size() * 2 == text.size());
}

void CheckBase64(std::string_view text) {
  CHECK(FromBase64(ToBase64(text)).value() == text);
  const Result<std::string> raw = FromBase64(text);
  if (raw.ok()) CHECK(raw.value().size() <= text.size());
}

void CheckUtf8(std::string_view bytes) {
  const std::string lossy = ToUtf8Lossy(bytes);
  CHECK(IsUtf8(lossy));
  CHECK(IsUtf8(bytes) == (lossy == bytes));
  CHECK(lossy.size() <= bytes.size() * 3);
}

void CheckReader(std::string_view bytes) {
  ByteReader reader(bytes);
  ByteWriter again;
  std::string field;
  while (reader.ok() && !reader.AtEnd()) {
    const std::size_t before = reader.remaining();
    field = reader.Bytes();
    if (!reader.ok()) break;
    again.Bytes(field);
    CHECK(reader.remaining() + field.size() + 4 == before);
  }
  if (reader.ok()) CHECK(again.data() == bytes);
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  const std::string_view text = TextOf(data, size);
  CheckEscaped(text, Lines::kSingle);
  CheckEscaped(text, Lines::kMultiple);
  CheckHex(text);
  CheckBase64(text);
  CheckUtf8(text);
  CheckReader(text);
  if (IsId(text))
    CHECK(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == text.npos);
  return 0;
}
