#include "cli/plan_commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "changeset/diff.h"
#include "cli/action_commands.h"
#include "core/proposals.h"
#include "core/queries.h"
#include "sys/file.h"

namespace bailiff {
namespace {

namespace json = boost::json;

std::string Safe(std::string_view text) {
  return EscapeForTerminal(text, Lines::kSingle);
}

std::string TextOf(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(std::string_view(value->as_string()))
                                                : std::string();
}

Result<std::string> ReadPlanFile(const Session& session, const std::string& file) {
  // One byte more than a plan may have, so that the parser tells of it.
  constexpr std::size_t kBytesMax = kPlanTextBytesMax + 1;
  Fd opened;
  if (file == "-") {
    const int copy = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return Error(ErrorCode::kInvalidArgument, "standard input is closed");
    opened = Fd(copy);
  } else {
    opened = TRY(OpenPath(session.Absolute(file), O_RDONLY));
  }
  return ReadAll(opened, kBytesMax);
}

Result<Plan> LoadPlan(const Session& session, const std::string& file) {
  Result<std::string> text = ReadPlanFile(session, file);
  if (!text.ok()) return std::move(text).error().WithContext("plan " + file);
  ParsedPlan parsed = ParsePlan(text.value());
  if (parsed.faults.empty()) return std::move(parsed.plan);
  std::string message = "plan " + file + ":";
  const bool one = parsed.faults.size() == 1;
  for (const JsonFault& fault : parsed.faults) {
    message += (one ? " " : "\n  ") + Describe(fault);
  }
  return Error(ErrorCode::kInvalidArgument, message);
}

std::string SignedSize(std::int64_t bytes) {
  return (bytes < 0 ? "-" : "+") + FormatSize(std::abs(bytes));
}

// One line for each change, none left out.
std::string EffectText(const json::array& effect) {
  std::string text;
  for (const json::value& value : effect) {
    const json::object& change = value.as_object();
    const bool is_dir = TextOf(change, "type") == "dir";
    text += fmt::format("  {:<9} {}{}", TextOf(change, "op"), QuotePath(TextOf(change, "path")),
                        is_dir ? "/" : "");
    const std::string from = TextOf(change, "from");
    if (!from.empty()) text += " (from " + QuotePath(from) + ")";
    for (const json::value& flag : change.at("flags").as_array()) {
      text += " [" + std::string(std::string_view(flag.as_string())) + "]";
    }
    text += "\n";
  }
  return text;
}

std::string ValidationText(const json::object& validation) {
  std::string text;
  for (const json::value& error : validation.at("errors").as_array()) {
    text += "  error    " + Safe(std::string_view(error.as_string())) + "\n";
  }
  for (const json::value& warning : validation.at("warnings").as_array()) {
    text += "  warning  " + Safe(std::string_view(warning.as_string())) + "\n";
  }
  const json::value* effect = validation.if_contains("effect");
  if (effect != nullptr) text += EffectText(effect->as_array());
  return text;
}

std::string NextSteps(const PlanDocument& plan) {
  if (plan.state == ProposalState::kHeld) {
    return fmt::format("  bailiff diff {0}      bailiff approve {0}\n", plan.id);
  }
  if (plan.state == ProposalState::kApproved) {
    return fmt::format("  bailiff plan apply {}\n", plan.id);
  }
  return "";
}

// The state of its proposal, or why there is none.
std::string StateText(const PlanDocument& plan) {
  if (!plan.valid) return "invalid";
  return plan.state == ProposalState::kNone ? "valid" : std::string(Name(plan.state));
}

int ExitStatusOf(const PlanDocument& plan) {
  if (!plan.valid) return kExitBailiff;
  return plan.state == ProposalState::kDenied ? kExitDenied : 0;
}

int AnswerPlan(const Session& session, const PlanDocument& plan) {
  session.Answer(plan.document, PlanText(plan) + NextSteps(plan));
  return ExitStatusOf(plan);
}

Result<Action> ApplyOne(Context& context, const std::string& prefix, const std::string& wait_lock) {
  const std::chrono::milliseconds wait = TRY(ParseDuration(wait_lock));
  const std::string id = TRY(ResolveId(context, prefix));
  return ApplyPlan(context, id, wait);
}

Result<PlanDocument> SubmitOne(Context& context, const Plan& plan, const std::string& wait_lock) {
  return SubmitPlan(context, plan, TRY(ParseDuration(wait_lock)));
}

Result<PlanDocument> ShowOne(Context& context, const std::string& prefix) {
  return GetPlan(context, TRY(ResolveId(context, prefix)));
}

Result<std::vector<PlanDocument>> ListSome(Context& context, const std::string& limit) {
  return ListPlans(context, TRY(ParseCount(limit, kStoreRowsMax)));
}

}  // namespace

std::string PlanText(const PlanDocument& plan) {
  const json::object& document = plan.document;
  const json::object& validation = document.at("validation").as_object();
  const std::string case_name = TextOf(document, "case_name");
  std::string text =
      fmt::format("{}{}  ·  {} operations  ·  {}{}\n", plan.id.empty() ? "" : plan.id + "  ",
                  StateText(plan), json::serialize(validation.at("operation_count")),
                  SignedSize(validation.at("size_change_bytes").as_int64()),
                  case_name.empty() ? "" : "  ·  " + Safe(case_name));
  const std::string description = TextOf(document, "description");
  if (!description.empty()) text += "  " + Safe(description) + "\n";
  const json::value& decision = document.at("decision");
  if (decision.is_object()) {
    for (const json::value& reason : decision.as_object().at("reasons").as_array()) {
      text += "  reason   " + Safe(std::string_view(reason.as_string())) + "\n";
    }
  }
  return text + ValidationText(validation);
}

int PlanValidateCommand(Session& session, const std::string& file) {
  const Result<Plan> plan = LoadPlan(session, file);
  if (!plan.ok()) return session.Fail(plan.error());
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<PlanDocument> document = ValidatePlan(*context.value(), plan.value());
  return document.ok() ? AnswerPlan(session, document.value()) : session.Fail(document.error());
}

int PlanSubmitCommand(Session& session, const std::string& file, const std::string& wait_lock) {
  const Result<Plan> plan = LoadPlan(session, file);
  if (!plan.ok()) return session.Fail(plan.error());
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<PlanDocument> document = SubmitOne(*context.value(), plan.value(), wait_lock);
  return document.ok() ? AnswerPlan(session, document.value()) : session.Fail(document.error());
}

int PlanApplyCommand(Session& session, const std::string& id, const std::string& wait_lock) {
  const Result<Context*> context = session.Open(Session::Purpose::kChange);
  if (!context.ok()) return session.Fail(context.error());
  const Result<Action> action = ApplyOne(*context.value(), id, wait_lock);
  if (!action.ok()) return session.Fail(action.error());
  return AnswerAction(session, action.value(), action.value().id + ": committed\n");
}

int PlanShowCommand(Session& session, const std::string& id) {
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<PlanDocument> document = ShowOne(*context.value(), id);
  if (!document.ok()) return session.Fail(document.error());
  session.Answer(document.value().document, PlanText(document.value()));
  return 0;
}

int PlanListCommand(Session& session, const std::string& limit) {
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Result<std::vector<PlanDocument>> plans = ListSome(*context.value(), limit);
  if (!plans.ok()) return session.Fail(plans.error());
  json::array array;
  std::string text;
  for (const PlanDocument& plan : plans.value()) {
    text += fmt::format("{}  {:<14} {}\n", plan.id, StateText(plan),
                        Safe(TextOf(plan.document, "description")));
    array.push_back(plan.document);
  }
  if (text.empty()) text = "no plans yet\n";
  json::object document;
  document["plans"] = std::move(array);
  session.Answer(document, text);
  return 0;
}

}  // namespace bailiff
