#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/doctor.h"
#include "core/host_facts.h"
#include "sandbox/spec.h"

// From what two probing sandboxes showed to the layers that hold. Pure.

namespace bailiff {

// A process of the sandbox as the host's kernel shows it, from outside.
struct Look {
  unsigned uid = 0;         // On the host.
  bool root_mapped = true;  // Some id inside is uid or gid 0 of the host.
  bool no_new_privs = false;
  bool no_capabilities = false;     // In no set.
  bool filtered = false;            // By seccomp.
  std::vector<std::string> shared;  // Namespaces that are the host's: "net".
  std::string cgroup;               // /proc/<pid>/cgroup
};

struct Told {
  long number = 0;
  int sys_errno = 0;
};

// What preparing a sandbox over the user's own workspace showed: one of the two.
struct There {
  std::optional<Guarantees> guarantees;
  std::string failure;
};

struct Evidence {
  std::optional<Guarantees> guarantees;
  std::string failure;       // Of the launch, or of the probe; empty: none.
  std::vector<int> outside;  // An errno for each of Attempts(); 0: it worked.
  std::vector<int> inside;
  std::optional<Look> look;
  std::map<std::string, Told> told;  // By the names in core/probe.h.
  int connections = 0;               // That came out of the sandbox.
  std::string damage;                // What changed on the host.
  bool detached_ran = false;         // A process that had left its parent was there,
  bool detached_ended = false;       // and was gone with the sandbox.
  bool memory_killed = false;
  Limits limits;        // Of the first sandbox.
  double few_cpus = 0;  // Of the second.
  std::optional<There> there;
};

std::vector<Layer> JudgeLayers(const Evidence& evidence, const HostFacts& host);
std::vector<Probe> JudgeProbes(const Evidence& evidence);

}  // namespace bailiff
