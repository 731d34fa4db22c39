#include "core/lint_run.h"

#include <utility>

#include "core/side_run.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::int64_t kOutputBytesMax = 16LL * 1024;

SandboxSpec LintSpec() {
  SandboxSpec spec;
  spec.id = "lint";
  spec.argv = {"/usr/bin/python3", "-I", "-S", "-c", std::string(LintProgram())};
  spec.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
  spec.cwd = "/";
  spec.limits.timeout = std::chrono::seconds(5);
  spec.limits.memory_bytes = 256LL << 20;
  spec.limits.pids = 4;
  spec.limits.scratch_bytes = 1LL << 20;
  spec.limits.files = 1;
  return spec;
}

Result<std::vector<LintFact>> ParsePython(Context& context, const std::string& script) {
  const Fd in = TRY(MakeMemoryFile("script", script));
  SandboxSpec spec = LintSpec();
  spec.scratch_on_disk = context.config().scratch_on_disk;
  const SideRun run = TRY(RunAside(context.launcher(), spec,
                                   {context.workspace().root(), in, context.scratch_dir()},
                                   RunObserver{}, kOutputBytesMax));
  if (run.supervised.failure.has_value()) return *run.supervised.failure;
  const Ending& ending = *run.supervised.ending;
  const bool ended_well =
      ending.reason == EndReason::kExited && ending.signal == 0 && ending.exit_code == 0;
  if (!ended_well) {
    return Error(ErrorCode::kResourceExhausted, "lint: the parser did not come to an end");
  }
  return ParseLintOutput(run.out, script);
}

}  // namespace

std::vector<LintFact> Lint(Context& context, const LintInput& input) {
  std::vector<LintFact> facts = LintText(input.text);
  if (input.text.size() > kLintScriptBytesMax) {
    return MergeLint({NotParsed("larger than 1 MiB")}, std::move(facts));
  }
  if (!input.is_python) return facts;
  Result<std::vector<LintFact>> parsed = ParsePython(context, input.text);
  if (!parsed.ok()) return MergeLint({NotParsed(parsed.error().message())}, std::move(facts));
  return MergeLint(std::move(parsed).value(), std::move(facts));
}

}  // namespace bailiff
