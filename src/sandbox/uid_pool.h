#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// A host uid that belongs to one running sandbox. `lock` holds it: whoever has a copy of that
// descriptor, the sandbox's pid 1 included, keeps the uid taken.
struct UidLease {
  uid_t uid = 0;
  Fd lock;
};

struct UidRange {
  std::uint32_t first = 2'000'000'000;
  std::uint32_t count = 4096;
};

inline constexpr const char* kUidDirectory = "/run/bailiff/uid";

// Takes a uid that no other process of this host has, by locking a file named after it in
// `directory`, which is made when it does not exist.
//
// Errors: kResourceExhausted when all are taken; kInvalidArgument for a range that holds 0 or ends
//         beyond the last id; kPermissionDenied; kIo.
Result<UidLease> LeaseUid(const std::string& directory, const UidRange& range);

}  // namespace bailiff
