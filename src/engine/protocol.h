#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "changeset/capture.h"
#include "sandbox/spec.h"

// What our own processes say to each other: a kind, then fields, one message each. Both ends are
// the same binary, yet every message is decoded as if it came from outside: a monitor holds a
// sandbox.

namespace bailiff {

enum class MessageKind : std::uint8_t {
  // To the launcher.
  kStartMonitor = 1,  // fds: the monitor's end of a socket.
  kStartClerk,        // text: the job. fds: the clerk's end of a socket, then the job's own.
  // To a clerk.
  kRequest,  // fds: the bytes, in a memory file.
  // To a monitor.
  kLaunch,   // A SandboxSpec. fds: workspace, stdin, stdout, stderr.
  kPrepare,  // As kLaunch, but the program waits for
  kStart,    // which is nothing more.
  kKill,     // Nothing more.
  kCapture,  // CaptureOptions. fds: workspace, what gets stage/.
  // From a monitor.
  kLaunched,  // Guarantees.
  kEnded,     // An Ending.
  // From either, and from a clerk.
  kAnswer,  // fds: the bytes, in a memory file.
  kFailed,  // An Error.
  // To a monitor that was told to prepare, instead of kStart:
  kDescribe,  // Nothing starts; kLaunched is the answer when all of it is gone.
};

std::string EncodeKind(MessageKind kind);
Result<MessageKind> DecodeKind(std::string_view message);

std::string EncodeStartClerk(std::string_view job);
Result<std::string> DecodeStartClerk(std::string_view message);

// `kind`: kLaunch or kPrepare.
std::string EncodeLaunch(const SandboxSpec& spec, MessageKind kind = MessageKind::kLaunch);
Result<SandboxSpec> DecodeLaunch(std::string_view message);

std::string EncodeCaptureRequest(const CaptureOptions& options);
Result<CaptureOptions> DecodeCaptureRequest(std::string_view message);

std::string EncodeLaunched(const Guarantees& guarantees);
Result<Guarantees> DecodeLaunched(std::string_view message);

std::string EncodeEnded(const Ending& ending);
Result<Ending> DecodeEnded(std::string_view message);

std::string EncodeFailed(const Error& error);
// The Error that was sent, or kInvalidArgument for a message that is not one.
Error DecodeFailed(std::string_view message);

}  // namespace bailiff
