#include "ledger/record.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "base/bytes.h"
#include "base/sha256.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

constexpr std::string_view kSegmentSuffix = ".jsonl";
constexpr std::size_t kSegmentDigits = 8;
constexpr std::size_t kHashDigits = 2 * Sha256::kSize;
constexpr std::string_view kNotePrefix = "bailiff/";
constexpr std::string_view kSignaturePrefix = "\n\u2014 ";  // A blank line and an em dash.
constexpr char kEd25519NoteAlgorithm = '\x01';

Error Bad(std::string what) {
  return Error(ErrorCode::kInvalidArgument, std::move(what));
}

Result<std::string> HashFromHex(std::string_view hex, std::string_view what) {
  Result<std::string> raw = FromHex(hex);
  if (!raw.ok() || raw.value().size() != Sha256::kSize || ToHex(raw.value()) != hex) {
    return Bad(std::string(what) + " is not 64 lower-case hexadecimal digits");
  }
  return raw;
}

Result<std::uint64_t> ParseDecimal(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() ||
      (text.size() > 1 && text.front() == '0')) {
    return Bad("not a number");
  }
  return value;
}

Result<std::string> StringField(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) {
    return Bad("the record has no text field '" + std::string(name) + "'");
  }
  return std::string(value->get_string());
}

// The first bytes of a note's signature name the key: the C2SP signed-note format.
std::string NoteKeyHash(std::string_view name, std::string_view public_key) {
  std::string input(name);
  input += '\n';
  input += kEd25519NoteAlgorithm;
  input += public_key;
  return Sha256::Of(input).substr(0, 4);
}

std::string NoteBody(const SignedHead& head) {
  return std::string(kNotePrefix) + head.ledger_id + "\n" + std::to_string(head.seq) + "\n" +
         ToBase64(head.head) + "\n";
}

std::string Note(const SignedHead& head, std::string_view public_key, std::string_view signature) {
  const std::string name = std::string(kNotePrefix) + head.ledger_id;
  const std::string blob = NoteKeyHash(name, public_key) + std::string(signature);
  return NoteBody(head) + std::string(kSignaturePrefix) + name + " " + ToBase64(blob) + "\n";
}

// Splits off the text before the next newline. False when there is none.
bool TakeLine(std::string_view* text, std::string_view* line) {
  const std::size_t end = text->find('\n');
  if (end == std::string_view::npos) return false;
  *line = text->substr(0, end);
  text->remove_prefix(end + 1);
  return true;
}

}  // namespace

std::string SegmentName(std::uint32_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, kSegmentDigits - std::min(kSegmentDigits, digits.size()), '0');
  return digits + std::string(kSegmentSuffix);
}

Result<std::vector<std::uint32_t>> ListSegments(const Fd& dir) {
  std::vector<std::uint32_t> numbers;
  const std::vector<std::string> names = TRY(ListDir(dir, kSegmentsMax));
  for (const std::string& name : names) {
    if (name.size() != kSegmentDigits + kSegmentSuffix.size()) continue;
    std::uint32_t number = 0;
    std::from_chars(name.data(), name.data() + kSegmentDigits, number);
    if (number > 0 && name == SegmentName(number)) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<std::string> ReadWhole(const Fd& dir, const std::string& name, std::size_t bytes_max) {
  // Without O_NONBLOCK, a FIFO of this name would stop us here.
  const Fd file = TRY(OpenBeneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const struct stat st = TRY(Stat(file));
  if (!S_ISREG(st.st_mode)) return Error(ErrorCode::kUnsupported, name + ": not a regular file");
  Result<std::string> bytes = ReadAll(file, bytes_max);
  if (!bytes.ok()) return std::move(bytes).error().WithContext(name);
  return bytes;
}

std::string GenesisHash(std::string_view ledger_id) {
  return Sha256::Of("bailiff ledger " + std::string(ledger_id));
}

std::string FormatLine(Record* record, std::string_view prev) {
  json::object object;
  object["seq"] = record->seq;
  object["time"] = record->time;
  object["type"] = record->type;
  object["prev"] = ToHex(prev);
  object["data"] = record->data;
  const std::string text = json::serialize(object);
  record->hash = Sha256::Of(std::string(prev) + text);
  return ToHex(record->hash) + " " + text + "\n";
}

Result<ChainedRecord> ParseLine(std::string_view line) {
  if (line.size() < kHashDigits + 2 || line[kHashDigits] != ' ') {
    return Bad("the line is not a hash, a space and a record");
  }
  if (line.size() > kHashDigits + 1 + kLedgerRecordBytesMax) return Bad("the record is too large");
  ChainedRecord chained;
  Record& record = chained.record;
  record.hash = TRY(HashFromHex(line.substr(0, kHashDigits), "the hash"));
  const std::string_view text = line.substr(kHashDigits + 1);
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error.failed() || !value.is_object()) return Bad("the record is not a JSON object");

  const json::object& object = value.get_object();
  const json::value* seq = object.if_contains("seq");
  const json::value* data = object.if_contains("data");
  if (seq == nullptr || !seq->is_int64() || seq->get_int64() <= 0) {
    return Bad("the record has no number");
  }
  if (data == nullptr || !data->is_object()) return Bad("the record has no object 'data'");
  record.seq = static_cast<std::uint64_t>(seq->get_int64());
  record.time = TRY(StringField(object, "time"));
  record.type = TRY(StringField(object, "type"));
  record.data = data->get_object();
  const std::string prev_hex = TRY(StringField(object, "prev"));
  chained.prev = TRY(HashFromHex(prev_hex, "'prev'"));
  if (Sha256::Of(chained.prev + std::string(text)) != record.hash) {
    return Bad("the hash is not that of the record");
  }
  return chained;
}

std::string SignHead(const SignedHead& head, const SigningKey& key) {
  return Note(head, key.PublicRaw(), key.Sign(NoteBody(head)));
}

Result<SignedHead> ParseSignedHead(std::string_view text) {
  SignedHead head;
  std::string_view line;
  if (!TakeLine(&text, &line) || !line.starts_with(kNotePrefix)) {
    return Bad("the first line of a checkpoint is 'bailiff/' and the ledger's id");
  }
  head.ledger_id = line.substr(kNotePrefix.size());
  if (!TakeLine(&text, &line)) return Bad("the checkpoint has no record number");
  Result<std::uint64_t> seq = ParseDecimal(line);
  if (!seq.ok()) return Bad("the second line of a checkpoint is a record number");
  head.seq = seq.value();
  if (!TakeLine(&text, &line)) return Bad("the checkpoint has no hash");
  Result<std::string> hash = FromBase64(line);
  if (!hash.ok() || hash.value().size() != Sha256::kSize) {
    return Bad("the third line of a checkpoint is a hash in base64");
  }
  head.head = std::move(hash).value();
  return head;
}

bool IsSignedBy(std::string_view text, const SignedHead& head, const PublicKey& key) {
  // The note is made again from its parts: then no other spelling of it passes either.
  const std::size_t space = text.rfind(' ');
  if (space == std::string_view::npos || !text.ends_with('\n')) return false;
  const Result<std::string> blob = FromBase64(text.substr(space + 1, text.size() - space - 2));
  if (!blob.ok() || blob.value().size() < 4) return false;
  const std::string signature = blob.value().substr(4);
  return Note(head, key.Raw(), signature) == text && key.Verifies(NoteBody(head), signature);
}

}  // namespace bailiff
