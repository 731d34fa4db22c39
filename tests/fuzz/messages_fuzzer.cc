#include "engine/protocol.h"
#include "tests/fuzz/fuzzing.h"

// What our processes say to each other; one of them holds a sandbox.

namespace bailiff {
namespace {

// A message that is taken says the same when it is sent again.
template <typename T, typename Encode>
void CheckAgain(const Result<T>& decoded, std::string_view message, Encode encode) {
  if (decoded.ok()) CHECK(encode(decoded.value()) == message);
}

void CheckErrorAgain(std::string_view message) {
  const Error error = DecodeFailed(message);
  const std::string again = EncodeFailed(error);
  CHECK(DecodeFailed(again).code() == error.code());
  CHECK(again.size() <= 32UL * 1024 + 8);
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  const std::string_view message = TextOf(data, size);
  (void)DecodeKind(message);  // Any answer, but one.
  CheckAgain(DecodeStartClerk(message), message, EncodeStartClerk);
  CheckAgain(DecodeLaunch(message), message, [&](const SandboxSpec& spec) {
    return EncodeLaunch(spec, DecodeKind(message).value());
  });
  CheckAgain(DecodeCaptureRequest(message), message, EncodeCaptureRequest);
  CheckAgain(DecodeLaunched(message), message, EncodeLaunched);
  CheckAgain(DecodeEnded(message), message, EncodeEnded);
  CheckErrorAgain(message);
  return 0;
}
