#include "cli/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>

#include "base/bytes.h"
#include "core/documents.h"
#include "core/upkeep.h"

namespace bailiff {
namespace {

std::string_view CodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kPermissionDenied:
      return "permission_denied";
    case ErrorCode::kResourceExhausted:
      return "resource_exhausted";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kInternal:
      return "internal";
  }
  CheckFailed("ErrorCode out of range", __FILE__, __LINE__);
}

}  // namespace

bool WriteTo(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string Session::Absolute(const std::string& path) const {
  std::string absolute = path.starts_with('/') ? path : surroundings_.working_dir + "/" + path;
  std::string clean;
  std::size_t at = 0;
  while (at < absolute.size()) {
    const std::size_t end = std::min(absolute.find('/', at), absolute.size());
    const std::string name = absolute.substr(at, end - at);
    at = end + 1;
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      clean.erase(std::min(clean.rfind('/'), clean.size()));
      continue;
    }
    clean += "/" + name;
  }
  return clean.empty() ? "/" : clean;
}

Result<std::string> Session::FindWorkspace() const {
  if (!options_.workspace.empty()) return Absolute(options_.workspace);
  if (!surroundings_.workspace.empty()) return Absolute(surroundings_.workspace);
  const std::optional<std::string> found = Workspace::Find(surroundings_.working_dir);
  if (found.has_value()) return *found;
  return Error(ErrorCode::kInvalidArgument,
               "no workspace: name it with --workspace DIR or BAILIFF_WORKSPACE, or work inside "
               "one; 'bailiff init DIR' makes one");
}

Result<Context*> Session::OpenWorkspace() {
  if (context_ != nullptr) return context_.get();
  ContextOptions options;
  options.workspace_path = TRY(FindWorkspace());
  const std::string& state = options_.state.empty() ? surroundings_.state : options_.state;
  if (!state.empty()) options.state_path = Absolute(state);
  if (!options_.config.empty()) options.config_path = Absolute(options_.config);
  options.actor.name = "local:" + std::to_string(::geteuid());
  options.actor.embedded = true;
  context_ = TRY(Context::Open(options));
  return context_.get();
}

Result<Context*> Session::Open(Purpose purpose) {
  if (opened_) return context_.get();
  TRY(OpenWorkspace());
  TRY(context_->OpenRecords());
  opened_ = true;
  if (purpose == Purpose::kRead) {
    if (TRY(NeedsRecovery(context_->journal().journal))) {
      Say("a commit was cut short; the next command that changes something finishes it");
    }
    return context_.get();
  }
  const TidiedUp tidied = TRY(TidyUp(*context_));
  for (const std::string& id : tidied.interrupted) Say(id + " was interrupted earlier");
  for (const std::string& id : tidied.finished) Say("finished what was left of " + id);
  for (const std::string& id : tidied.expired) Say(id + " was held for too long and is dropped");
  return context_.get();
}

void Session::Answer(const boost::json::value& document, std::string_view text) const {
  // A reader that went away wants no answer.
  (void)WriteTo(STDOUT_FILENO, options_.json ? Pretty(document) : std::string(text));
}

int Session::Fail(const Error& error, int exit_code) const {
  if (options_.json) {
    boost::json::object document;
    document["error"] = ToUtf8Lossy(error.message());
    document["code"] = CodeName(error.code());
    (void)WriteTo(STDOUT_FILENO, Pretty(document));
  }
  (void)WriteTo(STDERR_FILENO,
                "bailiff: " + EscapeForTerminal(error.message(), Lines::kMultiple) + "\n");
  return exit_code;
}

void Session::Say(std::string_view text) const {
  if (options_.quiet) return;
  (void)WriteTo(STDERR_FILENO, "bailiff: " + EscapeForTerminal(text, Lines::kMultiple) + "\n");
}

}  // namespace bailiff
