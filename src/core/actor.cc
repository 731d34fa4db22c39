#include "core/actor.h"

#include <algorithm>

namespace bailiff {

bool CanSee(const Actor& actor, std::string_view case_name, std::string_view principal) {
  if (!actor.cases.has_value() || principal == actor.name) return true;
  return !case_name.empty() &&
         std::find(actor.cases->begin(), actor.cases->end(), case_name) != actor.cases->end();
}

std::optional<Sight> SightOf(const Actor& actor) {
  if (!actor.cases.has_value()) return std::nullopt;
  return Sight{*actor.cases, actor.name};
}

Status RequireRole(const Actor& actor, Role least, std::string_view what) {
  if (actor.role >= least) return Ok();
  return Error(ErrorCode::kPermissionDenied, std::string(what) + ": takes the role " +
                                                 std::string(Name(least)) + "; " + actor.name +
                                                 " has the role " + std::string(Name(actor.role)));
}

}  // namespace bailiff
