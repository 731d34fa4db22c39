#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/launcher.h"
#include "sandbox/spec.h"

namespace bailiff {

// One thing that a sandbox must refuse, as it was tried from inside a real one.
struct Probe {
  std::string name;    // "read /etc/shadow"
  bool holds = false;  // It was refused.
  std::string detail;  // How: an errno's text, or what it got.
};

struct Diagnosis {
  std::optional<Guarantees> guarantees;  // Absent when no sandbox could be made:
  std::string failure;                   // then this says why, and what to do.
  std::vector<Probe> probes;

  // Scripts can run here, and all that was tried was refused.
  bool healthy() const;
};

// Runs a probe in a real sandbox over an empty workspace in the temporary directory `scratch`
// (absolute; made and removed by the caller). Errors: kIo; kInternal.
Result<Diagnosis> Diagnose(Launcher& launcher, const std::string& scratch);

}  // namespace bailiff
