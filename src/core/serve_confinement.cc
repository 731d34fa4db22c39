#include "core/serve_confinement.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "engine/confine.h"
#include "sys/file.h"
#include "workspace/tree.h"

namespace bailiff {
namespace {

constexpr std::size_t kEntriesLookedAt = 20'000;

// For name resolution, with the modules that nsswitch.conf may name, and for TLS.
constexpr const char* kSystemFiles[] = {"/etc/resolv.conf",
                                        "/etc/hosts",
                                        "/etc/nsswitch.conf",
                                        "/etc/host.conf",
                                        "/etc/gai.conf",
                                        "/etc/services",
                                        "/run/systemd/resolve",
                                        "/etc/ssl/certs",
                                        "/etc/ssl/openssl.cnf",
                                        "/usr/lib/ssl",
                                        "/usr/share/ca-certificates",
                                        "/etc/ld.so.cache",
                                        "/usr/lib",
                                        "/lib",
                                        "/lib64",
                                        "/dev/urandom"};

// By its mode alone: an access list or a group only makes more readable than this knows.
bool IsReadableBy(uid_t uid, const struct stat& st) {
  const mode_t bits = st.st_uid == uid ? st.st_mode >> 6 : st.st_mode;
  if (S_ISDIR(st.st_mode)) return (bits & S_IROTH) != 0 && (bits & S_IXOTH) != 0;
  return !S_ISREG(st.st_mode) || (bits & S_IROTH) != 0;
}

// Whether the rights of `uid` are enough to read the workspace, as far as we look.
Result<bool> IsAllReadableBy(uid_t uid, const Workspace& workspace) {
  if (workspace.owner() != uid) return false;
  std::vector<std::string> pending = {""};
  std::size_t seen = 0;
  while (!pending.empty()) {
    const std::string path = std::move(pending.back());
    pending.pop_back();
    const Fd dir = TRY(OpenDirBeneath(workspace.root(), path.empty() ? "." : path, O_RDONLY));
    const std::vector<std::string> names = TRY(ListDir(dir, kEntriesLookedAt));
    seen += names.size();
    if (seen > kEntriesLookedAt) return false;
    for (const std::string& name : names) {
      const std::optional<struct stat> st = TRY(StatAt(dir, name));
      if (!st.has_value()) continue;
      if (!IsReadableBy(uid, *st)) return false;
      if (S_ISDIR(st->st_mode) && name != kPrivateDir) pending.push_back(JoinPath(path, name));
    }
  }
  return true;
}

class Places {
 public:
  void Add(Fd at, Access access) {
    open_.push_back(std::move(at));
    places_.push_back({&open_.back(), access});
  }
  void AddIfThere(const std::string& path, Access access) {
    Result<Fd> at = OpenPath(path, O_PATH);
    if (at.ok()) Add(std::move(at).value(), access);
  }
  const std::vector<FilePlace>& all() const { return places_; }

 private:
  std::list<Fd> open_;  // Whose elements stay where they are.
  std::vector<FilePlace> places_;
};

Result<Places> PlacesOf(const Context& context) {
  Places places;
  places.Add(TRY(OpenDirBeneath(context.state_dir(), ".", O_PATH)), Access::kReadWrite);
  places.Add(TRY(OpenDirBeneath(context.workspace().root(), ".", O_PATH)), Access::kRead);
  // The lock of commits is made with the first of them.
  const Fd& private_dir = context.workspace().private_dir();
  places.Add(TRY(OpenEntry(private_dir, "lock", O_RDONLY | O_CREAT, 0600)), Access::kReadWrite);
  for (const char* path : kSystemFiles) places.AddIfThere(path, Access::kRead);
  places.AddIfThere("/dev/null", Access::kReadWrite);
  for (const Webhook& hook : context.config().webhooks) {
    if (!hook.secret_file.empty()) places.AddIfThere(hook.secret_file, Access::kRead);
  }
  return places;
}

}  // namespace

Result<ServeConfinement> ConfineServing(const Context& context) {
  const uid_t uid = ::geteuid();
  const struct stat state = TRY(Stat(context.state_dir()));
  if (state.st_uid != uid) {
    return Error(ErrorCode::kPermissionDenied,
                 fmt::format("state directory {}: belongs to uid {}; run the server as that user",
                             context.state_path(), state.st_uid));
  }
  ServeConfinement kept;
  std::vector<int> capabilities;
  if (uid == 0) {
    // What cannot be looked at, such as a tree that changes under our eyes, needs it too.
    const Result<bool> readable = IsAllReadableBy(uid, context.workspace());
    kept.reads_all = !readable.ok() || !readable.value();
    if (kept.reads_all) capabilities.push_back(CAP_DAC_READ_SEARCH);
  }
  const Places places = TRY(PlacesOf(context));
  kept.files = TRY(ConfineServer(capabilities, places.all()));
  return kept;
}

}  // namespace bailiff
