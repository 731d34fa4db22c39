#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/role.h"
#include "store/store.h"

namespace bailiff {

// Who asks for something, and what they may do.
struct Actor {
  std::string name;  // "local:1000", "token:intake-agent", "system"
  Role role = Role::kAdmin;
  // The cases it is limited to, with Tools/; nothing: all of the workspace.
  std::optional<std::vector<std::string>> cases{};
  // Works on the state directory itself, so nothing here could keep it from approving its own work.
  bool embedded = false;
};

// Whether `actor` may know of what belongs to `case_name` (empty: none) and was asked for by
// `principal`.
bool CanSee(const Actor& actor, std::string_view case_name, std::string_view principal);

// The same for lists.
std::optional<Sight> SightOf(const Actor& actor);

// Errors: kPermissionDenied when the actor's role is below `least`; the message says that `what`
// takes that role.
Status RequireRole(const Actor& actor, Role least, std::string_view what);

}  // namespace bailiff
