#include "core/strict_json.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace bailiff {
namespace {

namespace json = boost::json;
using json::error_code;
using json::string_view;

constexpr std::size_t kDepthMax = 32;

// Looks for a key that comes twice in one object: the parser would keep the last value and drop the
// others, and another reader of the same text may see another one.
class KeyChecker {
 public:
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  const std::optional<std::string>& twice() const { return twice_; }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t, error_code&) { return true; }
  bool on_object_begin(error_code&) {
    keys_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, error_code&) {
    keys_.pop_back();
    return true;
  }
  bool on_string_part(string_view, std::size_t, error_code&) { return true; }
  bool on_string(string_view, std::size_t, error_code&) { return true; }
  bool on_key_part(string_view part, std::size_t, error_code&) {
    key_ += part;
    return true;
  }
  bool on_key(string_view part, std::size_t, error_code& error) {
    key_ += part;
    if (!keys_.back().insert(key_).second) {
      twice_ = key_;
      error = json::error::extra_data;
      return false;
    }
    key_.clear();
    return true;
  }
  bool on_number_part(string_view, error_code&) { return true; }
  bool on_int64(std::int64_t, string_view, error_code&) { return true; }
  bool on_uint64(std::uint64_t, string_view, error_code&) { return true; }
  bool on_double(double, string_view, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }

 private:
  std::vector<std::set<std::string>> keys_;  // Of each object that is open.
  std::string key_;
  std::optional<std::string> twice_;
};

}  // namespace

Result<json::value> ParseStrictJson(std::string_view text) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::basic_parser<KeyChecker> checker(options);
  error_code error;
  const std::size_t read = checker.write_some(false, text.data(), text.size(), error);
  if (const std::optional<std::string>& twice = checker.handler().twice(); twice.has_value()) {
    return Error(
        ErrorCode::kInvalidArgument,
        "the key '" + EscapeForTerminal(*twice, Lines::kSingle) + "' comes twice in one object");
  }
  json::value value = json::parse(text, error, {}, options);
  if (error) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("is not JSON: {} (after {} bytes; at most {} levels deep)",
                             error.message(), read, kDepthMax));
  }
  return value;
}

}  // namespace bailiff
