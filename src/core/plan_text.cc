#include "core/plan_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <initializer_list>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/units.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::size_t kNameBytesMax = 255;

bool HasControlBytes(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

// What is wrong with a path; "" for nothing, then `path` is it in the form that a change set has.
std::string ReadPath(std::string_view text, std::string* path) {
  if (text.empty()) return "is empty; name a file or directory";
  if (text.size() > kPlanPathBytesMax) {
    return fmt::format("is longer than {} bytes", kPlanPathBytesMax);
  }
  if (HasControlBytes(text)) return "has a control character, which no path of a plan may have";
  if (text.front() == '/') return "is absolute; write it without the leading '/'";
  path->clear();
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find('/'));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    if (name == "..") return "has '..' in it; write where it leads";
    if (name.size() > kNameBytesMax) {
      return fmt::format("has a name of more than {} bytes", kNameBytesMax);
    }
    if (name.empty() || name == ".") continue;
    if (!path->empty()) *path += '/';
    *path += name;
  }
  return path->empty() ? "names no file or directory" : "";
}

struct Fields {
  std::string_view type;
  PlanOp op;
  std::string_view source;  // The member that is the source; empty: there is none.
  std::string_view destination;
  bool has_content = false;
};

constexpr Fields kMutationTypes[] = {
    {"move", PlanOp::kMove, "source", "destination"},
    {"copy", PlanOp::kCopy, "source", "destination"},
    {"delete", PlanOp::kDelete, "source", ""},
    {"create_dir", PlanOp::kCreateDir, "", "destination"},
    {"write_file", PlanOp::kWriteFile, "", "destination", true},
};
constexpr Fields kFileOpsTypes[] = {
    {"move", PlanOp::kMove, "from", "to"},
    {"mkdir", PlanOp::kCreateDir, "", "path"},
};

// Reads one plan; every function notes what is wrong and goes on.
class Reader {
 public:
  enum class Source : std::uint8_t { kText, kDocument };
  explicit Reader(Source source) : source_(source) {}

  void Read(const json::object& object) {
    plan_.shape = ShapeOf(object);
    const bool file_ops = plan_.shape == Plan::Shape::kFileOps;
    if (source_ == Source::kText) {
      if (file_ops) {
        AllowOnly(object, "", {"case_name", "dry_run", "operations"});
      } else {
        AllowOnly(object, "",
                  {"plan_id", "case_name", "description", "operations", "created_by",
                   "requires_approval"});
      }
    }
    plan_.requires_approval = !file_ops;
    ReadCase(object);
    if (source_ == Source::kText && !file_ops) ReadMutationMembers(object);
    if (file_ops) ReadBool(object, "dry_run", &plan_.dry_run);
    ReadOperations(object);
  }

  Plan& plan() { return plan_; }
  std::vector<JsonFault>& faults() { return faults_; }

 private:
  static Plan::Shape ShapeOf(const json::object& object) {
    if (object.contains("dry_run")) return Plan::Shape::kFileOps;
    const json::value* operations = object.if_contains("operations");
    const bool has_first = operations != nullptr && operations->is_array() &&
                           !operations->as_array().empty() && operations->as_array()[0].is_object();
    if (!has_first) return Plan::Shape::kMutation;
    const json::object& first = operations->as_array()[0].as_object();
    const bool file_ops = first.contains("from") || first.contains("to") || first.contains("path");
    return file_ops ? Plan::Shape::kFileOps : Plan::Shape::kMutation;
  }

  void Fault(std::string pointer, std::string message) {
    if (faults_.size() < kPlanFaultsMax) {
      faults_.push_back({std::move(pointer), std::move(message)});
    }
  }

