#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// One line of a uid_map or gid_map: `count` ids from `inside` on are those from `outside` on.
struct IdRange {
  std::uint32_t inside;
  std::uint32_t outside;
  std::uint32_t count;

  bool operator==(const IdRange&) const = default;
};

struct IdMaps {
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;
};

// Whether processes of the new namespace may change their supplementary groups. A writer without
// privilege must deny it.
enum class SetGroups { kAllow, kDeny };

// Gives the user namespace of `pid`, which must be new, its ids.
// Errors: kPermissionDenied; kIo.
Status WriteIdMaps(pid_t pid, const IdMaps& maps, SetGroups set_groups);

// A map of every id to itself, except that `a` and `b` are exchanged.
std::vector<IdRange> ExchangeIds(std::uint32_t a, std::uint32_t b);

// A user namespace with no process in it, for idmapped mounts. Needs CAP_SETUID and CAP_SETGID.
Result<Fd> MakeUserNamespace(const IdMaps& maps);

// The user namespace of process `pid`.
Result<Fd> OpenUserNamespace(pid_t pid);

// True in the user namespace that the machine started with.
Result<bool> InInitialUserNamespace();

}  // namespace bailiff
