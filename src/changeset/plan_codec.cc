#include "base/bytes.h"
#include "base/sha256.h"
#include "changeset/plan.h"

namespace bailiff {
namespace {

constexpr std::string_view kRequestMagic = "bailiff-plan-1\n";
constexpr std::string_view kEffectMagic = "bailiff-plan-effect-1\n";

void WriteStrings(const std::vector<std::string>& strings, ByteWriter* writer) {
  writer->U64(strings.size());
  for (const std::string& string : strings) writer->Bytes(string);
}

std::vector<std::string> ReadStrings(ByteReader* reader) {
  std::vector<std::string> strings;
  const std::uint64_t count = reader->U64();
  for (std::uint64_t i = 0; i < count && reader->ok(); ++i) strings.push_back(reader->Bytes());
  return strings;
}

PlanOperation ReadOperation(ByteReader* reader) {
  PlanOperation operation;
  const std::uint8_t op = reader->U8();
  if (op < 1 || op > static_cast<std::uint8_t>(PlanOp::kWriteFile)) reader->Fail();
  if (reader->ok()) operation.op = static_cast<PlanOp>(op);
  operation.source = reader->Bytes();
  operation.destination = reader->Bytes();
  operation.content = reader->Bytes();
  operation.sha256 = reader->Bytes();
  operation.size = reader->I64();
  const bool whole = operation.sha256.empty() || operation.sha256.size() == Sha256::kSize;
  if (!whole || operation.size < 0) reader->Fail();
  return operation;
}

}  // namespace

std::string EncodePlanRequest(const PlanRequest& request) {
  return Encoded([&](ByteWriter* writer) {
    writer->Bytes(kRequestMagic);
    writer->Bytes(request.id);
    writer->U8(request.stage ? 1 : 0);
    writer->Bytes(request.scope);
    writer->I64(request.now_ns);
    writer->I64(request.files_max);
    writer->I64(request.bytes_max);
    WriteStrings(request.reserved, writer);
    writer->U64(request.operations.size());
    for (const PlanOperation& operation : request.operations) {
      writer->U8(static_cast<std::uint8_t>(operation.op));
      writer->Bytes(operation.source);
      writer->Bytes(operation.destination);
      writer->Bytes(operation.content);
      writer->Bytes(operation.sha256);
      writer->I64(operation.size);
    }
  });
}

Result<PlanRequest> DecodePlanRequest(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.View() != kRequestMagic) {
    return Error(ErrorCode::kInvalidArgument, "not an encoded plan");
  }
  PlanRequest request;
  request.id = reader.Bytes();
  request.stage = reader.U8() != 0;
  request.scope = reader.Bytes();
  request.now_ns = reader.I64();
  request.files_max = reader.I64();
  request.bytes_max = reader.I64();
  request.reserved = ReadStrings(&reader);
  const std::uint64_t count = reader.U64();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    request.operations.push_back(ReadOperation(&reader));
  }
  if (!reader.ok() || !reader.AtEnd()) {
    return Error(ErrorCode::kInvalidArgument, "plan: its encoding is damaged");
  }
  return request;
}

std::string EncodePlanEffect(const PlanEffect& effect) {
  return Encoded([&](ByteWriter* writer) {
    writer->Bytes(kEffectMagic);
    WriteEncoded(effect.set, writer);
    WriteStrings(effect.errors, writer);
    WriteStrings(effect.warnings, writer);
    writer->I64(effect.size_change);
  });
}

Result<PlanEffect> DecodePlanEffect(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.View() != kEffectMagic) {
    return Error(ErrorCode::kInvalidArgument, "not an encoded effect of a plan");
  }
  PlanEffect effect;
  effect.set = TRY(Decode(reader.View()));
  effect.errors = ReadStrings(&reader);
  effect.warnings = ReadStrings(&reader);
  effect.size_change = reader.I64();
  if (!reader.ok() || !reader.AtEnd()) {
    return Error(ErrorCode::kInvalidArgument, "effect of a plan: damaged after its change set");
  }
  return effect;
}

}  // namespace bailiff
