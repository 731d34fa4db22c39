#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

// What is tried to find out whether a layer holds: the same system calls outside, where they work,
// and inside a sandbox, where they must not.

namespace bailiff {

// Things of the host that a sandbox must not reach. Made by Canaries, in core/canaries.h.
struct Places {
  std::string workspace;  // As the one who tries sees it.
  std::string file;       // Absolute path of a file outside of the workspace.
  std::string socket;     // Absolute path of a listening unix socket.
  std::string abstract;   // Name of a listening abstract one, without the zero before it.
  int port = 0;           // 127.0.0.1, listening.
  int process = 0;        // Of the same uid, when it is tried outside.
  int memory = 0;         // Key of a System V segment.
};

struct Attempt {
  const char* name;         // "open a file of the host"
  const char* layer;        // Of Diagnosis::layers.
  std::vector<int> errnos;  // How a sandbox refuses it.
};

std::span<const Attempt> Attempts();

// Tries each, in a process of its own; gives an errno for each, 0 where it worked. `host_dir` is an
// open directory outside of the workspace with a file "file" in it.
// Errors: kIo when no process can be made.
Result<std::vector<int>> TryAll(const Places& places, const Fd& host_dir);

// The command line of the program that tries them in a sandbox: this same binary.
inline constexpr const char* kProbeProgram = "/workspace/probe";
std::vector<std::string> ProbeCommand(const Places& places);
// As little memory and CPU time as a sandbox is given, and then more.
std::vector<std::string> ExhaustCommand(std::int64_t memory_bytes);

// What the probe prints, one a line: "name number errno".
inline constexpr const char* kProbeReady = "ready";
inline constexpr const char* kProbeAttempt = "attempt";  // number: index.
inline constexpr const char* kProbeOverlay = "overlay";  // number: the step that failed.
inline constexpr const char* kProbeScratch = "scratch";  // number: bytes until errno.
inline constexpr const char* kProbeFiles = "files";      // number: files until errno.
inline constexpr const char* kProbePids = "pids";        // number: processes until errno.
inline constexpr const char* kProbeCpu = "cpu";          // number: thousandths of one processor.
inline constexpr const char* kProbeSurvived = "survived";

// What `bailiff probe` does, in a sandbox: standard input is a message socket. First it and a
// process that has detached itself from it each send a message there and "ready" is printed; then
// it waits for one with `host_dir`. `words` are those after "probe". Returns the exit status.
int RunProbe(const std::vector<std::string>& words);

}  // namespace bailiff
