#include "core/context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "core/clerks.h"
#include "sys/file.h"
#include "workspace/identity.h"

namespace bailiff {
namespace {

constexpr std::chrono::milliseconds kLockRetry{10};

Result<Fd> OpenStateDir(const std::string& path) {
  Result<Fd> dir = OpenPath(path, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) {
    if (dir.error().code() == ErrorCode::kNotFound) {
      return Error(ErrorCode::kNotFound, "state directory " + path +
                                             ": does not exist; 'bailiff init' makes it, --state "
                                             "names another one");
    }
    if (dir.error().code() == ErrorCode::kPermissionDenied) {
      return Error(ErrorCode::kPermissionDenied,
                   "state directory " + path +
                       ": belongs to another user; run as that user, or ask its server");
    }
    return dir;
  }
  const struct stat st = TRY(Stat(dir.value()));
  if (st.st_uid != ::geteuid() && ::geteuid() != 0) {
    return Error(ErrorCode::kPermissionDenied,
                 "state directory " + path + ": belongs to uid " + std::to_string(st.st_uid) +
                     ", not to you; run as that user, or ask its server");
  }
  if (::faccessat(dir.value().get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return Error::FromErrno(errno, "state directory " + path + " cannot be written");
  }
  return dir;
}

Result<bool> IsSameDir(const Fd& dir, const std::string& path) {
  const struct stat st = TRY(Stat(dir));
  struct stat other {};
  if (::stat(path.c_str(), &other) != 0) return false;
  return st.st_dev == other.st_dev && st.st_ino == other.st_ino;
}

Result<Fd> OpenSubdir(const Fd& parent, const char* name) {
  const Status made = MakeDir(parent, name, 0700);
  if (!made.ok() && made.error().sys_errno() != EEXIST) return made.error();
  return OpenDirBeneath(parent, name, O_RDONLY);
}

void Pause(std::chrono::milliseconds time) {
  const timespec wait = ToTimespec(std::chrono::nanoseconds(time).count());
  (void)::nanosleep(&wait, nullptr);  // Woken early: the caller looks again.
}

}  // namespace

Result<std::unique_ptr<Context>> Context::Open(const ContextOptions& options) {
  Workspace workspace = TRY(Workspace::Open(options.workspace_path));
  const std::string state_path =
      options.state_path.empty() ? workspace.state_path() : options.state_path;
  std::unique_ptr<Context> context(new Context(std::move(workspace), options.actor));
  TRY(context->OpenDirs(state_path));
  if (!TRY(IsSameDir(context->state_dir_, context->workspace_.state_path()))) {
    return Error(ErrorCode::kConflict,
                 "workspace " + options.workspace_path + ": keeps its state in " +
                     context->workspace_.state_path() + ", not in " + state_path +
                     "; leave --state out, or run 'bailiff init --adopt --state " + state_path +
                     " " + options.workspace_path + "' if it was moved");
  }
  const bool named = !options.config_path.empty();
  context->config_ = TRY(LoadConfig(named ? options.config_path : state_path + "/bailiff.toml",
                                    named ? ConfigFile::kMustExist : ConfigFile::kMayBeMissing));
  // Before the database and the ledger are open: their handles do not survive a fork.
  context->launcher_.emplace(TRY(Launcher::Start(ClerkJobs())));
  return context;
}

Result<std::unique_ptr<Context>> Context::Beside() const {
  Workspace workspace = TRY(Workspace::Open(workspace_.path()));
  std::unique_ptr<Context> context(new Context(std::move(workspace), actor_));
  TRY(context->OpenDirs(state_path_));
  context->config_ = config_;
  context->circumstances_ = circumstances_;
  context->launcher_.emplace(TRY(launcher_->Share()));
  TRY(context->OpenRecords());
  return context;
}

Status Context::OpenDirs(const std::string& state_path) {
  state_path_ = state_path;
  state_dir_ = TRY(OpenStateDir(state_path));
  run_dir_ = TRY(OpenSubdir(state_dir_, "run"));
  output_dir_ = TRY(OpenSubdir(state_dir_, "output"));
  journal_dir_ = TRY(OpenSubdir(state_dir_, "journal"));
  ledger_dir_ = TRY(OpenSubdir(state_dir_, "ledger"));
  scratch_dir_ = TRY(OpenSubdir(state_dir_, "scratch"));
  if (TRY(StabilityOf(workspace_.root())) == Stability::kWeak) {
    held_dir_ = TRY(OpenSubdir(state_dir_, "held"));
  }
  return Ok();
}

Status Context::OpenRecords() {
  store_.emplace(TRY(Store::Open(state_path_ + "/bailiff.db")));
  ledger_.emplace(TRY(Ledger::Open(ledger_dir_, workspace_.id(), clock_)));
  return Ok();
}

Result<WorkspaceLock> WorkspaceLock::Take(const Context& context, std::chrono::milliseconds wait) {
  const Entry entry{TRY(OpenDirBeneath(context.workspace().private_dir(), ".")), "lock"};
  Result<Fd> opened = OpenEntry(entry, O_RDWR | O_CREAT, 0600);
  // A server without privilege cannot write what another user made; locks need no more than this.
  if (!opened.ok() && opened.error().code() == ErrorCode::kPermissionDenied) {
    opened = OpenEntry(entry, O_RDONLY);
  }
  Fd file = TRY(std::move(opened));
  const SteadyTime deadline = context.clock().Steady() + wait;
  // flock(2) has no time-out of its own, and an alarm would be one for the whole process.
  while (!TRY(TryLock(file, LockMode::kExclusive))) {
    if (context.clock().Steady() >= deadline) {
      return Error(ErrorCode::kResourceExhausted,
                   "workspace " + context.workspace().path() +
                       ": another commit is still running; --wait-lock waits longer");
    }
    Pause(kLockRetry);
  }
  return WorkspaceLock(std::move(file));
}

}  // namespace bailiff
