#pragma once

#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/cli.h"
#include "core/context.h"

namespace bailiff {

// The options that every command takes.
struct GlobalOptions {
  std::string workspace;
  std::string state;
  std::string config;
  bool json = false;
  bool quiet = false;
};

// One command being carried out: where it works, and how it speaks.
class Session {
 public:
  Session(const Surroundings& surroundings, const GlobalOptions& options)
      : surroundings_(surroundings), options_(options) {}

  const GlobalOptions& options() const { return options_; }
  const Surroundings& surroundings() const { return surroundings_; }

  // The workspace with its state. Opened at the first call; what earlier processes left unfinished
  // is then finished, unless the command only reads.
  enum class Purpose { kRead, kChange };
  Result<Context*> Open(Purpose purpose);

  // Whether a workspace was named, or is around the working directory. It need not be usable.
  bool HasWorkspace() const { return FindWorkspace().ok(); }

  // The first part of Open(kChange), for what can be begun without database and ledger.
  Result<Context*> OpenWorkspace();

  // `path` as given on the command line, absolute.
  std::string Absolute(const std::string& path) const;

  // The one JSON document of a command with --json, or `text` without.
  void Answer(const boost::json::value& document, std::string_view text) const;

  // A failed command: says why, and returns `exit_code`.
  int Fail(const Error& error, int exit_code = kExitBailiff) const;

  // A sentence about what happened, on standard error; nothing with -q.
  void Say(std::string_view text) const;

 private:
  Result<std::string> FindWorkspace() const;

  const Surroundings& surroundings_;
  const GlobalOptions& options_;
  std::unique_ptr<Context> context_;
  bool opened_ = false;
};

// Writes all of `bytes` to a standard stream; false when its reader is gone.
bool WriteTo(int fd, std::string_view bytes);

}  // namespace bailiff
