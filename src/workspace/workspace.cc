#include "workspace/workspace.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <numeric>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "sys/file.h"
#include "workspace/identity.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr const char* kIdentityFile = "workspace.json";
constexpr std::size_t kIdentityBytesMax = 64UL * 1024;
constexpr std::size_t kCasesMax = 100'000;
constexpr std::array<const char*, 4> kLayout = {"projects", "Tools", "Database", "Reports"};

// Directories that no one means when they ask for a workspace. Those below them may be meant.
constexpr std::array<std::string_view, 21> kSystemDirs = {
    "/",      "/bin", "/boot", "/dev",  "/etc",  "/home",    "/lib",
    "/lib64", "/mnt", "/opt",  "/proc", "/root", "/run",     "/sbin",
    "/srv",   "/sys", "/tmp",  "/usr",  "/var",  "/var/lib", "/var/tmp"};

struct IdentityFile {
  std::string id;
  std::string state;
  std::string path;
  std::uint64_t ino = 0;
};

Result<IdentityFile> ParseIdentityFile(const std::string& text, const std::string& path) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  const Error damaged(ErrorCode::kIo, path + "/.bailiff/workspace.json: is damaged; " +
                                          "'bailiff init --new-id " + path + "' writes a new one");
  if (error || !value.is_object()) return damaged;
  const json::object& object = value.as_object();
  const json::value* id = object.if_contains("id");
  const json::value* state = object.if_contains("state");
  const json::value* root = object.if_contains("root");
  const json::value* ino = object.if_contains("root_inode");
  if (id == nullptr || !id->is_string() || state == nullptr || !state->is_string()) return damaged;
  if (root == nullptr || !root->is_string() || ino == nullptr || !ino->is_number()) return damaged;
  IdentityFile file;
  file.id = std::string(id->as_string());
  file.state = std::string(state->as_string());
  file.path = std::string(root->as_string());
  file.ino = ino->to_number<std::uint64_t>(error);
  if (error || file.id.empty() || !file.state.starts_with('/')) return damaged;
  return file;
}

Status WriteIdentityFile(const Fd& private_dir, const IdentityFile& file) {
  json::object object;
  object["version"] = 1;
  object["id"] = file.id;
  object["state"] = ToUtf8Lossy(file.state);
  object["root"] = ToUtf8Lossy(file.path);
  object["root_inode"] = file.ino;
  return ReplaceFile(private_dir, kIdentityFile, json::serialize(object) + "\n", 0644);
}

// Nothing when `dir` has no identity file.
Result<std::optional<IdentityFile>> ReadIdentityFile(const Fd& root, const std::string& path) {
  Result<Fd> file = OpenBeneath(root, std::string(kPrivateDir) + "/" + kIdentityFile, O_RDONLY);
  if (!file.ok()) {
    if (file.error().code() == ErrorCode::kNotFound) return std::optional<IdentityFile>();
    return std::move(file).error();
  }
  const std::string text = TRY(ReadAll(file.value(), kIdentityBytesMax));
  return std::optional(TRY(ParseIdentityFile(text, path)));
}

