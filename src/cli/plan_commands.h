#pragma once

#include <string>

#include "cli/session.h"
#include "core/plans.h"

// The commands of `bailiff plan`. `file`: as given, "-" for standard input. Each returns the exit
// status.

namespace bailiff {

int PlanValidateCommand(Session& session, const std::string& file);
int PlanSubmitCommand(Session& session, const std::string& file, const std::string& wait_lock);
int PlanApplyCommand(Session& session, const std::string& id, const std::string& wait_lock);
int PlanShowCommand(Session& session, const std::string& id);
int PlanListCommand(Session& session, const std::string& limit);

// A plan for people to read.
std::string PlanText(const PlanDocument& plan);

}  // namespace bailiff
