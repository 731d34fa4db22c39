#include "core/proof.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "core/context.h"
#include "sys/file.h"
#include "sys/kernel_features.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr const char* kFileName = "proof.json";
constexpr std::size_t kFileBytesMax = 64UL * 1024;
// The state directory keeps others out, and its owner must be able to read what root has left.
constexpr unsigned kFileMode = 0644;
constexpr int kLandlockMax = 1000;
constexpr std::array<std::string_view, 5> kWords = {"none", "ns", "own-uid", "cgroup", "landlock"};
constexpr std::array<std::string_view, 2> kOtherLevels = {"gvisor", "vm"};
constexpr const char* kLimitLayers[] = {"memory", "pids", "cpu"};

template <typename Words>
bool Contains(const Words& words, std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

bool HoldsFully(const Diagnosis& diagnosis, const std::string& name) {
  const Layer* layer = diagnosis.Find(name);
  return layer != nullptr && layer->holds == Holds::kYes;
}

Result<std::string> ReadText(const char* path) {
  const Fd file = TRY(OpenPath(path, O_RDONLY));
  return ReadAll(file, kFileBytesMax);
}

// A component of a cgroup's path without what systemd makes up for each session or start.
std::string KindOf(std::string_view name) {
  if (name.ends_with(".scope")) return "*.scope";
  if (!name.ends_with(".service")) return std::string(name);
  const std::size_t instance = name.find('@');
  if (instance != std::string_view::npos) return std::string(name.substr(0, instance)) + "@*";
  return name.starts_with("run-") ? "run-*.service" : std::string(name);
}

// What decides where this process may make cgroups, and none of what can be lost: a proof would
// end with that. Root may make them everywhere it sees them, whatever session it is in.
Result<std::string> StandingAmongCgroups() {
  const Fd namespaces = TRY(OpenPath("/proc/self/ns", O_PATH | O_DIRECTORY));
  const std::string users =
      TRY(ReadLink(namespaces, "user"));  // A container's root is not the host's.
  std::string text = TRY(ReadLink(namespaces, "cgroup"));
  text += "\n" + users;
  if (!TRY(IsPrivileged())) text += "\n" + PlaceAmongCgroups(TRY(ReadText("/proc/self/cgroup")));
  return text;
}

// Everything that has to be as it was for a proof to count. Its SHA-256, in hexadecimal.
Result<std::string> Circumstances(const Context& context) {
  if (context.circumstances().has_value()) return *context.circumstances();
  struct utsname kernel = {};
  if (::uname(&kernel) != 0) return Error::FromErrno(errno, "uname");
  const Fd program = TRY(OpenPath("/proc/self/exe", O_PATH));
  const struct stat st = TRY(Stat(program));
  std::string text = TRY(ReadText("/proc/sys/kernel/random/boot_id"));
  text += TRY(StandingAmongCgroups());
  text += fmt::format("\n{}\n{}\n{}\n{}\n", kernel.release, kernel.version, ::geteuid(),
                      BAILIFF_VERSION);
  text += fmt::format("{} {} {} {} {}\n", st.st_dev, st.st_ino, st.st_size, ToNanos(st.st_mtim),
                      ToNanos(st.st_ctim));
  return ToHex(Sha256::Of(text));
}

Result<std::vector<Proof>> ReadProofs(const Context& context) {
  const Result<Fd> file = OpenBeneath(context.state_dir(), kFileName, O_RDONLY);
  if (file.ok()) return DecodeProofs(TRY(ReadAll(file.value(), kFileBytesMax)));
  if (file.error().code() == ErrorCode::kNotFound) return std::vector<Proof>();
  return file.error();
}

std::optional<Proof> FindProof(const std::vector<Proof>& proofs, const std::string& circumstances) {
  const auto found = std::find_if(proofs.begin(), proofs.end(), [&](const Proof& proof) {
    return proof.circumstances == circumstances;
  });
  return found == proofs.end() ? std::nullopt : std::optional(*found);
}

std::optional<Proof> ProofFrom(const json::value& value) {
  const json::object* object = value.if_object();
  const json::value* circumstances = object ? object->if_contains("circumstances") : nullptr;
  const json::value* words = object ? object->if_contains("words") : nullptr;
  const json::value* landlock = object ? object->if_contains("landlock") : nullptr;
  if (circumstances == nullptr || words == nullptr || landlock == nullptr) return std::nullopt;
  if (!circumstances->is_string() || !words->is_array() || !landlock->is_int64()) {
    return std::nullopt;
  }
  if (landlock->as_int64() < 0 || landlock->as_int64() > kLandlockMax) return std::nullopt;
  Proof proof;
  proof.circumstances = std::string(circumstances->as_string());
  proof.landlock = static_cast<int>(landlock->as_int64());
  for (const json::value& word : words->as_array()) {
    if (word.is_string() && Contains(kWords, std::string_view(word.as_string()))) {
      proof.words.emplace_back(word.as_string());
    }
  }
  return proof;
}

const char* LayerOf(std::string_view word, const Diagnosis& diagnosis) {
  if (word == "landlock") return "landlock";
  for (const char* name : kLimitLayers) {
    if (!HoldsFully(diagnosis, name)) return name;
  }
  return "memory";
}

// Why a word does not hold, in the doctor's words.
Error Refuse(const std::string& text, const std::string& word, const Diagnosis& diagnosis) {
  const std::vector<std::string> held = WordsThatHold(diagnosis);
  const Layer* blamed = nullptr;
  if (word == "ns" || !diagnosis.healthy()) {
    for (const Layer& layer : diagnosis.layers) {
      const bool worse = blamed == nullptr || (blamed->advice.empty() && !layer.advice.empty());
      if (layer.holds == Holds::kNo && worse) blamed = &layer;
    }
  } else {
    blamed = diagnosis.Find(LayerOf(word, diagnosis));
  }
  std::string message = fmt::format("--require '{}': '{}' does not hold here", text, word);
  if (blamed != nullptr) message += fmt::format(" ({}: {})", blamed->name, blamed->why);
  message += "; what does: ";
  for (std::size_t i = 0; i < held.size(); ++i) message += (i == 0 ? "" : ", ") + held[i];
  return Error(ErrorCode::kUnsupported, message + ". `bailiff doctor` says what helps");
}

// A layer that was more by an earlier proof than it is now: runs are stopped for want of it.
void SayLost(const char* name, Diagnosis* diagnosis) {
  for (Layer& layer : diagnosis->layers) {
    if (layer.name != name) continue;
    layer.holds = Holds::kNo;
    if (!layer.why.empty()) layer.why += "; ";
    layer.why += "more was proved here before, so runs in this workspace stop until it holds again";
    layer.advice.emplace_back("delete proof.json in the state directory # to go on with less");
  }
}

// What is proved now and what was: what a launch may lack is never given up.
Proof Keep(const std::optional<Proof>& before, Proof now) {
  if (!before.has_value()) return now;
  for (const char* word : {"own-uid", "cgroup", "landlock"}) {
    if (Contains(before->words, word) && !Contains(now.words, word)) now.words.emplace_back(word);
  }
  now.landlock = std::max(now.landlock, before->landlock);
  return now;
}

void SayWhatWasLost(const Proof& before, const Proof& now, Diagnosis* diagnosis) {
  if (Contains(before.words, "cgroup") && !Contains(now.words, "cgroup")) {
    for (const char* name : kLimitLayers) {
      if (!HoldsFully(*diagnosis, name)) SayLost(name, diagnosis);
    }
  }
  if (before.landlock > now.landlock) SayLost("landlock", diagnosis);
  if (Contains(before.words, "own-uid") && !Contains(now.words, "own-uid") &&
      !HoldsFully(*diagnosis, "own-uid")) {
    SayLost("own-uid", diagnosis);
  }
}

}  // namespace

