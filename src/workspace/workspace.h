#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace bailiff {

// The directory of ours at the top of every workspace. Sandboxes do not see it.
inline constexpr const char* kPrivateDir = ".bailiff";

// A workspace directory that `init` has made ours: its root, held open by descriptor, and where its
// state is.
class Workspace {
 public:
  // Opens the workspace whose root is `path` (absolute) and checks that it is the one that its
  // identity file was written for.
  //
  // Errors: kNotFound without `.bailiff/workspace.json`; kConflict for a copy or a nested
  //         workspace, with the command that mends it; kPermissionDenied; kIo.
  static Result<Workspace> Open(const std::string& path);

  // Path of the nearest directory from `start` (absolute) upwards that has `.bailiff`.
  static std::optional<std::string> Find(std::string start);

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  const std::string& state_path() const { return state_path_; }
  const Fd& root() const { return root_; }
  const Fd& private_dir() const { return private_dir_; }
  uid_t owner() const { return owner_; }

 private:
  Workspace() = default;

  std::string id_;
  std::string path_;
  std::string state_path_;
  Fd root_;
  Fd private_dir_;
  uid_t owner_ = 0;
};

struct InitOptions {
  std::string path;          // Absolute.
  std::string state_path;    // Absolute; where the state of a new workspace goes.
  bool state_named = false;  // Someone asked for `state_path`; it is not just the usual place.
  std::string id;            // Of a new workspace, from NewWorkspaceId().
  enum class Existing {
    kRefuse,  // An identity file that belongs to another root is an error.
    kAdopt,   // This root takes over the id and the state: the original is gone.
    kNewId,   // This root is a copy: it gets an id and a state of its own.
  } existing = Existing::kRefuse;
};

struct InitResult {
  std::string id;
  bool created = false;  // False: it was a workspace already, and is as it was.
};

// Makes `options.path` (created if need be) a workspace: the default layout, `.bailiff` with its
// identity, the state directory (0700). Nothing that exists is overwritten.
//
// Errors: kInvalidArgument for `/` and system directories, for a workspace that holds its state
//         directory or lies in it; kConflict for a copy (see InitOptions::existing), inside or
//         around another workspace, and for one that has its state elsewhere; kPermissionDenied;
//         kIo.
Result<InitResult> InitWorkspace(const InitOptions& options);

// A new workspace id: "ws_<16 hex>".
std::string NewWorkspaceId();

// Names of the folders in projects/. At most 100,000.
Result<std::vector<std::string>> ListCases(const Workspace& workspace);

// The names among `known` that someone who wrote `name` may have meant, best first, at most three.
std::vector<std::string> NearNames(const std::string& name, const std::vector<std::string>& known);

}  // namespace bailiff