  // A member that is null is as one that is not there.
  static const json::value* Member(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  void AllowOnly(const json::object& object, const std::string& pointer,
                 std::initializer_list<std::string_view> names) {
    for (const auto& member : object) {
      const std::string_view key = member.key();
      if (std::find(names.begin(), names.end(), key) != names.end()) continue;
      std::string known;
      for (const std::string_view name : names) {
        if (name.empty()) continue;
        known += (known.empty() ? "" : ", ") + std::string(name);
      }
      Fault(PointerTo(pointer, key), "is unknown; there may be " + known);
    }
  }

  std::optional<std::string> Text(const json::object& object, const std::string& pointer,
                                  std::string_view name) {
    const json::value* value = Member(object, name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) {
      Fault(PointerTo(pointer, name), "must be a string");
      return std::nullopt;
    }
    return std::string(std::string_view(value->as_string()));
  }

  void ReadBool(const json::object& object, std::string_view name, bool* result) {
    const json::value* value = Member(object, name);
    if (value == nullptr) return;
    if (value->is_bool()) {
      *result = value->as_bool();
    } else {
      Fault(PointerTo("", name), "must be true or false");
    }
  }

  void ReadCase(const json::object& object) {
    const std::optional<std::string> name = Text(object, "", "case_name");
    if (!name.has_value()) {
      const bool missing =
          plan_.shape == Plan::Shape::kFileOps && Member(object, "case_name") == nullptr;
      if (missing) Fault("/case_name", "is missing; name the folder of projects/");
      return;
    }
    const bool is_name = !name->empty() && *name != "." && *name != ".." &&
                         name->find('/') == std::string::npos && name->size() <= kNameBytesMax &&
                         !HasControlBytes(*name);
    if (!is_name) return Fault("/case_name", "must be the name of a folder of projects/");
    plan_.case_name = *name;
  }

  void ReadMutationMembers(const json::object& object) {
    const std::optional<std::string> id = Text(object, "", "plan_id");
    if (id.has_value() && !id->empty()) {
      Fault("/plan_id", "is given by Bailiff; leave it out or empty");
    }
    plan_.description = Text(object, "", "description").value_or("");
    if (plan_.description.size() > kPlanDescriptionBytesMax) {
      Fault("/description", fmt::format("is longer than {} bytes", kPlanDescriptionBytesMax));
    }
    plan_.created_by = Text(object, "", "created_by").value_or("");
    const bool is_name =
        plan_.created_by.size() <= kNameBytesMax && !HasControlBytes(plan_.created_by);
    if (!is_name) {
      Fault("/created_by",
            fmt::format("must be at most {} bytes without control characters", kNameBytesMax));
    }
    ReadBool(object, "requires_approval", &plan_.requires_approval);
  }

  void ReadOperations(const json::object& object) {
    const json::value* value = Member(object, "operations");
    if (value == nullptr || !value->is_array() || value->as_array().empty()) {
      return Fault("/operations", "must be an array of at least one operation");
    }
    const json::array& array = value->as_array();
    if (array.size() > kPlanOperationsMax) {
      return Fault("/operations", fmt::format("has {} operations and may have {}", array.size(),
                                              kPlanOperationsMax));
    }
    for (std::size_t i = 0; i < array.size(); ++i) {
      const std::string pointer = "/operations/" + std::to_string(i);
      if (array[i].is_object()) {
        ReadOperation(array[i].as_object(), pointer);
      } else {
        Fault(pointer, "must be an object");
      }
    }
    if (content_bytes_ > kPlanContentBytesMax) {
      Fault("/operations", fmt::format("has {} of content and may have {}",
                                       FormatSize(static_cast<std::int64_t>(content_bytes_)),
                                       FormatSize(kPlanContentBytesMax)));
    }
  }

  const Fields* FieldsOf(const json::object& object, const std::string& pointer) {
    const std::optional<std::string> type = Text(object, pointer, "type");
    const bool file_ops = plan_.shape == Plan::Shape::kFileOps;
    const Fields* begin = file_ops ? std::begin(kFileOpsTypes) : std::begin(kMutationTypes);
    const Fields* end = file_ops ? std::end(kFileOpsTypes) : std::end(kMutationTypes);
    const Fields* found =
        std::find_if(begin, end, [&](const Fields& fields) { return fields.type == type; });
    if (found != end) return found;
    const bool told = !type.has_value() && Member(object, "type") != nullptr;  // By Text().
    std::string known;
    for (const Fields* at = begin; at != end; ++at) {
      known += (known.empty() ? "" : ", ") + std::string(at->type);
    }
    if (!told) Fault(pointer + "/type", "must be one of " + known);
    return nullptr;
  }

  void ReadOperation(const json::object& object, const std::string& pointer) {
    const Fields* fields = FieldsOf(object, pointer);
    if (fields == nullptr) return;
    CheckMembers(object, pointer, *fields);
    PlanOperation operation;
    operation.op = fields->op;
    if (!fields->source.empty()) {
      operation.source = Path(object, pointer, fields->source);
    }
    if (!fields->destination.empty()) {
      operation.destination = Path(object, pointer, fields->destination);
    }
    if (fields->has_content) ReadContent(object, pointer, &operation);
    plan_.operations.push_back(std::move(operation));
  }

  // The members of other types may be there as null.
  void CheckMembers(const json::object& object, const std::string& pointer, const Fields& fields) {
    if (plan_.shape == Plan::Shape::kFileOps) {
      AllowOnly(object, pointer, {"type", "from", "to", "path"});
    } else {
      AllowOnly(object, pointer, {"type", "source", "destination", "content", "content_b64"});
    }
    for (const std::string_view name :
         {"source", "destination", "from", "to", "path", "content", "content_b64"}) {
      const bool belongs = name == fields.source || name == fields.destination ||
                           (fields.has_content && name.starts_with("content"));
      if (!belongs && Member(object, name) != nullptr && IsOfShape(name)) {
        Fault(PointerTo(pointer, name), fmt::format("does not belong to {}", fields.type));
      }
    }
  }

  // AllowOnly() has told of the others.
  bool IsOfShape(std::string_view name) const {
    const bool file_ops = name == "from" || name == "to" || name == "path";
    return file_ops == (plan_.shape == Plan::Shape::kFileOps);
  }

  std::string Path(const json::object& object, const std::string& pointer, std::string_view name) {
    const std::string place = PointerTo(pointer, name);
    if (Member(object, name) == nullptr) {
      Fault(place, "is missing; name a file or directory");
      return "";
    }
    const std::optional<std::string> text = Text(object, pointer, name);
    if (!text.has_value()) return "";
    std::string path;
    const std::string wrong = ReadPath(*text, &path);
    if (!wrong.empty()) {
      Fault(place, wrong);
      return "";
    }
    if (plan_.shape == Plan::Shape::kMutation) return path;
    const std::string folder = plan_.case_name + "/";
    if (!path.starts_with(folder)) {
      // That the case itself is wrong is told already.
      if (!plan_.case_name.empty()) Fault(place, "must begin with the case's folder: " + folder);
      return "";
    }
    return path.substr(folder.size());
  }

  void ReadContent(const json::object& object, const std::string& pointer,
                   PlanOperation* operation) {
    if (source_ == Source::kDocument) return ReadSummary(object, pointer, operation);
    const bool encoded = Member(object, "content_b64") != nullptr;
    if (encoded && Member(object, "content") != nullptr) {
      return Fault(pointer + "/content_b64", "is given beside content; give one of them");
    }
    std::optional<std::string> content = Text(object, pointer, encoded ? "content_b64" : "content");
    if (encoded && content.has_value()) {
      Result<std::string> decoded = FromBase64(*content);
      if (!decoded.ok()) return Fault(pointer + "/content_b64", "is not base64 (RFC 4648)");
      content = std::move(decoded).value();
    }
    operation->content = std::move(content).value_or("");
    operation->size = static_cast<std::int64_t>(operation->content.size());
    operation->sha256 = Sha256::Of(operation->content);
    content_bytes_ += operation->content.size();
  }

  void ReadSummary(const json::object& object, const std::string& pointer,
                   PlanOperation* operation) {
    const json::value* content = Member(object, "content");
    const bool whole = content != nullptr && content->is_object() &&
                       content->as_object().contains("size") &&
                       content->as_object().at("size").is_int64();
    if (!whole) return Fault(pointer + "/content", "must be an object with size and sha256");
    const std::optional<std::string> digest =
        Text(content->as_object(), pointer + "/content", "sha256");
    const Result<std::string> raw = FromHex(digest.value_or(""));
    operation->size = content->as_object().at("size").as_int64();
    if (!raw.ok() || raw.value().size() != Sha256::kSize || operation->size < 0) {
      return Fault(pointer + "/content", "must be an object with size and sha256");
    }
    operation->sha256 = raw.value();
  }

  const Source source_;
  Plan plan_;
  std::size_t content_bytes_ = 0;
  std::vector<JsonFault> faults_;
};

const Fields& FieldsFor(Plan::Shape shape, PlanOp op) {
  if (shape == Plan::Shape::kFileOps) return kFileOpsTypes[op == PlanOp::kMove ? 0 : 1];
  return *std::find_if(std::begin(kMutationTypes), std::end(kMutationTypes),
                       [op](const Fields& fields) { return fields.op == op; });
}

}  // namespace

