#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "core/actor.h"
#include "core/config.h"
#include "engine/launcher.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "store/store.h"
#include "sys/system_clock.h"
#include "workspace/workspace.h"

namespace bailiff {

struct ContextOptions {
  std::string workspace_path;  // Absolute.
  std::string state_path;      // Absolute; empty: where the workspace's identity file says.
  std::string config_path;     // Empty: bailiff.toml in the state directory, if it is there.
  Actor actor;                 // Who asks.
};

// Everything that a use case works on: one workspace with its state. Made once per process, before
// it has threads; used by one thread.
class Context {
 public:
  // Opens the workspace and its state's directories, and starts the launcher.
  //
  // Errors: those of Workspace::Open() and LoadConfig(); kPermissionDenied when the state is
  // another
  //         user's or cannot be written.
  static Result<std::unique_ptr<Context>> Open(const ContextOptions& options);

  // Another one for the same workspace and state, for another thread, with a database connection
  // and a ledger of its own and the same launcher. This one outlives it. Errors: OpenRecords().
  Result<std::unique_ptr<Context>> Beside() const;

  // Opens database and ledger: everything that uses those needs it first. Errors: those of
  // Store::Open() and Ledger::Open().
  Status OpenRecords();

  const Workspace& workspace() const { return workspace_; }
  const Config& config() const { return config_; }
  const Fd& state_dir() const { return state_dir_; }
  const std::string& state_path() const { return state_path_; }
  const Fd& run_dir() const { return run_dir_; }        // Sockets of running executions.
  const Fd& output_dir() const { return output_dir_; }  // Kept output, <id>.stdout and .stderr.
  const Fd& ledger_dir() const { return ledger_dir_; }
  const Fd& scratch_dir() const { return scratch_dir_; }  // See SandboxFds.
  JournalDirs journal() const {
    return {workspace_.root(), workspace_.private_dir(), journal_dir_, held_dir()};
  }
  // Where the content of change sets waits: see JournalDirs.
  const Fd& held_dir() const { return held_dir_.valid() ? held_dir_ : workspace_.private_dir(); }
  bool has_records() const { return store_.has_value(); }
  Store& store() { return *store_; }
  Ledger& ledger() { return *ledger_; }
  Launcher& launcher() { return *launcher_; }
  const Clock& clock() const { return clock_; }
  const Actor& actor() const { return actor_; }
  const std::string& principal() const { return actor_.name; }
  // For whom the next use cases work.
  void ActAs(Actor actor) { actor_ = std::move(actor); }
  std::int64_t NowNanos() const { return clock_.Now().time_since_epoch().count(); }
  // The circumstances in which proofs count (core/proof.h), for a process that gives up what it
  // would take to find them out, or to prove more. Beside() hands them on.
  const std::optional<std::string>& circumstances() const { return circumstances_; }
  void KeepCircumstances(std::string digest) { circumstances_ = std::move(digest); }

 private:
  Context(Workspace workspace, Actor actor)
      : workspace_(std::move(workspace)), actor_(std::move(actor)) {}
  Status OpenDirs(const std::string& state_path);

  SystemClock clock_;
  Workspace workspace_;
  Config config_;
  std::string state_path_;
  Fd state_dir_;
  Fd run_dir_;
  Fd output_dir_;
  Fd journal_dir_;
  Fd held_dir_;  // Only where the workspace's own file system is not local.
  Fd ledger_dir_;
  Fd scratch_dir_;
  std::optional<Launcher> launcher_;
  std::optional<Store> store_;
  std::optional<Ledger> ledger_;
  Actor actor_;
  std::optional<std::string> circumstances_;
};

// The exclusive right to change the workspace, given back on destruction. Taking it also finishes
// what an earlier commit left unfinished (see core/recovery.h).
class WorkspaceLock {
 public:
  // Errors: kResourceExhausted when another process keeps it for longer than `wait`; kIo.
  static Result<WorkspaceLock> Take(const Context& context, std::chrono::milliseconds wait);

 private:
  explicit WorkspaceLock(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

}  // namespace bailiff
