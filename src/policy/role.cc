#include "policy/role.h"

#include "base/bytes.h"
#include "base/check.h"

namespace bailiff {

std::string_view Name(Role role) {
  switch (role) {
    case Role::kAgent:
      return "agent";
    case Role::kReviewer:
      return "reviewer";
    case Role::kAdmin:
      return "admin";
  }
  CheckFailed("Role out of range", __FILE__, __LINE__);
}

Result<Role> ParseRole(std::string_view name) {
  for (const Role role : {Role::kAgent, Role::kReviewer, Role::kAdmin}) {
    if (name == Name(role)) return role;
  }
  return Error(ErrorCode::kInvalidArgument, "'" + EscapeForTerminal(name, Lines::kSingle) +
                                                "' is not a role; use agent, reviewer or admin");
}

}  // namespace bailiff