ParsedPlan ParsePlan(std::string_view text) {
  ParsedPlan parsed;
  if (text.size() > kPlanTextBytesMax) {
    parsed.faults.push_back({"", fmt::format("is longer than {}", FormatSize(kPlanTextBytesMax))});
    return parsed;
  }
  std::optional<JsonFault> fault = CheckJson(text);
  if (fault.has_value()) {
    parsed.faults.push_back(*std::move(fault));
    return parsed;
  }
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) {
    parsed.faults.push_back({"", "must be a JSON object: a plan"});
    return parsed;
  }
  Reader reader(Reader::Source::kText);
  reader.Read(value.as_object());
  parsed.plan = std::move(reader.plan());
  parsed.plan.sha256 = Sha256::Of(text);
  parsed.faults = std::move(reader.faults());
  return parsed;
}

json::array OperationsToJson(const Plan& plan) {
  json::array array;
  const bool file_ops = plan.shape == Plan::Shape::kFileOps;
  const std::string folder = file_ops ? plan.case_name + "/" : "";
  for (const PlanOperation& operation : plan.operations) {
    const Fields& fields = FieldsFor(plan.shape, operation.op);
    json::object object;
    object["type"] = fields.type;
    if (!fields.source.empty()) object[fields.source] = folder + operation.source;
    if (!fields.destination.empty()) object[fields.destination] = folder + operation.destination;
    if (fields.has_content) {
      object["content"] = {{"size", operation.size}, {"sha256", ToHex(operation.sha256)}};
    }
    array.push_back(std::move(object));
  }
  return array;
}

Result<Plan> PlanFromDocument(const json::object& document) {
  Reader reader(Reader::Source::kDocument);
  reader.Read(document);
  if (reader.faults().empty()) return std::move(reader.plan());
  return Error(ErrorCode::kInvalidArgument, Describe(reader.faults().front()));
}

}  // namespace bailiff
