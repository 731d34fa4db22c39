#include "changeset/capture_attributes.h"
#include "journal/attributes.h"
#include "tests/fuzz/fuzzing.h"

// Binary attributes that others wrote: the overlay's origin, and a directory's default ACL.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  std::string_view input = TextOf(data, size);
  if (Choose(&input, 2) == 0) {
    const std::string handle = HandleOfOrigin(input);
    CHECK(handle.size() <= input.size());
    return 0;
  }
  const std::optional<AccessAcl> access = DeriveAccessAcl(std::string(input), 0640);
  if (!access.has_value()) return 0;
  CHECK((access->mode & ~std::uint32_t{0777}) == 0);
  CHECK(access->acl.size() <= input.size());
  return 0;
}
