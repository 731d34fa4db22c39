#include "sandbox/run_plan.h"

#include <sched.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sys/file.h"
#include "sys/pipe.h"

namespace bailiff {
namespace {

sock_fprog ToProgram(SeccompProgram filter) {
  // The kernel does not write through this pointer.
  return {static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
}

std::vector<char*> ToPointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// It does not return, of which AddressSanitizer would take note on a stack that it does not know.
[[gnu::no_sanitize_address]] void RunChild(const void* plan) {
  RunChildPlan(*static_cast<const ChildPlan*>(plan));
}

const char* HintFor(ChildOpKind kind, int sys_errno) {
  if (kind == ChildOpKind::kNewFilesystem && sys_errno == EPERM) {
    return ". This kernel or container does not let a sandbox mount it; see `bailiff doctor`";
  }
  if (kind == ChildOpKind::kCloneTree && sys_errno == EINVAL) {
    return ". A mount below it, which cannot be left out, is the usual reason";
  }
  return "";
}

Error Explain(const Plan& plan, const ChildFailure& failure) {
  if (failure.op_index >= plan.size()) {
    return Error(ErrorCode::kIo, "a child reported a step that its plan does not have");
  }
  const PlanStep& step = plan[failure.op_index];
  Error error = Error::FromErrno(failure.sys_errno, step.what);
  const std::string hint = HintFor(step.kind, failure.sys_errno);
  const bool layer_missing =
      !hint.empty() || (failure.sys_errno == EINVAL && step.kind == ChildOpKind::kNewFilesystem);
  if (!layer_missing) return error;
  return Error(ErrorCode::kUnsupported, error.message() + hint);
}

}  // namespace

LoweredPlan::LoweredPlan(const Plan& plan, const SandboxSpec* spec, const SeccompFilters* seccomp) {
  if (spec != nullptr) {
    argv_ = ToPointers(spec->argv);
    envp_ = ToPointers(spec->environment);
  }
  if (seccomp != nullptr) {
    calls_ = ToProgram(seccomp->calls);
    arguments_ = ToProgram(seccomp->arguments);
    renames_ = ToProgram(seccomp->renames);
  }
  lists_.reserve(plan.size());  // Pointers into it must stay valid.
  for (const PlanStep& step : plan) ops_.push_back(Lower(step));
}

ChildOp LoweredPlan::Lower(const PlanStep& step) {
  std::vector<const char*>& list = lists_.emplace_back();
  for (const std::string& text : step.list) list.push_back(text.c_str());
  list.push_back(nullptr);
  ChildOp op{.kind = step.kind,
             .from = step.from,
             .to = step.to,
             .path = step.path.c_str(),
             .text = step.text.c_str(),
             .text_size = step.text.size(),
             .flags = step.flags,
             .number = step.number,
             .extra = step.extra,
             .list = list.data(),
             .slots = step.slots.data(),
             .slot_count = step.slots.size()};
  if (step.kind == ChildOpKind::kSeccomp) {
    const bool calls = step.number == static_cast<std::uint64_t>(SeccompFilter::kCalls);
    op.filter = calls ? &calls_.value() : &arguments_.value();
  }
  if (step.kind == ChildOpKind::kSupervise) op.filter = &renames_.value();
  if (step.kind == ChildOpKind::kExec) {
    op.argv = argv_.data();
    op.envp = envp_.data();
  }
  return op;
}

Result<PlanRun> StartPlan(const LoweredPlan& plan, const CloneOptions& options) {
  Pipe report =
      TRY(MakePipe());  // Our write end closes on return, so that end of file can be seen.
  const ChildPlan child{plan.ops().data(), static_cast<std::uint32_t>(plan.ops().size()),
                        report.write.get()};
  Process process = TRY(CloneProcess(options, RunChild, &child));
  return PlanRun{std::move(process), std::move(report.read)};
}

Status RunPlan(const Plan& plan, std::uint64_t flags) {
  Pipe report = TRY(MakePipe());
  const LoweredPlan lowered(plan, nullptr, nullptr);
  const ChildPlan child{lowered.ops().data(), static_cast<std::uint32_t>(lowered.ops().size()),
                        report.write.get()};
  const ChildStack stack = TRY(ChildStack::Make());
  Process process = TRY(CloneSharing(flags | CLONE_VFORK, stack, RunChild, &child));
  TRY(process.Wait());
  TRY(report.write.Close());
  return AwaitPlan(plan, report.read);
}

Status AwaitPlan(const Plan& plan, const Fd& report) {
  return ReadReport(plan, TRY(ReadAll(report, sizeof(ChildFailure))));
}

Status ReadReport(const Plan& plan, std::string_view bytes) {
  if (bytes.empty()) return Ok();
  ChildFailure failure = {};
  if (bytes.size() != sizeof(failure)) {
    return Error(ErrorCode::kIo, "a child's report was cut short");
  }
  std::memcpy(&failure, bytes.data(), sizeof(failure));
  return Explain(plan, failure);
}

}  // namespace bailiff
