#include "core/proof.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "core/context.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr const char* kFileName = "proof.json";
constexpr std::size_t kFileBytesMax = 64UL * 1024;
constexpr std::array<const char*, 5> kWords = {"none", "ns", "own-uid", "cgroup", "landlock"};
constexpr std::array<std::string_view, 2> kOtherLevels = {"gvisor", "vm"};
constexpr const char* kLimitLayers[] = {"memory", "pids", "cpu"};

struct Proof {
  std::string circumstances;
  std::vector<std::string> words;  // That hold.
  int landlock = 0;
};

bool Contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool HoldsFully(const Diagnosis& diagnosis, const std::string& name) {
  const Layer* layer = diagnosis.Find(name);
  return layer != nullptr && layer->holds == Holds::kYes;
}

Result<std::string> ReadText(const char* path) {
  const Fd file = TRY(OpenPath(path, O_RDONLY));
  return ReadAll(file, kFileBytesMax);
}

// Everything that has to be as it was for a proof to count. Its SHA-256, in hexadecimal.
Result<std::string> Circumstances() {
  struct utsname kernel = {};
  if (::uname(&kernel) != 0) return Error::FromErrno(errno, "uname");
  const Fd program = TRY(OpenPath("/proc/self/exe", O_PATH));
  const struct stat st = TRY(Stat(program));
  std::string text = TRY(ReadText("/proc/sys/kernel/random/boot_id"));
  text += TRY(ReadText("/proc/self/cgroup"));
  text +=
      fmt::format("{}\n{}\n{}\n{}\n", kernel.release, kernel.version, ::geteuid(), BAILIFF_VERSION);
  text += fmt::format("{} {} {} {} {}\n", st.st_dev, st.st_ino, st.st_size, ToNanos(st.st_mtim),
                      ToNanos(st.st_ctim));
  return ToHex(Sha256::Of(text));
}

// Nothing when there is none, or none that counts here and now.
Result<std::optional<Proof>> ReadProof(const Context& context) {
  const Result<Fd> file = OpenBeneath(context.state_dir(), kFileName, O_RDONLY);
  if (!file.ok()) {
    if (file.error().code() == ErrorCode::kNotFound) return std::optional<Proof>();
    return file.error();
  }
  boost::system::error_code error;
  const json::value value = json::parse(TRY(ReadAll(file.value(), kFileBytesMax)), error);
  const json::object* object = error ? nullptr : value.if_object();
  const json::value* circumstances = object ? object->if_contains("circumstances") : nullptr;
  const json::value* words = object ? object->if_contains("words") : nullptr;
  const json::value* landlock = object ? object->if_contains("landlock") : nullptr;
  // What cannot be read is not a proof.
  if (circumstances == nullptr || words == nullptr || landlock == nullptr) {
    return std::optional<Proof>();
  }
  if (!circumstances->is_string() || !words->is_array() || !landlock->is_int64()) {
    return std::optional<Proof>();
  }
  Proof proof;
  proof.circumstances = std::string(circumstances->as_string());
  for (const json::value& word : words->as_array()) {
    if (word.is_string()) proof.words.emplace_back(word.as_string());
  }
  proof.landlock = static_cast<int>(landlock->as_int64());
  if (proof.circumstances != TRY(Circumstances())) return std::optional<Proof>();
  return std::optional(std::move(proof));
}

Status WriteProof(const Context& context, const Proof& proof) {
  json::object object;
  object["circumstances"] = proof.circumstances;
  json::array words;
  for (const std::string& word : proof.words) words.emplace_back(word);
  object["words"] = std::move(words);
  object["landlock"] = proof.landlock;
  return ReplaceFile(context.state_dir(), kFileName, json::serialize(object), 0600);
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

Result<Proof> Prove(Context& context, const std::string& text,
                    const std::vector<std::string>& wanted) {
  const Diagnosis diagnosis = TRY(Diagnose(context.launcher()));
  Proof proof;
  proof.circumstances = TRY(Circumstances());
  proof.words = WordsThatHold(diagnosis);
  if (diagnosis.guarantees.has_value()) proof.landlock = diagnosis.guarantees->landlock;
  for (const std::string& word : wanted) {
    if (!Contains(proof.words, word)) return Refuse(text, word, diagnosis);
  }
  TRY(WriteProof(context, proof));
  return proof;
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

Result<Demands> DemandsOf(Context& context, const std::string& text) {
  std::vector<std::string> wanted = TRY(ParseRequire(text));
  std::erase(wanted, "none");
  Demands demands;
  // Whether ids can be mapped is up to the file system of the workspace: the launch finds out.
  demands.own_uid = std::erase(wanted, "own-uid") > 0;
  std::optional<Proof> proof = TRY(ReadProof(context));
  if (!proof.has_value() && wanted.empty() && !demands.own_uid) return demands;
  // What was missing then may have been mended since.
  const bool proved =
      proof.has_value() && std::all_of(wanted.begin(), wanted.end(), [&](const std::string& word) {
        return Contains(proof->words, word);
      });
  if (!proved) proof = TRY(Prove(context, text, wanted));
  demands.cgroup = Contains(proof->words, "cgroup");
  demands.landlock = Contains(proof->words, "landlock") ? proof->landlock : 0;
  return demands;
}

}  // namespace bailiff
