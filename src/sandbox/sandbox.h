#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace bailiff {

// What a sandbox is given from outside. Borrowed until Prepare() or Launch() returns.
struct SandboxFds {
  const Fd& workspace;  // Directory, open for reading; the read-only lower layer.
  const Fd& in;         // Become descriptors 0, 1 and 2 inside.
  const Fd& out;
  const Fd& err;
  // Directory of the caller's own for what is too much for tmpfs, or too old a one; by name there,
  // <id>.<pid>.<start time>, until the sandbox is destroyed. Null: such a sandbox is refused.
  const Fd* scratch = nullptr;
};

// A View, and which of its directories the workspace has.
struct SeenView {
  View asked;
  std::vector<std::string> whole;
  std::vector<std::string> hollow;
};

// One isolated process tree over a copy-on-write view of a workspace.
//
// Used by a process with one thread, which is the tree's only parent: when that process dies, so
// does the tree. Destruction kills what is left, waits until it is gone, and removes its cgroups,
// mounts and uid. Not thread-safe.
class Sandbox {
 public:
  // Builds the sandbox and starts its program: Prepare(), then Start().
  static Result<Sandbox> Launch(const SandboxSpec& spec, const SandboxFds& fds);

  // Begins to build the sandbox, as a process of its own that goes on while this call's caller does
  // other work. Its program is not started.
  static Result<Sandbox> Prepare(const SandboxSpec& spec, const SandboxFds& fds);

  // Waits until it is built, and starts its program. Once.
  //
  // Errors: kNotFound when argv[0] or cwd does not exist inside (the message says which);
  //         kUnsupported when this kernel lacks a layer, with what to do about it, and for
  //         SandboxSpec::scratch_on_disk in the privileged tier;
  //         kResourceExhausted when no uid is free or scratch and memory exceed what the host has;
  //         kPermissionDenied; kIo. Nothing is left behind. Each may come from any of the three.
  Status Start();

  Sandbox(Sandbox&&) noexcept;
  Sandbox& operator=(Sandbox&&) noexcept;
  ~Sandbox();

  const Guarantees& guarantees() const;

  // Nothing: it sees all of the workspace.
  const std::optional<SeenView>& view() const;

  // Blocks until the tree has ended (every process gone, none just the first), or until `interrupt`
  // is readable or closed at its other end: then nothing. Enforces timeout and watchdogs.
  Result<std::optional<Ending>> Wait(const Fd& interrupt);

  // Kills the whole tree. The next Wait() returns its Ending, with kKilled.
  Status Kill();

  // The upper layer, an open directory; frozen once Wait() gave an Ending.
  const Fd& upper() const;

  // The user namespace in which the upper layer's owner is mapped (nsfs descriptor). A process that
  // joins it may read whatever modes the script left. Rootless tier only; invalid otherwise.
  const Fd& user_namespace() const;

 private:
  struct State;
  explicit Sandbox(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace bailiff
