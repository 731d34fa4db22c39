#pragma once

#include <string>
#include <string_view>
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

// What was proved once, in circumstances that are told by their digest.
struct Proof {
  std::string circumstances;
  std::vector<std::string> words;  // That hold.
  int landlock = 0;                // The ABI that was in force.

  bool operator==(const Proof&) const = default;
};

// The proofs in the text of a file, oldest first, at most kProofsMax of them. What cannot be read
// is no proof.
inline constexpr std::size_t kProofsMax = 16;
std::vector<Proof> DecodeProofs(std::string_view text);
std::string EncodeProofs(const std::vector<Proof>& proofs);

// Where among cgroups an unprivileged process is, as far as that decides what it may make there:
// from the text of its /proc/<pid>/cgroup. The names that systemd invents for each login session
// and each transient unit are left out.
std::string PlaceAmongCgroups(std::string_view text);

// Examines this host and `context`'s workspace as Diagnose() does, and keeps what is proved in the
// state directory. It counts for this boot, kernel, user and binary, and this place among cgroups.
// While it counts, every run demands the own uid, the cgroups and the Landlock that were proved. No
// later proof lowers it: what held then and does not now is a layer that is missing, in the answer
// too.
//
// Errors: those of Diagnose(); kIo.
Result<Diagnosis> Prove(Context& context);

// For a process about to give up its privilege: proves what was not proved, and keeps the
// circumstances for `context` and those beside it. Errors: those of Prove().
Status ProveAhead(Context& context);

// What a run with `--require text` ("" for none) demands of its sandbox. The first one to demand
// something proves it; what was proved by then, by `doctor` or by a run, is demanded in any case,
// and losing it is an error.
//
// Errors: those of ParseRequire(); kUnsupported when a word does not hold here, with the reason
//         unless that was ProveAhead()'s to find; those of Prove().
Result<Demands> DemandsOf(Context& context, const std::string& text);

}  // namespace bailiff