std::optional<std::string> ParentOf(const std::string& path) {
  if (path == "/") return std::nullopt;
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool IsWorkspace(const std::string& path) {
  return ::access((path + "/" + kPrivateDir + "/" + kIdentityFile).c_str(), F_OK) == 0;
}

Status RefuseNested(const std::string& path) {
  for (std::optional<std::string> up = ParentOf(path); up.has_value(); up = ParentOf(*up)) {
    if (!IsWorkspace(*up)) continue;
    return Error(ErrorCode::kConflict, path + ": lies inside the workspace " + *up +
                                           "; workspaces do not nest: use that one, or move this "
                                           "directory out of it");
  }
  return Ok();
}

// Looks below `path` for another workspace, as far as directories are likely to hold one.
Status RefuseAround(const std::string& path) {
  constexpr std::size_t kDirsMax = 10'000;
  std::vector<std::string> pending = {path};
  for (std::size_t i = 0; i < pending.size() && i < kDirsMax; ++i) {
    const std::string at = pending[i];
    const Result<Fd> dir = OpenPath(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!dir.ok()) continue;  // Gone, or not to be read: then no script can use it either.
    for (const std::string& name : TRY(ListDir(dir.value(), kTreeEntriesMax))) {
      const std::optional<struct stat> st = TRY(StatAt(dir.value(), name));
      if (!st.has_value() || !S_ISDIR(st->st_mode) || name == kPrivateDir) continue;
      pending.push_back(JoinPath(at, name));
      if (!IsWorkspace(pending.back())) continue;
      return Error(ErrorCode::kConflict, path + ": holds the workspace " + pending.back() +
                                             "; workspaces do not nest: choose another directory");
    }
  }
  return Ok();
}

// True when `file` was written for another root than the one that is open: a copy, or one that was
// moved to another file system.
Result<bool> BelongsElsewhere(const IdentityFile& file, const std::string& path, const Fd& root,
                              std::uint64_t ino) {
  // FUSE may give other inode numbers with every mount: only the path is left there.
  const bool has_inodes = TRY(StabilityOf(root)) == Stability::kStrong;
  if (has_inodes && file.ino != ino) return true;
  if (file.path == path) return false;
  // The same under another name: renamed, unless the old name still is this workspace.
  Result<Fd> other = OpenPath(file.path, O_PATH | O_DIRECTORY);
  if (!other.ok()) return false;
  const Result<std::optional<IdentityFile>> there = ReadIdentityFile(other.value(), file.path);
  const Result<struct stat> st = Stat(other.value());
  Result<Fd> here = OpenPath(path, O_PATH | O_DIRECTORY);
  if (!there.ok() || !there.value().has_value() || !st.ok() || !here.ok()) return false;
  const Result<struct stat> here_st = Stat(here.value());
  const bool same_dir = here_st.ok() && here_st.value().st_dev == st.value().st_dev &&
                        here_st.value().st_ino == st.value().st_ino;
  return there.value()->id == file.id && !same_dir;
}

Error CopiedError(const IdentityFile& file, const std::string& path) {
  return Error(ErrorCode::kConflict,
               path + ": is a copy of the workspace " + file.path + " (" + file.id +
                   "); run 'bailiff init --new-id " + path +
                   "' to make it a workspace of its own, or 'bailiff init --adopt " + path +
                   "' if the original is gone");
}

Status CheckPlace(const InitOptions& options) {
  const std::string& path = options.path;
  const std::string& state = options.state_path;
  if (std::find(kSystemDirs.begin(), kSystemDirs.end(), path) != kSystemDirs.end()) {
    return Error(ErrorCode::kInvalidArgument,
                 "workspace '" + path + "' is a system directory; choose a directory of its own");
  }
  for (const std::string_view system : {"/proc", "/sys", "/dev", "/usr", "/etc"}) {
    if (IsBelow(path, system)) {
      return Error(ErrorCode::kInvalidArgument, "workspace '" + path + "' lies in " +
                                                    std::string(system) +
                                                    "; choose a directory of your own");
    }
  }
  if (path == state || IsBelow(state, path)) {
    return Error(ErrorCode::kInvalidArgument,
                 "workspace '" + path + "' holds the state directory " + state +
                     ", where scripts could reach it; choose another place with --state");
  }
  if (IsBelow(path, state)) {
    return Error(ErrorCode::kInvalidArgument, "workspace '" + path +
                                                  "' lies in the state directory " + state +
                                                  "; choose another place with --state");
  }
  return RefuseNested(path);
}

Status MakeDirs(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return Ok();
  if (errno != ENOENT) return Error::FromErrno(errno, "create directory " + path);
  const std::optional<std::string> parent = ParentOf(path);
  if (!parent.has_value()) return Error::FromErrno(ENOENT, "create directory " + path);
  TRY(MakeDirs(*parent, 0755));
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return Ok();
  return Error::FromErrno(errno, "create directory " + path);
}

Status EnsureDirAt(const Fd& root, const char* name, mode_t mode, const struct stat& owner) {
  if (::mkdirat(root.get(), name, mode) != 0) {
    if (errno == EEXIST) return Ok();
    return Error::FromErrno(errno, std::string("create ") + name);
  }
  if (::geteuid() != 0) return Ok();
  if (::fchownat(root.get(), name, owner.st_uid, owner.st_gid, AT_SYMLINK_NOFOLLOW) == 0)
    return Ok();
  return Error::FromErrno(errno, std::string("chown ") + name);
}

Status MakeStateDir(const std::string& path) {
  TRY(MakeDirs(path, 0700));
  const Fd dir = TRY(OpenPath(path, O_RDONLY | O_DIRECTORY));
  const struct stat st = TRY(Stat(dir));
  if (st.st_uid != ::geteuid()) {
    return Error(ErrorCode::kPermissionDenied, "state directory " + path + " belongs to uid " +
                                                   std::to_string(st.st_uid) +
                                                   ", not to you; choose another one with --state");
  }
  if (::fchmod(dir.get(), 0700) != 0) return Error::FromErrno(errno, "chmod " + path);
  return Ok();
}

std::size_t EditDistance(const std::string& left, const std::string& right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t above = row[j];
      const std::size_t replaced = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      diagonal = above;
    }
  }
  return row.back();
}

std::string Folded(std::string_view name) {
  std::string folded;
  for (const char c : name) {
    folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return folded;
}

}  // namespace

std::optional<std::string> Workspace::Find(std::string start) {
  std::optional<std::string> at(std::move(start));
  while (at.has_value() && !IsWorkspace(*at)) at = ParentOf(*at);
  return at;
}

