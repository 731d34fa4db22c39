#include "cli/doctor_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "core/clerks.h"
#include "core/doctor.h"
#include "core/documents.h"
#include "sys/file.h"
#include "sys/kernel_features.h"

namespace bailiff {
namespace {

namespace json = boost::json;

// A directory that is gone with this object.
class ScratchDir {
 public:
  static Result<ScratchDir> Make() {
    std::string path = "/tmp/bailiff-doctor-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return Error::FromErrno(errno, "mkdtemp " + path);
    return ScratchDir(std::move(path));
  }
  ScratchDir(ScratchDir&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ScratchDir& operator=(ScratchDir&&) = delete;
  ~ScratchDir() {
    if (!path_.empty()) ::rmdir(path_.c_str());  // The probe leaves nothing in it.
  }

  const std::string& path() const { return path_; }

 private:
  explicit ScratchDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<Diagnosis> Examine() {
  Launcher launcher = TRY(Launcher::Start(ClerkJobs()));
  const ScratchDir scratch = TRY(ScratchDir::Make());
  // A workspace that root owns would do as well, but not one that nobody else may enter.
  if (::chmod(scratch.path().c_str(), 0755) != 0) return Error::FromErrno(errno, "chmod");
  return Diagnose(launcher, scratch.path());
}

// One line about the kernel.
struct Fact {
  std::string name;
  std::string value;
  std::string reason;  // Why not, and what would help.
};

std::vector<Fact> FactsOf(const KernelFeatures& kernel) {
  const auto fact = [](const char* name, const Feature& feature) {
    return Fact{name, feature.ok ? "yes" : "no", feature.reason};
  };
  return {{"tier", kernel.privileged ? "privileged" : "rootless", ""},
          fact("user namespaces", kernel.user_namespaces),
          fact("attributes on tmpfs (rootless)", kernel.tmpfs_attributes),
          fact("idmapped mounts", kernel.idmap),
          fact("seccomp filters", kernel.seccomp),
          fact("session keyrings", kernel.keyrings),
          {"Landlock ABI", std::to_string(kernel.landlock_abi), ""},
          {"longest moved path, bytes", std::to_string(kernel.redirect_max), ""}};
}

json::object ToJson(const Diagnosis& diagnosis, const KernelFeatures& kernel) {
  json::object document;
  document["healthy"] = diagnosis.healthy();
  document["failure"] =
      diagnosis.failure.empty() ? json::value() : json::value(ToUtf8Lossy(diagnosis.failure));
  document["guarantees"] = GuaranteesToJson(diagnosis.guarantees);
  json::array probes;
  for (const Probe& probe : diagnosis.probes) {
    json::object object;
    object["name"] = probe.name;
    object["holds"] = probe.holds;
    object["detail"] = probe.detail;
    probes.push_back(std::move(object));
  }
  document["probes"] = std::move(probes);
  json::array features;
  for (const Fact& fact : FactsOf(kernel)) {
    json::object object;
    object["name"] = fact.name;
    object["value"] = fact.value;
    object["reason"] = fact.reason.empty() ? json::value() : json::value(fact.reason);
    features.push_back(std::move(object));
  }
  document["kernel"] = std::move(features);
  return document;
}

std::string ToText(const Diagnosis& diagnosis, const KernelFeatures& kernel) {
  std::string text = "What this kernel offers\n";
  for (const Fact& fact : FactsOf(kernel)) {
    text += fmt::format("  {:<34} {}\n", fact.name, fact.value);
    if (!fact.reason.empty()) text += fmt::format("  {:<34} {}\n", "", fact.reason);
  }
  text += "\nWhat a script in a sandbox is refused\n";
  for (const Probe& probe : diagnosis.probes) {
    text += fmt::format("  {:<8} {:<34} {}\n", probe.holds ? "refused" : "ALLOWED", probe.name,
                        probe.detail);
  }
  if (!diagnosis.failure.empty()) text += "  " + diagnosis.failure + "\n";
  if (diagnosis.guarantees.has_value()) {
    text += "\nGuarantees of a run here\n  " +
            json::serialize(GuaranteesToJson(diagnosis.guarantees)) + "\n";
  }
  text += diagnosis.healthy() ? "\nScripts can run here with every mandatory layer.\n"
                              : "\nScripts cannot run safely here; see above.\n";
  return EscapeForTerminal(text, Lines::kMultiple);
}

}  // namespace

int DoctorCommand(Session& session) {
  const Result<Diagnosis> diagnosis = Examine();
  if (!diagnosis.ok()) return session.Fail(diagnosis.error());
  const Result<Fd> tmp = OpenPath("/tmp", O_RDONLY | O_DIRECTORY);
  if (!tmp.ok()) return session.Fail(tmp.error());
  const Result<KernelFeatures> kernel = ProbeKernel(tmp.value());
  if (!kernel.ok()) return session.Fail(kernel.error());
  session.Answer(ToJson(diagnosis.value(), kernel.value()),
                 ToText(diagnosis.value(), kernel.value()));
  return diagnosis.value().healthy() ? 0 : 1;
}

}  // namespace bailiff
