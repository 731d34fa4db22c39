#include "core/strict_json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

namespace bailiff {
namespace {

namespace json = boost::json;

// Builds nothing; knows where it is, and which names it has seen in the objects around.
class Checker {
 public:
  using Code = boost::system::error_code;
  using View = json::string_view;

  // NOLINTBEGIN(readability-identifier-naming): the names that Boost.JSON looks for.
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  // NOLINTEND(readability-identifier-naming)

  const std::optional<JsonFault>& fault() const { return fault_; }

  bool on_document_begin(Code& /*code*/) { return true; }
  bool on_document_end(Code& /*code*/) { return true; }
  bool on_object_begin(Code& /*code*/) {
    Value();
    levels_.push_back({.is_object = true});
    return true;
  }
  bool on_object_end(std::size_t /*size*/, Code& /*code*/) {
    levels_.pop_back();
    return true;
  }
  bool on_array_begin(Code& /*code*/) {
    Value();
    levels_.push_back({.is_object = false});
    return true;
  }
  bool on_array_end(std::size_t /*size*/, Code& /*code*/) {
    levels_.pop_back();
    return true;
  }
  bool on_key_part(View part, std::size_t /*size*/, Code& /*code*/) {
    key_ += std::string_view(part);
    return true;
  }
  bool on_key(View part, std::size_t /*size*/, Code& code) {
    key_ += std::string_view(part);
    const auto [name, is_new] = levels_.back().names.insert(std::exchange(key_, ""));
    levels_.back().at = *name;
    if (is_new) return true;
    fault_ = {Pointer(), "is given twice; give it once"};
    code = json::error::syntax;
    return false;
  }
  bool on_string_part(View /*part*/, std::size_t /*size*/, Code& /*code*/) { return true; }
  bool on_string(View /*part*/, std::size_t /*size*/, Code& /*code*/) { return Value(); }
  bool on_number_part(View /*part*/, Code& /*code*/) { return true; }
  bool on_int64(std::int64_t /*value*/, View /*text*/, Code& /*code*/) { return Value(); }
  bool on_uint64(std::uint64_t /*value*/, View /*text*/, Code& /*code*/) { return Value(); }
  bool on_double(double /*value*/, View /*text*/, Code& /*code*/) { return Value(); }
  bool on_bool(bool /*value*/, Code& /*code*/) { return Value(); }
  bool on_null(Code& /*code*/) { return Value(); }
  bool on_comment_part(View /*part*/, Code& /*code*/) { return true; }
  bool on_comment(View /*part*/, Code& /*code*/) { return true; }

 private:
  struct Level {
    bool is_object = false;
    std::set<std::string> names;
    std::string at;         // Of an object: the name whose value is being read.
    std::size_t count = 0;  // Of an array: the values so far.
  };

  bool Value() {
    if (!levels_.empty() && !levels_.back().is_object) ++levels_.back().count;
    return true;
  }

  std::string Pointer() const {
    std::string pointer;
    for (const Level& level : levels_) {
      const std::string step = level.is_object ? level.at : std::to_string(level.count - 1);
      pointer = PointerTo(pointer, step);
    }
    return pointer;
  }

  std::vector<Level> levels_;
  std::string key_;
  std::optional<JsonFault> fault_;
};

}  // namespace

std::string Describe(const JsonFault& fault) {
  return fault.pointer.empty() ? fault.message : fault.pointer + ": " + fault.message;
}

std::string PointerTo(std::string_view pointer, std::string_view member) {
  std::string result(pointer);
  result += '/';
  for (const char c : member) {
    if (c == '~') {
      result += "~0";
    } else if (c == '/') {
      result += "~1";
    } else {
      result += c;
    }
  }
  return result;
}

std::optional<JsonFault> CheckJson(std::string_view text) {
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  json::basic_parser<Checker> parser(options);
  boost::system::error_code code;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), code);
  if (parser.handler().fault().has_value()) return parser.handler().fault();
  if (!code && read < text.size()) code = json::error::extra_data;
  if (!code) return std::nullopt;
  return JsonFault{"", "is not JSON: at byte " + std::to_string(read) + ": " + code.message()};
}

}  // namespace bailiff
