#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/file.h"

// Modes, times, owners and ACLs of entries that are held open, never by path.

namespace bailiff {

// What a new entry inherits from the directory it appears in.
struct Inheritance {
  bool setgid = false;
  gid_t gid = 0;            // Meaningful if `setgid`.
  std::string default_acl;  // As the kernel stores it; empty: none.
};

Result<Inheritance> InheritanceOf(const Fd& dir);

// `fd` may be an O_PATH descriptor.
Status SetMode(const Fd& fd, std::uint32_t mode);

// `fd` may be an O_PATH descriptor, also of a symbolic link.
Status SetMtime(const Fd& fd, std::int64_t mtime_ns);

// Does nothing where it is so already: a mount that presents one owner may refuse even that.
Status SetOwner(const Entry& entry, uid_t uid, gid_t gid);

// What the kernel makes of a default ACL for an entry that is created with `mode`.
struct AccessAcl {
  std::string acl;
  std::uint32_t mode = 0;
};
std::optional<AccessAcl> DeriveAccessAcl(const std::string& default_acl, std::uint32_t mode);

// Gives an open file or directory what it would have had, had it been created in a directory with
// this inheritance. Returns its mode. A directory also gets the default ACL and the setgid bit.
Result<std::uint32_t> Inherit(const Fd& entry, const Inheritance& from, std::uint32_t mode);

// Whether this process may list, enter and change the directory. On FUSE, NFS and the like its
// owner has to be allowed to: what serves it counts no capability of ours.
bool MayChange(const Fd& dir);

}  // namespace bailiff
