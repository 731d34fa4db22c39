#include "changeset/capture.h"
#include "changeset/diff.h"
#include "changeset/model.h"
#include "tests/fuzz/fuzzing.h"

// What the caller reads of a clerk that read what a script left, and what the database holds.

namespace bailiff {
namespace {

DiffSources Nothing() {
  const DiffSources::Read read = [](const Change&,
                                    std::size_t) -> Result<std::optional<std::string>> {
    return std::optional<std::string>();
  };
  return {read, read};
}

void CheckSet(const ChangeSet& set) {
  for (const Change& change : set.changes) {
    CHECK(ValidatePath(change.path).ok());
    CHECK(!QuotePath(change.path).empty());
  }
  // A sound set is shown, counted and named, whatever else it says.
  CHECK(Digest(set).size() == 32);
  CHECK(Count(set).total() == static_cast<std::int64_t>(set.changes.size()));
  const std::string lines = RenderChanges(set, {});
  CHECK(std::count(lines.begin(), lines.end(), '\n') >=
        static_cast<std::ptrdiff_t>(set.changes.size()));
  CHECK(RenderDiff(set, Nothing(), {}).ok());
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  std::string_view input = TextOf(data, size);
  if (Choose(&input, 2) == 0) {
    const Result<ChangeSet> set = Decode(input);
    if (!set.ok()) return 0;
    CHECK(Encode(set.value()) == input);
    CheckSet(set.value());
    return 0;
  }
  const Result<CaptureResult> capture = DecodeCapture(input);
  if (!capture.ok()) return 0;
  CHECK(EncodeCapture(capture.value()) == input);
  CheckSet(capture.value().set);
  return 0;
}
