#include "core/request_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr double kSecondsMax = 1e6;

Error At(const std::string& pointer, std::string_view what) {
  std::string text = pointer.empty() ? std::string(what) : fmt::format("{}: {}", pointer, what);
  return Error(ErrorCode::kInvalidArgument, std::move(text));
}

// One object of a request: each key that is asked for is taken, and what is left is unknown.
class Fields {
 public:
  Fields(const json::object& object, std::string pointer)
      : object_(object), pointer_(std::move(pointer)) {}

  // Nothing when the key is absent, or null.
  const json::value* Take(std::string_view key) {
    if (std::find(taken_.begin(), taken_.end(), key) == taken_.end()) taken_.emplace_back(key);
    const json::value* value = object_.if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  std::string PointerTo(std::string_view key) const {
    std::string escaped;
    for (const char c : key) {
      if (c == '~') {
        escaped += "~0";
      } else if (c == '/') {
        escaped += "~1";
      } else {
        escaped += c;
      }
    }
    return pointer_ + "/" + escaped;
  }

  Status Text(std::string_view key, std::string* to) {
    const json::value* value = Take(key);
    if (value == nullptr) return Ok();
    if (!value->is_string()) return At(PointerTo(key), "must be a string");
    const std::string_view text = value->get_string();
    if (text.find('\0') != std::string_view::npos) {
      return At(PointerTo(key), "must not contain a zero byte");
    }
    *to = text;
    return Ok();
  }

  Status Strings(std::string_view key, std::vector<std::string>* to) {
    const json::value* value = Take(key);
    if (value == nullptr) return Ok();
    if (!value->is_array()) return At(PointerTo(key), "must be an array of strings");
    for (std::size_t i = 0; i < value->get_array().size(); ++i) {
      const json::value& item = value->get_array()[i];
      const std::string pointer = fmt::format("{}/{}", PointerTo(key), i);
      if (!item.is_string()) return At(pointer, "must be a string");
      const std::string_view text = item.get_string();
      if (text.find('\0') != std::string_view::npos) {
        return At(pointer, "must not contain a zero byte");
      }
      to->emplace_back(text);
    }
    return Ok();
  }

  Status Integer(std::string_view key, std::int64_t* to) {
    const json::value* value = Take(key);
    if (value == nullptr) return Ok();
    if (!value->is_int64()) return At(PointerTo(key), "must be a whole number below 2^63");
    *to = value->get_int64();
    return Ok();
  }

  Status Number(std::string_view key, double* to) {
    const json::value* value = Take(key);
    if (value == nullptr) return Ok();
    if (!value->is_number()) return At(PointerTo(key), "must be a number");
    *to = value->to_number<double>();
    if (!std::isfinite(*to)) return At(PointerTo(key), "must be a finite number");
    return Ok();
  }

  Status Seconds(std::string_view key, std::chrono::milliseconds* to) {
    double seconds = static_cast<double>(to->count()) / 1000;
    TRY(Number(key, &seconds));
    if (seconds <= 0 || seconds > kSecondsMax) {
      return At(PointerTo(key),
                fmt::format("must be more than 0 and at most {:.0f} seconds", kSecondsMax));
    }
    *to = std::chrono::milliseconds(static_cast<std::int64_t>(std::ceil(seconds * 1000)));
    return Ok();
  }

  Status Flag(std::string_view key, bool* to) {
    const json::value* value = Take(key);
    if (value == nullptr) return Ok();
    if (!value->is_bool()) return At(PointerTo(key), "must be true or false");
    *to = value->get_bool();
    return Ok();
  }

  // Errors when there is a key that nobody asked for.
  Status NoMore() const {
    for (const auto& [key, value] : object_) {
      bool known = false;
      for (const std::string& name : taken_) known = known || name == key;
      if (known) continue;
      std::string names;
      for (const std::string& name : taken_) names += (names.empty() ? "" : ", ") + name;
      return At(PointerTo(std::string(key)), "is not a known field; known: " + names);
    }
    return Ok();
  }

 private:
  const json::object& object_;
  std::string pointer_;
  std::vector<std::string> taken_;
};

Status ReadProgram(Fields* fields, RunRequest* request) {
  TRY(fields->Text("script_path", &request->script));
  TRY(fields->Strings("script_args", &request->args));
  TRY(fields->Strings("command", &request->command));
  if (const json::value* code = fields->Take("code")) {
    if (!code->is_string()) return At("/code", "must be a string");
    request->code = std::string(code->get_string());
  }
  std::string language;
  TRY(fields->Text("language", &language));
  const int given = static_cast<int>(!request->script.empty()) +
                    static_cast<int>(request->code.has_value()) +
                    static_cast<int>(!request->command.empty());
  if (given != 1) {
    return At("", "must have exactly one of script_path, code and command");
  }
  if (request->script.empty() && fields->Take("script_path") != nullptr) {
    return At("/script_path", "is empty; leave it out");
  }
  if (request->command.empty() && fields->Take("command") != nullptr) {
    return At("/command", "is empty; leave it out");
  }
  if (!request->command.empty() && !request->args.empty()) {
    return At("/script_args", "belong to a script; put them into command");
  }
  if (language.empty()) return Ok();
  if (!request->code.has_value()) return At("/language", "goes with code only");
  if (language == "python") {
    request->language = Language::kPython;
  } else if (language == "bash") {
    request->language = Language::kBash;
  } else {
    return At("/language", "must be python or bash");
  }
  return Ok();
}

Status ReadLimits(Fields* fields, RunRequest* request) {
  const json::value* value = fields->Take("limits");
  if (value == nullptr) return Ok();
  if (!value->is_object()) return At("/limits", "must be an object");
  Fields limits(value->get_object(), "/limits");
  TRY(limits.Seconds("timeout_seconds", &request->limits.timeout));
  TRY(limits.Integer("memory_bytes", &request->limits.memory_bytes));
  TRY(limits.Number("cpus", &request->limits.cpus));
  TRY(limits.Integer("pids", &request->limits.pids));
  TRY(limits.Integer("scratch_bytes", &request->limits.scratch_bytes));
  TRY(limits.Integer("files", &request->limits.files));
  TRY(limits.Integer("output_bytes", &request->output_bytes));
  return limits.NoMore();
}

Status ReadMode(Fields* fields, std::string_view key, Mode* to) {
  std::string name;
  TRY(fields->Text(key, &name));
  if (name.empty()) return Ok();
  const Result<Mode> mode = ParseMode(name);
  if (!mode.ok()) return At(fields->PointerTo(key), mode.error().message());
  *to = mode.value();
  return Ok();
}

Status ReadEnvironment(Fields* fields, RunRequest* request) {
  const json::value* value = fields->Take("env");
  if (value == nullptr) return Ok();
  if (!value->is_object()) return At("/env", "must be an object of names and strings");
  Fields env(value->get_object(), "/env");
  for (const auto& [name, text] : value->get_object()) {
    std::string taken;
    TRY(env.Text(name, &taken));
    if (text.is_null()) return At(env.PointerTo(name), "must be a string");
    const bool bad = name.empty() || name.find('=') != json::string_view::npos ||
                     name.find('\0') != json::string_view::npos;
    if (bad) return At(env.PointerTo(name), "is not the name of a variable");
    request->env.push_back(std::string(name) + "=" + taken);
  }
  return Ok();
}

Status ReadInput(Fields* fields, RunRequest* request) {
  const json::value* value = fields->Take("stdin");
  if (value == nullptr) return Ok();
  if (!value->is_string()) return At("/stdin", "must be a string");
  if (request->code.has_value()) {
    return At("/stdin", "cannot go with code, which its interpreter reads there");
  }
  request->in = TRY(MakeMemoryFile("stdin", std::string_view(value->get_string())));
  return Ok();
}

}  // namespace

Result<RunRequest> RequestFromJson(const json::object& body) {
  RunRequest request;
  Fields fields(body, "");
  TRY(ReadProgram(&fields, &request));
  TRY(fields.Text("case_name", &request.case_name));
  TRY(fields.Text("working_dir", &request.cwd));
  TRY(ReadMode(&fields, "mode", &request.mode));
  TRY(ReadMode(&fields, "on_failure", &request.on_failure));
  TRY(fields.Text("environment", &request.environment));
  TRY(ReadLimits(&fields, &request));
  std::string network;
  TRY(fields.Text("network", &network));
  if (network == "host") {
    request.network = Network::kHost;
  } else if (!network.empty() && network != "none") {
    return At("/network", "must be none or host");
  }
  TRY(ReadEnvironment(&fields, &request));
  TRY(ReadInput(&fields, &request));
  TRY(fields.Text("require", &request.require_level));
  TRY(fields.Text("description", &request.description));
  TRY(fields.Seconds("wait_lock_seconds", &request.wait_lock));
  bool cold = false;
  TRY(fields.Flag("cold", &cold));  // Every start is cold.
  TRY(fields.NoMore());
  return request;
}

}  // namespace bailiff
