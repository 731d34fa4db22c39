#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "changeset/model.h"
#include "core/context.h"
#include "core/proposals.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "workspace/workspace.h"

namespace bailiff {

inline constexpr std::chrono::milliseconds kTestWait{1000};

// A workspace of its own, in which the test acts for whom it likes.
class ContextFixture : public ::testing::Test {
 protected:
  // Makes the workspace; `config`: the text of bailiff.toml.
  void Open(const std::string& config = "") {
    InitOptions init;
    init.path = dir_.Path("workspace");
    init.state_path = dir_.Path("state");
    init.state_named = true;
    init.id = NewWorkspaceId();
    ASSERT_THAT(InitWorkspace(init), IsOk());
    std::ofstream(dir_.Path("state/bailiff.toml")) << config;
    ContextOptions options;
    options.workspace_path = init.path;
    options.actor = Operator();
    Result<std::unique_ptr<Context>> context = Context::Open(options);
    ASSERT_THAT(context, IsOk());
    context_ = std::move(context).value();
    ASSERT_THAT(context_->OpenRecords(), IsOk());
  }

  static Actor Operator() {
    Actor actor;
    actor.name = "local:0";
    actor.embedded = true;
    return actor;
  }

  static Actor Token(const std::string& name, Role role,
                     std::optional<std::vector<std::string>> cases = std::nullopt) {
    Actor actor;
    actor.name = "token:" + name;
    actor.role = role;
    actor.cases = std::move(cases);
    return actor;
  }

  // A change set that makes a directory, proposed by the actor of the moment. Returns its id.
  std::string ProposeDir(const std::string& path, Mode mode, const std::string& case_name = "") {
    Proposal proposal;
    proposal.captured.set.id = MakeTestId();
    Change change;
    change.type = EntryType::kDir;
    change.path = path;
    change.mode = 0755;
    proposal.captured.set.changes.push_back(change);
    proposal.mode = mode;
    proposal.case_name = case_name;
    const std::string id = proposal.captured.set.id;
    const Result<ProposalOutcome> outcome = Propose(*context_, std::move(proposal));
    EXPECT_THAT(outcome, IsOk());
    return id;
  }

  // An execution that has ended, `age` ago.
  std::string AddExecution(const std::string& status, double seconds = 1,
                           const std::string& script = "/Tools/x.py",
                           const std::string& case_name = "",
                           std::chrono::nanoseconds age = std::chrono::nanoseconds(0)) {
    ExecutionRow row;
    row.id = MakeTestId();
    row.created_ns = context_->NowNanos() - age.count();
    row.status = status;
    row.case_name = case_name;
    row.script_path = script;
    row.principal = context_->principal();
    EXPECT_THAT(context_->store().InsertExecution(row), IsOk());
    boost::json::object document;
    document["execution_id"] = row.id;
    document["success"] = status == "succeeded";
    document["duration_seconds"] = seconds;
    document["log_file"] = "/Database/script_execution_logs/" + row.id + ".json";
    EXPECT_THAT(context_->store().UpdateExecution(row.id, status, boost::json::serialize(document),
                                                  row.created_ns),
                IsOk());
    return row.id;
  }

  std::string StateOf(const std::string& id) {
    const Result<ProposalRow> row = context_->store().GetProposal(id);
    return row.ok() ? std::string(Name(row.value().state)) : row.error().message();
  }

  // The data of all records of one type.
  std::vector<boost::json::object> Records(const std::string& type) {
    std::vector<boost::json::object> found;
    EXPECT_THAT(Ledger::ForEach(context_->ledger_dir(), 1,
                                [&](const Record& record) {
                                  if (record.type == type) found.push_back(record.data);
                                  return true;
                                }),
                IsOk());
    return found;
  }

  std::string MakeTestId() {
    constexpr std::size_t kDigits = 8;
    std::string number = std::to_string(next_id_++);
    return "exec_20261121_101500_" + std::string(kDigits - number.size(), '0') + number;
  }

  TempDir dir_;
  std::unique_ptr<Context> context_;
  int next_id_ = 1;
};

}  // namespace bailiff
