#include <sys/stat.h>

#include "changeset/model.h"
#include "core/config.h"
#include "core/documents.h"
#include "tests/fuzz/fuzzing.h"
#include "workspace/workspace.h"

// Small files that people and other programs may write: bailiff.toml, workspace.json, and the JSON
// that the database keeps of a decision.

namespace bailiff {
namespace {

void CheckConfig(const MemoryDir& dir, std::string_view text) {
  dir.Put("bailiff.toml", text);
  const Result<Config> config = LoadConfig(dir.path() + "/bailiff.toml", ConfigFile::kMustExist);
  if (!config.ok()) {
    CHECK(config.error().code() == ErrorCode::kInvalidArgument);
    CHECK(config.error().message().find("bailiff.toml") != std::string::npos);
    return;
  }
  CHECK(config.value().held_bytes_max >= 1);
  CHECK(config.value().rollback_retention.count() >= 0);
  const std::string& folder = config.value().execution_logs;
  CHECK(folder.empty() || ValidatePath(folder).ok());
}

void CheckIdentity(const MemoryDir& dir, std::string_view text) {
  const std::string private_dir = dir.path() + "/.bailiff";
  CHECK(::mkdir(private_dir.c_str(), 0700) == 0 || errno == EEXIST);
  dir.Put(".bailiff/workspace.json", text);
  const Result<Workspace> workspace = Workspace::Open(dir.path());
  if (workspace.ok()) CHECK(workspace.value().state_path().starts_with('/'));
}

void CheckProblems(std::string_view text) {
  const StoredProblems problems = DecodeProblems(std::string(text));
  const std::string once = EncodeProblems(problems);
  CHECK(EncodeProblems(DecodeProblems(once)) == once);
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  static const MemoryDir dir;
  std::string_view input = TextOf(data, size);
  switch (Choose(&input, 3)) {
    case 0:
      CheckConfig(dir, input);
      break;
    case 1:
      CheckIdentity(dir, input);
      break;
    default:
      CheckProblems(input);
      break;
  }
  return 0;
}
