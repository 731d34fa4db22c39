#include "engine/protocol.h"

#include <bit>
#include <climits>
#include <utility>

namespace bailiff {
namespace {

Error Malformed(std::string_view what) {
  return Error(ErrorCode::kInvalidArgument, "malformed message: " + std::string(what));
}

ByteWriter Begin(MessageKind kind) {
  ByteWriter writer;
  writer.U8(static_cast<std::uint8_t>(kind));
  return writer;
}

// A reader past the kind, or one that has failed when the message is of another kind.
ByteReader Open(std::string_view message, MessageKind kind) {
  ByteReader reader(message);
  if (reader.U8() != static_cast<std::uint8_t>(kind)) reader.Fail();
  return reader;
}

template <typename T>
Result<T> Finish(const ByteReader& reader, T value, std::string_view what) {
  if (!reader.ok() || !reader.AtEnd()) return Malformed(what);
  return value;
}

void WriteStrings(const std::vector<std::string>& strings, ByteWriter* writer) {
  writer->U32(static_cast<std::uint32_t>(strings.size()));
  for (const std::string& text : strings) writer->Bytes(text);
}

std::vector<std::string> ReadStrings(ByteReader* reader) {
  std::vector<std::string> strings;
  const std::uint32_t count = reader->U32();
  for (std::uint32_t i = 0; i < count && reader->ok(); ++i) strings.push_back(reader->Bytes());
  return strings;
}

void WriteDouble(double value, ByteWriter* writer) {
  writer->U64(std::bit_cast<std::uint64_t>(value));
}

double ReadDouble(ByteReader* reader) {
  return std::bit_cast<double>(reader->U64());
}

int ReadInt(ByteReader* reader) {
  const std::int64_t value = reader->I64();
  if (value < INT_MIN || value > INT_MAX) reader->Fail();
  return static_cast<int>(value);
}

bool ReadBool(ByteReader* reader) {
  const std::uint8_t value = reader->U8();
  if (value > 1) reader->Fail();
  return value == 1;
}

// An enumerator from 0 to `last`.
template <typename E>
E ReadEnum(ByteReader* reader, E last) {
  const std::uint8_t value = reader->U8();
  if (value <= static_cast<std::uint8_t>(last)) return static_cast<E>(value);
  reader->Fail();
  return last;
}

void WriteLimits(const Limits& limits, ByteWriter* writer) {
  writer->I64(limits.timeout.count());
  writer->I64(limits.memory_bytes);
  WriteDouble(limits.cpus, writer);
  writer->I64(limits.pids);
  writer->I64(limits.scratch_bytes);
  writer->I64(limits.files);
}

Limits ReadLimits(ByteReader* reader) {
  Limits limits;
  limits.timeout = std::chrono::milliseconds(reader->I64());
  limits.memory_bytes = reader->I64();
  limits.cpus = ReadDouble(reader);
  limits.pids = reader->I64();
  limits.scratch_bytes = reader->I64();
  limits.files = reader->I64();
  return limits;
}

}  // namespace

std::string EncodeKind(MessageKind kind) {
  return Begin(kind).Take();
}

Result<MessageKind> DecodeKind(std::string_view message) {
  ByteReader reader(message);
  const std::uint8_t kind = reader.U8();
  if (kind < 1 || kind > static_cast<std::uint8_t>(MessageKind::kDescribe))
    return Malformed("kind");
  return static_cast<MessageKind>(kind);
}

std::string EncodeStartClerk(std::string_view job) {
  ByteWriter writer = Begin(MessageKind::kStartClerk);
  writer.Bytes(job);
  return writer.Take();
}

Result<std::string> DecodeStartClerk(std::string_view message) {
  ByteReader reader = Open(message, MessageKind::kStartClerk);
  std::string job = reader.Bytes();
  return Finish(reader, std::move(job), "start clerk");
}

std::string EncodeLaunch(const SandboxSpec& spec, MessageKind kind) {
  CHECK(kind == MessageKind::kLaunch || kind == MessageKind::kPrepare);
  ByteWriter writer = Begin(kind);
  writer.Bytes(spec.id);
  WriteStrings(spec.argv, &writer);
  WriteStrings(spec.environment, &writer);
  writer.Bytes(spec.cwd);
  WriteLimits(spec.limits, &writer);
  writer.U8(static_cast<std::uint8_t>(spec.network));
  writer.U8(spec.scratch_on_disk ? 1 : 0);
  writer.U8(spec.demands.own_uid ? 1 : 0);
  writer.U8(spec.demands.cgroup ? 1 : 0);
  writer.U32(static_cast<std::uint32_t>(spec.demands.landlock));
  writer.U8(spec.view.has_value() ? 1 : 0);
  if (spec.view.has_value()) {
    WriteStrings(spec.view->whole, &writer);
    WriteStrings(spec.view->hollow, &writer);
    WriteStrings(spec.view->closed, &writer);
  }
  return writer.Take();
}

Result<SandboxSpec> DecodeLaunch(std::string_view message) {
  const bool prepares = message.starts_with(static_cast<char>(MessageKind::kPrepare));
  ByteReader reader = Open(message, prepares ? MessageKind::kPrepare : MessageKind::kLaunch);
  SandboxSpec spec;
  spec.id = reader.Bytes();
  spec.argv = ReadStrings(&reader);
  spec.environment = ReadStrings(&reader);
  spec.cwd = reader.Bytes();
  spec.limits = ReadLimits(&reader);
  spec.network = ReadEnum(&reader, Network::kHost);
  spec.scratch_on_disk = ReadBool(&reader);
  spec.demands.own_uid = ReadBool(&reader);
  spec.demands.cgroup = ReadBool(&reader);
  spec.demands.landlock = static_cast<int>(reader.U32());
  if (ReadBool(&reader)) {
    spec.view.emplace();
    spec.view->whole = ReadStrings(&reader);
    spec.view->hollow = ReadStrings(&reader);
    spec.view->closed = ReadStrings(&reader);
  }
  return Finish(reader, std::move(spec), "launch");
}

std::string EncodeCaptureRequest(const CaptureOptions& options) {
  ByteWriter writer = Begin(MessageKind::kCapture);
  writer.Bytes(options.id);
  writer.U8(options.stage ? 1 : 0);
  writer.I64(options.started_ns);
  writer.I64(options.ended_ns);
  writer.I64(options.files_max);
  WriteStrings(options.reserved, &writer);
  return writer.Take();
}

Result<CaptureOptions> DecodeCaptureRequest(std::string_view message) {
  ByteReader reader = Open(message, MessageKind::kCapture);
  CaptureOptions options;
  options.id = reader.Bytes();
  options.stage = ReadBool(&reader);
  options.started_ns = reader.I64();
  options.ended_ns = reader.I64();
  options.files_max = reader.I64();
  options.reserved = ReadStrings(&reader);
  return Finish(reader, std::move(options), "capture");
}

std::string EncodeLaunched(const Guarantees& guarantees) {
  ByteWriter writer = Begin(MessageKind::kLaunched);
  writer.Bytes(guarantees.level);
  writer.U8(static_cast<std::uint8_t>(guarantees.tier));
  writer.U8(guarantees.own_uid ? 1 : 0);
  writer.Bytes(guarantees.scratch);
  writer.Bytes(guarantees.limits);
  writer.U8(guarantees.seccomp ? 1 : 0);
  writer.U32(static_cast<std::uint32_t>(guarantees.landlock));
  writer.U8(static_cast<std::uint8_t>(guarantees.network));
  return writer.Take();
}

Result<Guarantees> DecodeLaunched(std::string_view message) {
  ByteReader reader = Open(message, MessageKind::kLaunched);
  Guarantees guarantees;
  guarantees.level = reader.Bytes();
  guarantees.tier = ReadEnum(&reader, Tier::kRootless);
  guarantees.own_uid = ReadBool(&reader);
  guarantees.scratch = reader.Bytes();
  guarantees.limits = reader.Bytes();
  guarantees.seccomp = ReadBool(&reader);
  guarantees.landlock = static_cast<int>(reader.U32());
  guarantees.network = ReadEnum(&reader, Network::kHost);
  return Finish(reader, std::move(guarantees), "launched");
}

std::string EncodeEnded(const Ending& ending) {
  ByteWriter writer = Begin(MessageKind::kEnded);
  writer.U8(static_cast<std::uint8_t>(ending.reason));
  writer.I64(ending.exit_code);
  writer.I64(ending.signal);
  writer.U8(ending.oom_killed ? 1 : 0);
  writer.U8(ending.scratch_full ? 1 : 0);
  writer.U8(ending.inodes_full ? 1 : 0);
  writer.U8(ending.pids_reached ? 1 : 0);
  writer.I64(ending.duration.count());
  WriteDouble(ending.usage.cpu_seconds, &writer);
  writer.I64(ending.usage.memory_peak_bytes);
  writer.I64(ending.usage.scratch_bytes);
  return writer.Take();
}

Result<Ending> DecodeEnded(std::string_view message) {
  ByteReader reader = Open(message, MessageKind::kEnded);
  Ending ending;
  ending.reason = ReadEnum(&reader, EndReason::kKilled);
  ending.exit_code = ReadInt(&reader);
  ending.signal = ReadInt(&reader);
  ending.oom_killed = ReadBool(&reader);
  ending.scratch_full = ReadBool(&reader);
  ending.inodes_full = ReadBool(&reader);
  ending.pids_reached = ReadBool(&reader);
  ending.duration = std::chrono::nanoseconds(reader.I64());
  ending.usage.cpu_seconds = ReadDouble(&reader);
  ending.usage.memory_peak_bytes = reader.I64();
  ending.usage.scratch_bytes = reader.I64();
  return Finish(reader, ending, "ended");
}

std::string EncodeFailed(const Error& error) {
  ByteWriter writer = Begin(MessageKind::kFailed);
  writer.U8(static_cast<std::uint8_t>(error.code()));
  // Longer than any message of ours; what a script could make long is cut.
  writer.Bytes(std::string_view(error.message()).substr(0, 32UL * 1024));
  return writer.Take();
}

Error DecodeFailed(std::string_view message) {
  ByteReader reader = Open(message, MessageKind::kFailed);
  const ErrorCode code = ReadEnum(&reader, ErrorCode::kInternal);
  std::string text = reader.Bytes();
  if (!reader.ok() || !reader.AtEnd()) return Malformed("failed");
  return Error(code, std::move(text));
}

}  // namespace bailiff
