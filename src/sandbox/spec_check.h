#pragma once

#include "base/result.h"
#include "sandbox/spec.h"

namespace bailiff {

// Refuses a spec that no sandbox can be made of.
// Errors: kInvalidArgument, naming the field; kResourceExhausted when memory and scratch exceed
//         what the host has.
Status CheckSpec(const SandboxSpec& spec);

// Refuses a sandbox that gives less than was demanded. Errors: kUnsupported, naming the layer.
Status CheckDemands(const Demands& demands, const Guarantees& guarantees);

}  // namespace bailiff
