#include "base/bytes.h"
#include "base/sha256.h"
#include "ledger/ledger.h"
#include "ledger/record.h"
#include "ledger/signing_key.h"
#include "ledger/verify.h"
#include "tests/fuzz/fuzzing.h"

// Lines of a segment, checkpoints, keys, and a ledger as a whole. Of a line the hash is made right
// here, so that a search gets past it.

namespace bailiff {
namespace {

void CheckLine(std::string_view text) {
  const std::string prev(Sha256::kSize, '\0');
  // The record states what it follows; without that it is refused anyway.
  const std::string line = ToHex(Sha256::Of(prev + std::string(text))) + " " + std::string(text);
  for (const std::string& tried : {line, std::string(text)}) {
    Result<ChainedRecord> chained = ParseLine(tried);
    if (!chained.ok()) continue;
    // As we write it, it reads as the same.
    Record record = chained.value().record;
    const std::string again = FormatLine(&record, chained.value().prev);
    const Result<ChainedRecord> second =
        ParseLine(std::string_view(again).substr(0, again.size() - 1));
    CHECK(second.ok());
    CHECK(second.value().record.seq == chained.value().record.seq);
    CHECK(second.value().record.type == chained.value().record.type);
    CHECK(second.value().prev == chained.value().prev);
  }
}

void CheckCheckpoint(std::string_view text) {
  static const MemoryDir dir;
  static const SigningKey key = SigningKey::Load(dir.fd(), SigningKey::MayCreate::kYes).value();
  static const PublicKey other = PublicKey::FromPem(key.PublicPem()).value();
  const Result<SignedHead> head = ParseSignedHead(text);
  if (!head.ok()) return;
  CHECK(head.value().head.size() == Sha256::kSize);
  const std::string signed_again = SignHead(head.value(), key);
  const SignedHead second = ParseSignedHead(signed_again).value();
  CHECK(second.ledger_id == head.value().ledger_id && second.seq == head.value().seq);
  CHECK(IsSignedBy(signed_again, second, other));
  CHECK(IsSignedBy(text, head.value(), other) == (text == signed_again));
}

void CheckWhole(std::string_view text) {
  static const MemoryDir keys;
  static const SigningKey key = SigningKey::Load(keys.fd(), SigningKey::MayCreate::kYes).value();
  static const MemoryDir dir;
  const std::size_t split = text.find('\0');
  dir.Put(SegmentName(1), text.substr(0, split));
  dir.Put("checkpoint", split == text.npos ? "" : text.substr(split + 1));
  const Result<VerifyReport> report = Verify(dir.fd(), key.PublicPem(), std::nullopt);
  // No key of ours signed it, so that nothing passes.
  CHECK(!report.ok() || report.value().finding != LedgerFinding::kOk);
  if (report.ok()) CHECK(!Describe(report.value()).empty());
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  std::string_view input = TextOf(data, size);
  switch (Choose(&input, 4)) {
    case 0:
      CheckLine(input);
      break;
    case 1:
      CheckCheckpoint(input);
      break;
    case 2:
      CheckWhole(input);
      break;
    default:
      (void)PublicKey::FromPem(input);  // Any answer, but one.
      break;
  }
  return 0;
}
