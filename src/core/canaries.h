#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/result.h"
#include "core/probe.h"
#include "sys/fd.h"

namespace bailiff {

// Things of this host that show whether a sandbox reached them, in a new directory below /tmp:
//
//   file               a file outside of the workspace
//   socket             a listening unix socket
//   workspace/         probe, keep, gone, old/file, .bailiff/secret
//   scratch/           see SandboxFds
//
// and a port, an abstract socket, a process and a segment of shared memory. Destruction removes
// all of them.
class Canaries {
 public:
  // Errors: kIo; kResourceExhausted; kPermissionDenied.
  static Result<std::unique_ptr<Canaries>> Make();

  ~Canaries();
  Canaries(const Canaries&) = delete;
  Canaries& operator=(const Canaries&) = delete;

  const Places& places() const { return places_; }  // As seen from outside.
  const Fd& dir() const { return dir_; }
  const Fd& workspace() const { return workspace_; }
  const Fd& scratch() const { return scratch_; }

  // How many connections the three sockets have got since this was asked last.
  int Connections() const;

  // What is no longer as it was made; empty: nothing.
  std::string Damage() const;

 private:
  Canaries() = default;
  Status MakeFiles();
  Status MakeSockets();
  Status MakeProcess();
  Status MakeMemory();

  std::string path_;
  Fd dir_;
  Fd workspace_;
  Fd scratch_;
  Places places_;
  std::array<Fd, 3> listeners_;
  int memory_id_ = -1;
};

}  // namespace bailiff
