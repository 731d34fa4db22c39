#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/host_facts.h"
#include "engine/launcher.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace bailiff {

enum class Holds : std::uint8_t {
  kYes,
  kWeaker,  // Something else stands in for it, or others hold without it; `why` says what.
  kNo,
};

// One layer of a sandbox: "mounts", "seccomp", "memory". docs/cli.md lists them.
struct Layer {
  std::string name;
  Holds holds = Holds::kNo;
  std::string detail;               // What was seen.
  std::string why;                  // Why it is not kYes.
  std::vector<std::string> advice;  // Commands that would help, each complete.
};

// One thing that a sandbox must refuse, as it was tried from inside a real one and from outside.
struct Probe {
  std::string name;     // "open a file of the host"
  std::string layer;    // Which refuses it.
  bool holds = false;   // It was refused, by that layer.
  std::string detail;   // How: an errno's text, or what it got.
  std::string outside;  // What the same got outside.
};

struct Diagnosis {
  HostFacts host;
  std::optional<Guarantees> guarantees;  // Absent when no sandbox could be made:
  std::string failure;                   // then this says why.
  std::vector<Layer> layers;
  std::vector<Probe> probes;

  // Scripts can run here: no layer is missing.
  bool healthy() const;
  const Layer* Find(const std::string& name) const;
};

// A workspace, and where its configuration has changes go.
struct UserWorkspace {
  const Fd& root;
  bool scratch_on_disk = false;
};

// Tries each layer in two real sandboxes over an empty workspace of its own in /tmp, which it
// removes. Takes about half a second. With `workspace` a third sandbox is prepared over
// that, and nothing run in it: it says what is up to the file system there, which is an own uid.
// Errors: kIo; kInternal.
Result<Diagnosis> Diagnose(Launcher& launcher, const std::optional<UserWorkspace>& workspace);

}  // namespace bailiff
