#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/capture.h"
#include "sys/fd.h"

// The file attributes that capture reads besides stat(2).

namespace bailiff {

// "trusted.overlay." or "user.overlay.".
std::string_view OverlayPrefix(OverlayAttributes attributes);

// Fails when this process is shown no trusted.* attributes: every metacopy file would then look
// like one that holds zeros. Errors: kPermissionDenied.
Status ProveTrustedAttributesAreSeen(const Fd& upper);

// The names of the attributes of an open entry (O_PATH allowed); none where the file system has
// none. The kernel leaves out those that the caller may not read.
Result<std::vector<std::string>> ListXattrs(const Fd& fd);

// The names of those attributes that a script can set and a change set does not carry, and that
// `upper` has with a value that `base` (may be invalid: a new entry) has not.
struct ForeignXattrs {
  bool user = false;  // user.*, security.capability.
  bool acl = false;   // system.posix_acl_*.
};
Result<ForeignXattrs> FindForeignXattrs(const Fd& upper, const Fd& base,
                                        OverlayAttributes attributes);

// Copies what a replacement keeps of the file it replaces: ACL, user.* and, where it can be
// written, the security label. Never overlay attributes or file capabilities.
Status CopyBaseXattrs(const Fd& base, const Fd& staged);

// The file handle of `name` in `dir` as an opaque string to compare; empty where the file system
// gives none.
std::string HandleAt(const Fd& dir, const std::string& name);

// The same out of the value of an overlay "origin" attribute; empty when it holds no handle.
std::string HandleOfOrigin(std::string_view value);

// When the entry was made, or 0 where the file system does not tell. Errors: kIo.
Result<std::int64_t> BirthTime(const Fd& dir, const std::string& name);

}  // namespace bailiff
