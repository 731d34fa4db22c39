#include <algorithm>
#include <cstring>
#include <sstream>

#include "core/proof.h"
#include "sandbox/run_plan.h"
#include "sys/mount.h"
#include "tests/fuzz/fuzzing.h"

// What is read about the host and about a sandbox's start: lines of mountinfo, in which other users
// name things; the report of a child that failed, or says so; proof.json.

namespace bailiff {
namespace {

void CheckMountLines(std::string_view text) {
  const std::vector<MountEntry> mounts = ParseMountInfo(text);
  const auto breaks = std::count(text.begin(), text.end(), '\n');
  CHECK(mounts.size() <= static_cast<std::size_t>(breaks) + 1);
  for (const MountEntry& mount : mounts) CHECK(!mount.point.empty() && !mount.type.empty());
}

// As the kernel does.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ') out += "\\040";
    if (c == '\t') out += "\\011";
    if (c == '\n') out += "\\012";
    if (c == '\\') out += "\\134";
    if (std::string_view(" \t\n\\").find(c) == std::string_view::npos) out += c;
  }
  return out;
}

// Whatever names there are in a line, it is read as that one mount.
void CheckMountNames(std::string_view input) {
  std::istringstream names{std::string(input)};
  const auto next = [&] {
    std::string name;
    std::getline(names, name, '\0');
    return name;
  };
  MountEntry entry{"/" + next(), "/" + next(), "t" + next(), ""};
  const std::string source = Escaped(next());
  entry.options = "rw," + Escaped(next());
  const std::string line = "36 35 98:0 " + Escaped(entry.root) + " " + Escaped(entry.point) +
                           " rw,nosuid shared:1 - " + Escaped(entry.type) + " " + source + " " +
                           entry.options + "\n";
  CHECK(ParseMountInfo(line) == std::vector<MountEntry>{entry});
}

void CheckReport(std::string_view bytes) {
  const Plan plan = {{.kind = ChildOpKind::kNewFilesystem, .what = "mount"},
                     {.kind = ChildOpKind::kCloneTree, .what = "clone"},
                     {.kind = ChildOpKind::kExec, .what = "run"}};
  const Status said = ReadReport(plan, bytes);
  CHECK(said.ok() == bytes.empty());
  ChildFailure failure = {};
  if (bytes.size() != sizeof(failure)) return;
  std::memcpy(&failure, bytes.data(), sizeof(failure));
  const bool known = failure.op_index < plan.size();
  CHECK(said.error().message().starts_with(known ? plan[failure.op_index].what : "a child"));
}

void CheckProofs(std::string_view text) {
  const std::vector<Proof> proofs = DecodeProofs(text);
  CHECK(proofs.size() <= kProofsMax);
  CHECK(DecodeProofs(EncodeProofs(proofs)) == proofs);
}

}  // namespace
}  // namespace bailiff

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  std::string_view input = TextOf(data, size);
  switch (Choose(&input, 4)) {
    case 0:
      CheckMountLines(input);
      break;
    case 1:
      CheckMountNames(input);
      break;
    case 2:
      CheckReport(input);
      break;
    default:
      CheckProofs(input);
      (void)PlaceAmongCgroups(input);  // Any text gives one.
      break;
  }
  return 0;
}