Result<Workspace> Workspace::Open(const std::string& path) {
  Workspace workspace;
  workspace.path_ = path;
  Result<Fd> root = OpenPath(path, O_RDONLY | O_DIRECTORY);
  // Nothing else refuses root.
  if (!root.ok() && root.error().code() == ErrorCode::kPermissionDenied && ::geteuid() == 0) {
    return Error(ErrorCode::kPermissionDenied,
                 root.error().message() +
                     "; a FUSE mount lets in only the user who made it: run "
                     "Bailiff as that user, or mount it with -o allow_other");
  }
  workspace.root_ = TRY(std::move(root));
  const struct stat st = TRY(Stat(workspace.root_));
  const std::optional<IdentityFile> file = TRY(ReadIdentityFile(workspace.root_, path));
  if (!file.has_value()) {
    return Error(ErrorCode::kNotFound,
                 path + ": is not a workspace; run 'bailiff init " + path + "' to make it one");
  }
  const bool elsewhere = TRY(BelongsElsewhere(*file, path, workspace.root_, st.st_ino));
  if (elsewhere) return CopiedError(*file, path);
  TRY(RefuseNested(path));
  workspace.id_ = file->id;
  workspace.state_path_ = file->state;
  workspace.owner_ = st.st_uid;
  workspace.private_dir_ = TRY(OpenDirBeneath(workspace.root_, kPrivateDir, O_RDONLY));
  return workspace;
}

Result<InitResult> InitWorkspace(const InitOptions& options) {
  TRY(CheckPlace(options));
  TRY(MakeDirs(options.path, 0755));
  const Fd root = TRY(OpenPath(options.path, O_RDONLY | O_DIRECTORY));
  const struct stat st = TRY(Stat(root));
  Result<std::optional<IdentityFile>> read = ReadIdentityFile(root, options.path);
  // A new id is also what mends a file that cannot be read.
  const bool mends = options.existing == InitOptions::Existing::kNewId;
  if (!read.ok() && !mends) return std::move(read).error();
  std::optional<IdentityFile> file = read.ok() ? std::move(read).value() : std::nullopt;
  InitResult result;
  const bool elsewhere =
      file.has_value() && TRY(BelongsElsewhere(*file, options.path, root, st.st_ino));
  if (elsewhere && options.existing == InitOptions::Existing::kRefuse) {
    return CopiedError(*file, options.path);
  }
  if (!file.has_value() || options.existing == InitOptions::Existing::kNewId) {
    file = IdentityFile{options.id, options.state_path, options.path, st.st_ino};
    result.created = true;
  }
  if (result.created) TRY(RefuseAround(options.path));
  if (options.state_named && file->state != options.state_path) {
    if (options.existing != InitOptions::Existing::kAdopt) {
      return Error(ErrorCode::kConflict, options.path + ": keeps its state in " + file->state +
                                             "; 'bailiff init --adopt --state " +
                                             options.state_path + " " + options.path +
                                             "' if that was moved");
    }
    file->state = options.state_path;
  }
  result.id = file->id;
  file->path = options.path;
  file->ino = st.st_ino;

  TRY(MakeStateDir(file->state));
  for (const char* name : kLayout) TRY(EnsureDirAt(root, name, 0755, st));
  TRY(EnsureDirAt(root, kPrivateDir, 0700, st));
  const Fd private_dir = TRY(OpenDirBeneath(root, kPrivateDir, O_RDONLY));
  if (result.created) {  // A copy's staged and put-aside bytes belong to the original.
    TRY(RemoveTree(private_dir, "stage"));
    TRY(RemoveTree(private_dir, "undo"));
  }
  TRY(EnsureDirAt(private_dir, "stage", 0700, st));
  TRY(EnsureDirAt(private_dir, "undo", 0700, st));
  TRY(WriteIdentityFile(private_dir, *file));
  return result;
}

std::string NewWorkspaceId() {
  return "ws_" + ToHex(RandomBytes(8));
}

Result<std::vector<std::string>> ListCases(const Workspace& workspace) {
  const Fd projects = TRY(OpenDirBeneath(workspace.root(), "projects", O_RDONLY));
  std::vector<std::string> names;
  for (std::string& name : TRY(ListDir(projects, kCasesMax))) {
    const std::optional<struct stat> st = TRY(StatAt(projects, name));
    if (st.has_value() && S_ISDIR(st->st_mode)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> NearNames(const std::string& name, const std::vector<std::string>& known) {
  const std::string wanted = Folded(name);
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& candidate : known) {
    const std::string folded = Folded(candidate);
    std::size_t distance = EditDistance(wanted, folded);
    const bool part = !wanted.empty() && folded.find(wanted) != std::string::npos;
    if (part) distance = std::min<std::size_t>(distance, 1);
    if (distance <= std::max<std::size_t>(3, wanted.size() / 3))
      ranked.emplace_back(distance, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  if (ranked.size() > 3) ranked.resize(3);
  std::vector<std::string> near;
  near.reserve(ranked.size());
  for (auto& [distance, candidate] : ranked) near.push_back(std::move(candidate));
  return near;
}

}  // namespace bailiff