std::vector<std::string> WordsThatHold(const Diagnosis& diagnosis) {
  std::vector<std::string> words = {"none"};
  if (!diagnosis.healthy()) return words;
  words.emplace_back("ns");
  if (HoldsFully(diagnosis, "own-uid")) words.emplace_back("own-uid");
  const bool limited = std::all_of(std::begin(kLimitLayers), std::end(kLimitLayers),
                                   [&](const char* name) { return HoldsFully(diagnosis, name); });
  if (limited) words.emplace_back("cgroup");
  if (HoldsFully(diagnosis, "landlock")) words.emplace_back("landlock");
  return words;
}

Result<std::vector<std::string>> ParseRequire(const std::string& text) {
  std::vector<std::string> words;
  std::string_view rest = text;
  while (!text.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string word(rest.substr(0, comma));
    const std::string shown = "--require '" + EscapeForTerminal(text, Lines::kSingle) + "'";
    if (std::find(kOtherLevels.begin(), kOtherLevels.end(), word) != kOtherLevels.end()) {
      return Error(ErrorCode::kUnsupported,
                   fmt::format("{}: level '{}' needs an engine that is not here; the highest level "
                               "there is is 'ns'",
                               shown, word));
    }
    if (std::find(kWords.begin(), kWords.end(), word) == kWords.end()) {
      return Error(ErrorCode::kInvalidArgument,
                   shown + ": '" + EscapeForTerminal(word, Lines::kSingle) +
                       "' is not known; write none, ns, own-uid, cgroup or landlock, several of "
                       "them with commas between");
    }
    words.push_back(word);
    if (comma == std::string_view::npos) return words;
    rest.remove_prefix(comma + 1);
  }
  return words;
}

