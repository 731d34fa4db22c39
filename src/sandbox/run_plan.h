#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/plan.h"
#include "sandbox/seccomp_filters.h"
#include "sys/fd.h"
#include "sys/process.h"

namespace bailiff {

// A plan in the form that a child can interpret. Everything it borrows must outlive the clone.
class LoweredPlan {
 public:
  // `spec` and `seccomp` may be null for a plan without a program.
  LoweredPlan(const Plan& plan, const SandboxSpec* spec, const SeccompFilters* seccomp);
  LoweredPlan(const LoweredPlan&) = delete;
  LoweredPlan& operator=(const LoweredPlan&) = delete;

  const std::vector<ChildOp>& ops() const { return ops_; }

 private:
  ChildOp Lower(const PlanStep& step);

  std::vector<ChildOp> ops_;
  std::vector<std::vector<const char*>> lists_;
  std::vector<char*> argv_;
  std::vector<char*> envp_;
  std::optional<sock_fprog> calls_;
  std::optional<sock_fprog> arguments_;
  std::optional<sock_fprog> renames_;
};

// A process that walks a plan.
struct PlanRun {
  Process process;
  Fd report;  // Read end of the report pipe.
};

// Errors: as CloneProcess().
Result<PlanRun> StartPlan(const LoweredPlan& plan, const CloneOptions& options);

// For a plan that ends by itself: in this process's memory, which is lent to it until then, as a
// process of its own with the namespaces of `flags`. Errors: as CloneProcess(), AwaitPlan().
Status RunPlan(const Plan& plan, std::uint64_t flags);

// Blocks until the plan's program runs, or the plan ended, or a step failed: then its Error, in the
// words of `plan`.
//
// Errors: kNotFound when the program or its working directory does not exist; kUnsupported when
//         the kernel lacks a feature; kPermissionDenied; kResourceExhausted; kIo, also for a report
//         that is none.
Status AwaitPlan(const Plan& plan, const Fd& report);

// What the bytes from a child's report pipe say, the child being one that anything may have
// happened to. Errors: as AwaitPlan().
Status ReadReport(const Plan& plan, std::string_view bytes);

}  // namespace bailiff
