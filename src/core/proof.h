#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "core/doctor.h"
#include "sandbox/spec.h"

// What a run may demand, and what was proved of it on this host.
//
// A demand is a list of words, separated by commas:
//
//   none      nothing
//   ns        every layer of a sandbox was proved to hold (core/doctor.h)
//   own-uid   ... and the script has a uid that no other running sandbox has; that depends on the
//             workspace's file system too, and is found out by each run
//   cgroup    ... and cgroups hold memory, processes and CPU time
//   landlock  ... and Landlock is in force
//
// `gvisor` and `vm` are levels that no engine here reaches.

namespace bailiff {

class Context;

// Of the words above, those that hold.
std::vector<std::string> WordsThatHold(const Diagnosis& diagnosis);

// Errors: kInvalidArgument, naming the word and those that there are.
Result<std::vector<std::string>> ParseRequire(const std::string& text);

// What a run with `--require text` ("" for none) demands of its sandbox. The first one to demand
// something has this host examined, for about half a second, and leaves the result in the state
// directory. It counts for this boot, kernel, user, cgroup and binary. While it counts, every run
// demands the cgroups and the Landlock that were proved: what is lost later is an error.
//
// Errors: those of ParseRequire(); kUnsupported when a word does not hold here, with the reason;
//         those of Diagnose().
Result<Demands> DemandsOf(Context& context, const std::string& text);

}  // namespace bailiff
