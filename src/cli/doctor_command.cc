#include "cli/doctor_command.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "core/clerks.h"
#include "core/doctor.h"
#include "core/documents.h"
#include "core/proof.h"
#include "sys/kernel_features.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr int kExitUnhealthy = 1;

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

json::value TextOrNull(const std::string& text) {
  return text.empty() ? json::value() : json::value(ToUtf8Lossy(text));
}

json::value ToJson(Holds holds) {
  switch (holds) {
    case Holds::kYes:
      return true;
    case Holds::kWeaker:
      return "weaker";
    case Holds::kNo:
      return false;
  }
  CheckFailed("a known answer", __FILE__, __LINE__);
}

json::object ToJson(const Layer& layer) {
  json::object object;
  object["name"] = layer.name;
  object["holds"] = ToJson(layer.holds);
  object["detail"] = TextOrNull(layer.detail);
  object["why"] = TextOrNull(layer.why);
  json::array advice;
  for (const std::string& line : layer.advice) advice.emplace_back(line);
  object["advice"] = std::move(advice);
  return object;
}

json::object ToJson(const Diagnosis& diagnosis) {
  json::object document;
  document["healthy"] = diagnosis.healthy();
  document["failure"] = TextOrNull(diagnosis.failure);
  document["guarantees"] = GuaranteesToJson(diagnosis.guarantees);
  json::array can_require;
  for (const std::string& word : WordsThatHold(diagnosis)) can_require.emplace_back(word);
  document["can_require"] = std::move(can_require);
  json::array layers;
  for (const Layer& layer : diagnosis.layers) layers.push_back(ToJson(layer));
  document["layers"] = std::move(layers);
  json::array probes;
  for (const Probe& probe : diagnosis.probes) {
    json::object object;
    object["name"] = probe.name;
    object["layer"] = probe.layer;
    object["holds"] = probe.holds;
    object["detail"] = probe.detail;
    object["outside"] = probe.outside;
    probes.push_back(std::move(object));
  }
  document["probes"] = std::move(probes);
  json::array features;
  for (const Fact& fact : FactsOf(diagnosis.host.kernel)) {
    json::object object;
    object["name"] = fact.name;
    object["value"] = fact.value;
    object["reason"] = TextOrNull(fact.reason);
    features.push_back(std::move(object));
  }
  document["kernel"] = std::move(features);
  return document;
}

const char* Mark(Holds holds) {
  switch (holds) {
    case Holds::kYes:
      return "holds";
    case Holds::kWeaker:
      return "weaker";
    case Holds::kNo:
      return "MISSING";
  }
  CheckFailed("a known answer", __FILE__, __LINE__);
}

std::string ToText(const Layer& layer) {
  std::string text =
      fmt::format("  {:<8} {:<18} {}\n", Mark(layer.holds), layer.name, layer.detail);
  if (!layer.why.empty()) text += fmt::format("  {:<8} {:<18} {}\n", "", "", layer.why);
  for (const std::string& line : layer.advice) {
    text += fmt::format("  {:<8} {:<18}   {}\n", "", "", line);
  }
  return text;
}

std::string ToText(const Diagnosis& diagnosis) {
  std::string text = "What this kernel offers\n";
  for (const Fact& fact : FactsOf(diagnosis.host.kernel)) {
    text += fmt::format("  {:<34} {}\n", fact.name, fact.value);
    if (!fact.reason.empty()) text += fmt::format("  {:<34} {}\n", "", fact.reason);
  }
  text += "\nThe layers of a sandbox here, each tried in a real one\n";
  for (const Layer& layer : diagnosis.layers) text += ToText(layer);
  bool allowed = false;
  for (const Probe& probe : diagnosis.probes) {
    if (probe.holds) continue;
    if (!allowed) text += "\nWhat a script was not refused\n";
    allowed = true;
    text += fmt::format("  {} ({}): {}\n", probe.name, probe.layer, probe.detail);
  }
  if (diagnosis.guarantees.has_value()) {
    text += "\nGuarantees of a run here\n  " +
            json::serialize(GuaranteesToJson(diagnosis.guarantees)) + "\n  --require can ask for:";
    for (const std::string& word : WordsThatHold(diagnosis)) text += " " + word;
    text += "\n";
  }
  if (!diagnosis.failure.empty()) text += "\n" + diagnosis.failure + "\n";
  text += diagnosis.healthy() ? "\nScripts can run here with every mandatory layer.\n"
                              : "\nScripts cannot run safely here; see above.\n";
  return EscapeForTerminal(text, Lines::kMultiple);
}

Result<Diagnosis> Examine() {
  Launcher launcher = TRY(Launcher::Start(ClerkJobs()));
  return Diagnose(launcher, std::nullopt);
}

// Where a workspace is found, what is proved is kept for its runs. One that cannot be opened is no
// reason to say nothing about the host.
Result<Diagnosis> ExamineFor(Session& session) {
  if (!session.HasWorkspace()) return Examine();
  const Result<Context*> context = session.OpenWorkspace();
  if (context.ok()) return Prove(*context.value());
  session.Say("this is not kept as a proof for runs: " + context.error().message());
  return Examine();
}

}  // namespace

int DoctorCommand(Session& session) {
  const Result<Diagnosis> diagnosis = ExamineFor(session);
  if (!diagnosis.ok()) return session.Fail(diagnosis.error());
  session.Answer(ToJson(diagnosis.value()), ToText(diagnosis.value()));
  return diagnosis.value().healthy() ? 0 : kExitUnhealthy;
}

}  // namespace bailiff
