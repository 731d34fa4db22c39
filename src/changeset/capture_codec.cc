#include "base/bytes.h"
#include "changeset/capture.h"

namespace bailiff {
namespace {

constexpr std::string_view kMagic = "bailiff-capture-1\n";

}  // namespace

void WriteProblems(const std::vector<PathProblem>& problems, ByteWriter* writer) {
  writer->U64(problems.size());
  for (const PathProblem& problem : problems) {
    writer->Bytes(problem.path);
    writer->Bytes(problem.reason);
  }
}

std::vector<PathProblem> ReadProblems(ByteReader* reader) {
  std::vector<PathProblem> problems;
  const std::uint64_t count = reader->U64();
  for (std::uint64_t i = 0; i < count && reader->ok(); ++i) {
    PathProblem problem;
    problem.path = reader->Bytes();
    problem.reason = reader->Bytes();
    if (!ValidatePath(problem.path).ok()) reader->Fail();
    if (reader->ok()) problems.push_back(std::move(problem));
  }
  return problems;
}

std::string EncodeCapture(const CaptureResult& result) {
  return Encoded([&](ByteWriter* writer) {
    writer->Bytes(kMagic);
    WriteEncoded(result.set, writer);
    WriteProblems(result.refused, writer);
    WriteProblems(result.conflicts, writer);
  });
}

Result<CaptureResult> DecodeCapture(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.View() != kMagic) {
    return Error(ErrorCode::kInvalidArgument, "not an encoded capture");
  }
  CaptureResult result;
  result.set = TRY(Decode(reader.View()));
  result.refused = ReadProblems(&reader);
  result.conflicts = ReadProblems(&reader);
  if (!reader.ok() || !reader.AtEnd()) {
    return Error(ErrorCode::kInvalidArgument, "capture: damaged after its change set");
  }
  return result;
}

}  // namespace bailiff