std::vector<Proof> DecodeProofs(std::string_view text) {
  std::vector<Proof> proofs;
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  const json::object* object = error ? nullptr : value.if_object();
  const json::value* list = object ? object->if_contains("proofs") : nullptr;
  if (list == nullptr || !list->is_array()) return proofs;
  for (const json::value& item : list->as_array()) {
    std::optional<Proof> proof = ProofFrom(item);
    if (proof.has_value() && proofs.size() < kProofsMax) proofs.push_back(std::move(*proof));
  }
  return proofs;
}

std::string EncodeProofs(const std::vector<Proof>& proofs) {
  json::array list;
  for (const Proof& proof : proofs) {
    json::object object;
    object["circumstances"] = proof.circumstances;
    json::array words;
    for (const std::string& word : proof.words) words.emplace_back(word);
    object["words"] = std::move(words);
    object["landlock"] = proof.landlock;
    list.push_back(std::move(object));
  }
  return json::serialize(json::object{{"proofs", std::move(list)}});
}

std::string PlaceAmongCgroups(std::string_view text) {
  std::string place;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    // <number>:<controllers>:<path>
    const std::size_t controllers = line.find(':') + 1;
    const std::size_t path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    place += line.substr(controllers, path - controllers);
    std::istringstream names(line.substr(path));
    for (std::string name; std::getline(names, name, '/');) place += KindOf(name) + "/";
    place += "\n";
  }
  return place;
}

Result<Diagnosis> Prove(Context& context) {
  Diagnosis diagnosis =
      TRY(Diagnose(context.launcher(),
                   UserWorkspace{context.workspace().root(), context.config().scratch_on_disk}));
  Proof now;
  now.circumstances = TRY(Circumstances(context));
  now.words = WordsThatHold(diagnosis);
  if (diagnosis.guarantees.has_value()) now.landlock = diagnosis.guarantees->landlock;
  std::vector<Proof> proofs = TRY(ReadProofs(context));
  const std::optional<Proof> before = FindProof(proofs, now.circumstances);
  if (before.has_value() && diagnosis.guarantees.has_value())
    SayWhatWasLost(*before, now, &diagnosis);
  std::erase_if(proofs,
                [&](const Proof& proof) { return proof.circumstances == now.circumstances; });
  // The newest last; what is older than so many is mostly of other boots.
  if (proofs.size() >= kProofsMax) proofs.erase(proofs.begin());
  proofs.push_back(Keep(before, std::move(now)));
  TRY(ReplaceFile(context.state_dir(), kFileName, EncodeProofs(proofs), kFileMode));
  return diagnosis;
}

Status ProveAhead(Context& context) {
  context.KeepCircumstances(TRY(Circumstances(context)));
  if (FindProof(TRY(ReadProofs(context)), *context.circumstances()).has_value()) return Ok();
  TRY(Prove(context));
  return Ok();
}

Result<Demands> DemandsOf(Context& context, const std::string& text) {
  std::vector<std::string> wanted = TRY(ParseRequire(text));
  std::erase(wanted, "none");
  Demands demands;
  // Whether ids can be mapped here is found out by each launch: no proof is needed for that.
  demands.own_uid = std::erase(wanted, "own-uid") > 0;
  if (demands.own_uid) wanted.emplace_back("ns");
  const auto read = [&]() -> Result<std::optional<Proof>> {
    const std::vector<Proof> proofs = TRY(ReadProofs(context));
    if (proofs.empty()) return std::optional<Proof>();
    return FindProof(proofs, TRY(Circumstances(context)));
  };
  std::optional<Proof> proof = TRY(read());
  if (!proof.has_value() && wanted.empty()) return demands;
  // What was missing then may have been mended since.
  const bool proved =
      proof.has_value() && std::all_of(wanted.begin(), wanted.end(), [&](const std::string& word) {
        return Contains(proof->words, word);
      });
  if (!proved && context.circumstances().has_value()) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("--require '{}': not all of that was proved to hold here when the "
                             "server started; `bailiff doctor` says what helps",
                             text));
  }
  if (!proved) {
    const Diagnosis diagnosis = TRY(Prove(context));
    const std::vector<std::string> held = WordsThatHold(diagnosis);
    for (const std::string& word : wanted) {
      if (!Contains(held, word)) return Refuse(text, word, diagnosis);
    }
    proof = TRY(read());
    if (!proof.has_value()) return Error(ErrorCode::kInternal, "the proof that was made is gone");
  }
  demands.own_uid = demands.own_uid || Contains(proof->words, "own-uid");
  demands.cgroup = Contains(proof->words, "cgroup");
  demands.landlock = Contains(proof->words, "landlock") ? proof->landlock : 0;
  return demands;
}

}  // namespace bailiff
