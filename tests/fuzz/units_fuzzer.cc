#include <cmath>

#include "base/units.h"
#include "tests/fuzz/fuzzing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  using std::chrono::milliseconds;
  const std::string_view text = TextOf(data, size);
  const Result<milliseconds> duration = ParseDuration(text);
  if (duration.ok()) {
    CHECK(duration.value() >= milliseconds(1));
    const std::string again = std::to_string(duration.value().count()) + "ms";
    CHECK(ParseDuration(again).value() == duration.value());
  }
  const Result<std::int64_t> bytes = ParseSize(text);
  if (bytes.ok()) {
    CHECK(bytes.value() >= 1);
    // A double holds no more digits.
    constexpr std::int64_t kExact = std::int64_t{1} << 53;
    if (bytes.value() <= kExact)
      CHECK(ParseSize(std::to_string(bytes.value())).value() == bytes.value());
    CHECK(!FormatSize(bytes.value()).empty());
  }
  const Result<std::int64_t> count = ParseCount(text, 1'000'000);
  if (count.ok()) {
    CHECK(count.value() >= 1 && count.value() <= 1'000'000);
    CHECK(ParseCount(std::to_string(count.value()), 1'000'000).value() == count.value());
  }
  const Result<double> positive = ParsePositive(text);
  if (positive.ok()) CHECK(std::isfinite(positive.value()) && positive.value() > 0);
  return 0;
}
